// node-redis in RESP2 and RESP3, and its client-side cache.
'use strict'
const assert = require('node:assert/strict')
const { createClient, createClientPool, defineScript, BasicClientSideCache, WatchError } = require('redis')
const { url, real, patient, eventually, run } = require('./harness')

const addAndTell = (mark) =>
  defineScript({
    SCRIPT: `return {redis.call('INCRBY', KEYS[1], ARGV[1]), KEYS[1]} -- ${mark}`,
    NUMBER_OF_KEYS: 1,
    parseCommand(parser, key, by) {
      parser.pushKey(key)
      parser.push(String(by))
    },
    transformReply: (reply) => reply,
  })

const tests = {}
for (const RESP of [2, 3]) {
  const test = (name, f) => {
    tests[`${name}, RESP${RESP}`] = async () => {
      const opened = []
      const open = async (options) => {
        const client = createClient({ ...patient, url, RESP, ...options })
        client.on('error', () => {}) // connections are cut on purpose
        opened.push(client)
        return client.connect()
      }
      try {
        await f(await open(), `n${RESP}:${name}:`, open)
      } finally {
        for (const client of opened) client.destroy()
      }
    }
  }

  test('connection', async (c, prefix, open) => {
    assert.equal(await c.ping(), 'PONG')
    const named = await open({ name: `name-${RESP}`, database: 7 })
    assert.equal(await named.clientGetName(), `name-${RESP}`)
    const info = await named.clientInfo()
    assert.equal(info.db, 7)
    if (!real) assert.match(String(await named.sendCommand(['CLIENT', 'INFO'])), / lib-name=node-redis/) // of Redis 7.2
    await named.set(prefix + 'k', 'in 7')
    assert.equal(await c.get(prefix + 'k'), null)
    await c.select(7)
    assert.equal(await c.get(prefix + 'k'), 'in 7')
    const user = await open({ username: 'app', password: 'secret' })
    assert.equal(await user.aclWhoAmI(), 'app')
    assert.equal(await user.set('app:' + prefix, 1), 'OK')
    await assert.rejects(user.set('other:' + prefix, 1), /NOPERM/)
    await assert.rejects(createClient({ ...patient, url, RESP, username: 'app', password: 'wrong', socket: { reconnectStrategy: false } }).on('error', () => {}).connect(), /WRONGPASS/)
    const hello = await c.hello()
    assert.equal(hello.proto, RESP)
    assert.equal(hello.mode, 'standalone')
  })

  test('values', async (c, prefix) => {
    assert.equal(await c.set(prefix + 's', 'välue', { expiration: { type: 'EX', value: 100 } }), 'OK')
    assert.equal(await c.set(prefix + 's', 'x', { condition: 'NX' }), null)
    assert.equal(await c.getEx(prefix + 's', { type: 'PX', value: 90000 }), 'välue')
    assert.ok((await c.pTTL(prefix + 's')) <= 90000)
    assert.deepEqual(await c.mGet([prefix + 's', prefix + 'none']), ['välue', null])
    await c.hSet(prefix + 'h', { a: 1, b: 'two' })
    assert.deepEqual({ ...(await c.hGetAll(prefix + 'h')) }, { a: '1', b: 'two' })
    await c.zAdd(prefix + 'z', [{ score: 1.5, value: 'x' }, { score: Infinity, value: 'y' }])
    assert.deepEqual((await c.zRangeWithScores(prefix + 'z', 0, -1)).map((m) => [m.value, m.score]), [['x', 1.5], ['y', Infinity]])
    assert.equal(await c.zScore(prefix + 'z', 'none'), null)
    await c.sAdd(prefix + 'set', ['a', 'b'])
    assert.deepEqual([...(await c.sMembers(prefix + 'set'))].sort(), ['a', 'b'])
    await assert.rejects(c.incr(prefix + 'h'), /WRONGTYPE/)
    assert.equal(await c.incrByFloat(prefix + 'f', 0.1), '0.1')
    assert.equal(await c.getDel(prefix + 's'), 'välue')
    await c.geoAdd(prefix + 'geo', { longitude: 13.361389, latitude: 38.115556, member: 'Palermo' })
    assert.deepEqual(await c.geoSearch(prefix + 'geo', { longitude: 15, latitude: 37 }, { radius: 200, unit: 'km' }), ['Palermo'])
    await c.pfAdd(prefix + 'hll', ['a', 'b', 'a'])
    assert.equal(await c.pfCount(prefix + 'hll'), 2)
  })

  test('pipelines and transactions', async (c, prefix, open) => {
    const replies = await Promise.all(Array.from({ length: 500 }, (_, i) => [c.set(prefix + i, i), c.get(prefix + i)]).flat())
    replies.forEach((reply, i) => assert.equal(reply, i % 2 === 0 ? 'OK' : String((i - 1) / 2)))
    assert.deepEqual(await c.multi().set(prefix + 't', 1).incr(prefix + 't').exec(), ['OK', 2])
    await assert.rejects(c.multi().lPush(prefix + 't', 'x').exec(), ({ replies }) => /WRONGTYPE/.test(replies[0].message))
    const other = await open()
    await c.watch(prefix + 't')
    await other.set(prefix + 't', 5)
    await assert.rejects(c.multi().set(prefix + 't', 6).exec(), WatchError)
    await c.watch(prefix + 't')
    assert.deepEqual(await c.multi().incr(prefix + 't').exec(), [6])
    const pool = createClientPool({ ...patient, url, RESP }, { minimum: 1, maximum: 4, acquireTimeout: 60000 })
    await pool.connect()
    assert.equal(await pool.execute(async (one) => one.incr(prefix + 't')), 7)
    assert.deepEqual(await Promise.all(Array.from({ length: 20 }, () => pool.incr(prefix + 'p'))).then((n) => n.sort((a, b) => a - b)), Array.from({ length: 20 }, (_, i) => i + 1))
    pool.destroy()
  })

  test('scripts', async (_, prefix, open) => {
    const c = await open({ scripts: { addAndTell: addAndTell(prefix) } })
    assert.deepEqual(await c.addAndTell(prefix + 'n', 5), [5, prefix + 'n']) // EVALSHA, NOSCRIPT, EVAL
    assert.deepEqual(await c.addAndTell(prefix + 'n', 5), [10, prefix + 'n'])
    await c.scriptFlush()
    assert.deepEqual(await c.addAndTell(prefix + 'n', 5), [15, prefix + 'n'])
    assert.deepEqual(await c.multi().addAndTell(prefix + 'n', 1).exec(), [[16, prefix + 'n']])
    await assert.rejects(c.eval("return redis.error_reply('MY failure')"), /MY failure/)
  })

  test('pub/sub', async (c, prefix, open) => {
    const sub = await open()
    const heard = []
    await sub.subscribe(prefix + 'news', (text, channel) => heard.push([channel, text]))
    await sub.pSubscribe(prefix + 'n?ws', (text, channel) => heard.push(['pattern', channel, text]))
    await sub.sSubscribe(prefix + 'shard', (text, channel) => heard.push(['shard', channel, text]))
    assert.equal(await c.publish(prefix + 'news', 'one'), 2)
    assert.equal(await c.sPublish(prefix + 'shard', 'three'), 1)
    await eventually('messages', () => heard.length === 3)
    assert.deepEqual(heard.sort(), [[prefix + 'news', 'one'], ['pattern', prefix + 'news', 'one'], ['shard', prefix + 'shard', 'three']].sort())
    // A lost connection comes back, and with it the subscriptions.
    const lost = (await c.clientList()).find((l) => l.psub === 1 && l.sub === 1 && l.resp !== (RESP === 2 ? 3 : 2))
    assert.equal(await c.clientKill({ filter: 'ID', id: lost.id }), 1)
    await eventually('messages', async () => {
      await c.publish(prefix + 'news', 'two')
      return [2, 3].every((length) => heard.some((m) => m.length === length && m.at(-1) === 'two'))
    })
    await sub.unsubscribe()
    await sub.pUnsubscribe()
    await sub.sUnsubscribe()
    assert.equal(await c.publish(prefix + 'news', 'nobody'), 0)
  })

  test('blocking', async (c, prefix, open) => {
    const waiting = await open()
    const popped = waiting.blPop([prefix + 'a', prefix + 'b'], 20)
    await eventually('a waiting client', async () => (await c.clientList()).some((l) => l.cmd === 'blpop' && l.flags.includes('b')))
    await c.rPush(prefix + 'b', 'x')
    assert.deepEqual({ ...(await popped) }, { key: prefix + 'b', element: 'x' })
    assert.equal(await waiting.blPop(prefix + 'a', 0.05), null)
    const many = waiting.blmPop(20, [prefix + 'a', prefix + 'b'], 'LEFT', { COUNT: 2 })
    await c.rPush(prefix + 'a', ['y', 'z'])
    assert.deepEqual(await many, [prefix + 'a', ['y', 'z']])
    const min = waiting.bzPopMin(prefix + 'z', 20)
    await c.zAdd(prefix + 'z', { score: 3, value: 'm' })
    assert.deepEqual({ ...(await min) }, { key: prefix + 'z', value: 'm', score: 3 })
  })

  test('streams', async (c, prefix, open) => {
    const key = prefix + 's'
    await c.xGroupCreate(key, 'g', '$', { MKSTREAM: true })
    const reader = await open()
    const read = reader.xReadGroup('g', 'one', [{ key, id: '>' }], { BLOCK: 20000, COUNT: 10 })
    const id = await c.xAdd(key, '*', { field: 'value' })
    const [stream] = await read
    assert.deepEqual([stream.name, stream.messages[0].id, { ...stream.messages[0].message }], [key, id, { field: 'value' }])
    assert.equal((await c.xPending(key, 'g')).pending, 1)
    assert.deepEqual((await c.xAutoClaim(key, 'g', 'two', 0, '0')).messages.map((m) => m.id), [id])
    assert.equal(await c.xAck(key, 'g', id), 1)
    assert.equal(await reader.xReadGroup('g', 'one', { key, id: '>' }, { BLOCK: 30 }), null)
    assert.equal((await c.xInfoStream(key)).length, 1)
    assert.deepEqual((await c.xInfoConsumers(key, 'g')).map((i) => i.name).sort(), ['one', 'two'])
  })

  test('iterators', async (c, prefix) => {
    await Promise.all(Array.from({ length: 300 }, (_, i) => [c.set(prefix + i, i), c.hSet(`hash:${prefix}`, `f${i}`, i), c.zAdd(`zset:${prefix}`, { score: i, value: `m${i}` })]).flat())
    const found = new Set()
    for await (const keys of c.scanIterator({ MATCH: prefix + '*', COUNT: 20, TYPE: 'string' })) keys.forEach((k) => found.add(k))
    assert.equal(found.size, 300)
    const fields = new Set()
    for await (const entries of c.hScanIterator(`hash:${prefix}`)) entries.forEach(({ field }) => fields.add(field))
    assert.equal(fields.size, 300)
    const members = new Set()
    for await (const entries of c.zScanIterator(`zset:${prefix}`)) entries.forEach(({ value }) => members.add(value))
    assert.equal(members.size, 300)
  })

  test('reconnection', async (c, prefix) => {
    const id = await c.clientId()
    await Promise.allSettled([c.clientKill([{ filter: 'ID', id }, { filter: 'SKIPME', skipMe: false }])])
    await eventually('a new connection', () => c.clientId().then((now) => now !== id, () => false))
    assert.equal(await c.set(prefix + 'k', 1), 'OK')
  })
}

