// ioredis in RESP2 and RESP3.
'use strict'
const assert = require('node:assert/strict')
const { Redis } = require('ioredis')
const { url, host, port, real, eventually, within, run } = require('./harness')

const tests = {}
for (const protocol of [2, 3]) {
  const test = (name, f) => {
    tests[`${name}, RESP${protocol}`] = async () => {
      const opened = []
      const open = (options) => {
        const client = new Redis(url, { protocol, ...options })
        client.on('error', () => {}) // connections are cut on purpose
        opened.push(client)
        return client
      }
      try {
        await f(open(), `r${protocol}:${name}:`, open)
      } finally {
        for (const client of opened) client.disconnect()
      }
    }
  }

  test('connection', async (c, prefix, open) => {
    assert.equal(await c.ping(), 'PONG')
    const named = open({ connectionName: `name-${protocol}`, db: 7 })
    assert.equal(await named.client('GETNAME'), `name-${protocol}`)
    const info = await named.client('INFO')
    assert.match(info, / db=7 /)
    if (!real) assert.match(info, / lib-name=ioredis/) // of Redis 7.2
    await named.set(prefix + 'k', 'in 7')
    assert.equal(await c.get(prefix + 'k'), null)
    await c.select(7)
    assert.equal(await c.get(prefix + 'k'), 'in 7')
    const user = open({ username: 'app', password: 'secret', enableReadyCheck: false })
    assert.equal(await user.acl('WHOAMI'), 'app')
    assert.equal(await user.set('app:' + prefix, 1), 'OK')
    await assert.rejects(user.set('other:' + prefix, 1), /NOPERM/)
    const wrong = new Redis({ host, port, protocol, username: 'app', password: 'wrong', retryStrategy: null })
    wrong.on('error', () => {})
    await assert.rejects(wrong.get('app:x'))
    wrong.disconnect()
  })

  test('values', async (c, prefix) => {
    assert.equal(await c.set(prefix + 's', 'välue', 'EX', 100), 'OK')
    assert.equal(await c.set(prefix + 's', 'x', 'NX'), null)
    assert.equal(await c.get(prefix + 's'), 'välue')
    assert.ok((await c.ttl(prefix + 's')) > 90)
    const bytes = Buffer.from([0, 255, 13, 10, 36])
    await c.set(prefix + 'b', bytes)
    assert.deepEqual(await c.getBuffer(prefix + 'b'), bytes)
    assert.deepEqual(await c.mget(prefix + 'b', prefix + 'none').then((v) => v[1]), null)
    await c.hset(prefix + 'h', { a: 1, b: 'two' })
    assert.deepEqual(await c.hgetall(prefix + 'h'), { a: '1', b: 'two' })
    await c.zadd(prefix + 'z', 1.5, 'x', 2, 'y')
    assert.deepEqual((await c.zrange(prefix + 'z', 0, -1, 'WITHSCORES')).flat().map(String), ['x', '1.5', 'y', '2'])
    await assert.rejects(c.incr(prefix + 'h'), /WRONGTYPE/)
    await c.set(prefix + 'brief', 'x', 'PX', 30)
    await eventually('expiry', async () => (await c.exists(prefix + 'brief')) === 0)
  })

  test('pipelines and transactions', async (c, prefix, open) => {
    const pipeline = c.pipeline()
    for (let i = 0; i < 500; i++) pipeline.set(prefix + i, i).get(prefix + i)
    const replies = await pipeline.exec()
    replies.forEach(([err, reply], i) => assert.deepEqual([err, reply], [null, i % 2 === 0 ? 'OK' : String((i - 1) / 2)]))
    const multi = await c.multi().set(prefix + 't', 1).incr(prefix + 't').lpush(prefix + 't', 'x').exec()
    assert.deepEqual([multi[0][1], multi[1][1]], ['OK', 2])
    assert.match(multi[2][0].message, /WRONGTYPE/)
    await assert.rejects(c.multi().set(prefix + 't').exec(), /EXECABORT/)
    const other = open()
    await c.watch(prefix + 't')
    await other.set(prefix + 't', 5)
    assert.equal(await c.multi().set(prefix + 't', 6).exec(), null)
    await c.watch(prefix + 't')
    assert.deepEqual(await c.multi().incr(prefix + 't').exec(), [[null, 6]])
    const auto = open({ enableAutoPipelining: true })
    assert.deepEqual(await Promise.all([auto.set(prefix + 'p', 1), auto.get(prefix + 'p'), auto.del(prefix + 'p')]), ['OK', '1', 1])
  })

  test('scripts', async (c, prefix) => {
    c.defineCommand('addAndTell', { numberOfKeys: 1, lua: `return {redis.call('INCRBY', KEYS[1], ARGV[1]), KEYS[1]} -- ${prefix}` })
    assert.deepEqual(await c.addAndTell(prefix + 'n', 5), [5, prefix + 'n'])
    assert.deepEqual(await c.addAndTell(prefix + 'n', 5), [10, prefix + 'n'])
    await c.script('FLUSH') // EVALSHA is answered with NOSCRIPT, and the text is sent again
    assert.deepEqual(await c.addAndTell(prefix + 'n', 5), [15, prefix + 'n'])
    await assert.rejects(c.evalsha('f'.repeat(40), 0), /NOSCRIPT/)
    await assert.rejects(c.eval("return redis.error_reply('MY failure')", 0), /MY failure/)
  })

  test('pub/sub', async (c, prefix, open) => {
    const sub = open()
    const heard = []
    sub.on('message', (channel, text) => heard.push([channel, text]))
    sub.on('pmessage', (pattern, channel, text) => heard.push([pattern, channel, text]))
    assert.equal(await sub.subscribe(prefix + 'news'), 1)
    assert.equal(await sub.psubscribe(prefix + 'n?ws'), 2)
    assert.equal(await c.publish(prefix + 'news', 'one'), 2)
    await eventually('messages', () => heard.length === 2)
    assert.deepEqual(heard.sort(), [[prefix + 'n?ws', prefix + 'news', 'one'], [prefix + 'news', 'one']].sort())
    // A lost connection comes back, and with it the subscriptions.
    const id = (await c.client('LIST', 'TYPE', 'pubsub')).split('\n').find((l) => l.includes(`:${sub.stream.localPort} `)).match(/^id=(\d+)/)[1]
    assert.equal(await c.client('KILL', 'ID', id), 1)
    await eventually('messages', async () => {
      await c.publish(prefix + 'news', 'two')
      return [2, 3].every((length) => heard.some((m) => m.length === length && m.at(-1) === 'two'))
    })
    assert.equal(await sub.unsubscribe(prefix + 'news'), 1)
    assert.equal(await sub.punsubscribe(), 0)
  })

  test('blocking', async (c, prefix, open) => {
    const waiting = open()
    const popped = waiting.blpop(prefix + 'a', prefix + 'b', 20)
    await eventually('a waiting client', async () => / flags=b /.test(await c.client('LIST', 'ID', await other(waiting))))
    await c.rpush(prefix + 'b', 'x')
    assert.deepEqual(await popped, [prefix + 'b', 'x'])
    assert.equal(await waiting.blpop(prefix + 'a', 0.05), null)
    const moved = waiting.blmove(prefix + 'a', prefix + 'b', 'LEFT', 'RIGHT', 20)
    await c.rpush(prefix + 'a', 'y')
    assert.equal(await moved, 'y')
    const min = waiting.bzpopmin(prefix + 'z', 20)
    await c.zadd(prefix + 'z', 3, 'm')
    assert.deepEqual((await min).map(String), [prefix + 'z', 'm', '3'])

    async function other(client) { // a waiting client cannot be asked for its id
      return (await c.client('LIST')).split('\n').find((l) => l.includes(`:${client.stream.localPort} `)).match(/^id=(\d+)/)[1]
    }
  })

  test('streams', async (c, prefix, open) => {
    const key = prefix + 's'
    await c.xgroup('CREATE', key, 'g', '$', 'MKSTREAM')
    const reader = open()
    const read = reader.xreadgroup('GROUP', 'g', 'one', 'COUNT', 10, 'BLOCK', 20000, 'STREAMS', key, '>')
    const id = await c.xadd(key, '*', 'field', 'value')
    assert.deepEqual(entries(await read), [[id, ['field', 'value']]])
    assert.deepEqual((await c.xpending(key, 'g')).slice(0, 3), [1, id, id])
    const claimed = await c.xautoclaim(key, 'g', 'two', 0, '0')
    assert.deepEqual(claimed[1], [[id, ['field', 'value']]])
    assert.equal(await c.xack(key, 'g', id), 1)
    assert.equal(await reader.xreadgroup('GROUP', 'g', 'one', 'BLOCK', 30, 'STREAMS', key, '>'), null)

    // RESP3 has a map where RESP2 has pairs.
    function entries(reply) {
      return Array.isArray(reply) ? reply[0][1] : reply[key]
    }
  })

  test('iterators', async (c, prefix) => {
    const pipeline = c.pipeline()
    for (let i = 0; i < 300; i++) pipeline.set(`${prefix}${i}`, i).hset(`hash:${prefix}`, `f${i}`, i)
    await pipeline.exec()
    const found = new Set()
    for await (const keys of c.scanStream({ match: prefix + '*', count: 20 })) keys.forEach((k) => found.add(k))
    assert.equal(found.size, 300)
    const fields = new Set()
    for await (const pairs of c.hscanStream(`hash:${prefix}`, { count: 20 })) pairs.flat().forEach((f, i) => i % 2 === 0 && fields.add(f))
    assert.equal(fields.size, 300)
  })

  test('reconnection', async (c, prefix) => {
    // The killed client hears of it, comes back, and sends again what was not answered.
    const id = await c.client('ID')
    const replies = [c.set(prefix + 'k', 1), c.client('KILL', 'ID', id, 'SKIPME', 'no').catch(() => 0), c.incr(prefix + 'n')]
    await within('the replies', Promise.all(replies))
    assert.notEqual(await c.client('ID'), id)
    assert.equal(await c.get(prefix + 'k'), '1')
  })
}

run(tests)