// The cache answers what the server has sent, until the server says that a key has changed.
tests['client-side cache'] = async () => {
  const clientSideCache = new BasicClientSideCache({ ttl: 0, maxEntries: 100 })
  const cached = createClient({ ...patient, url, RESP: 3, database: 9, clientSideCache }).on('error', () => {})
  const other = createClient({ ...patient, url, RESP: 3, database: 9 }).on('error', () => {})
  await Promise.all([cached.connect(), other.connect()])
  try {
    await other.set('csc:a', 1)
    for (let n = 0; n < 5; n++) assert.equal(await cached.get('csc:a'), '1')
    assert.ok(clientSideCache.stats().hitCount >= 4)
    await other.set('csc:a', 2)
    await eventually('the invalidation', async () => (await cached.get('csc:a')) === '2')
    await other.hSet('csc:h', 'f', 'x')
    for (let n = 0; n < 2; n++) assert.deepEqual({ ...(await cached.hGetAll('csc:h')) }, { f: 'x' })
    await other.del('csc:h')
    await eventually('the invalidation', async () => Object.keys(await cached.hGetAll('csc:h')).length === 0)
    await other.set('csc:brief', 'x', { expiration: { type: 'PX', value: 200 } })
    await cached.get('csc:brief')
    await eventually('expiry', async () => (await cached.get('csc:brief')) === null)
    await cached.get('csc:a')
    await other.flushDb()
    await eventually('the invalidation', async () => (await cached.get('csc:a')) === null)
  } finally {
    cached.destroy()
    other.destroy()
  }
}

run(tests)
