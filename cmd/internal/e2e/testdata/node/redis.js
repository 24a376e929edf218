// ioredis against every node. OUTRIGGER_NODES_REDIS_URLS lists them. Prints nothing when all is well.
'use strict'
const assert = require('node:assert/strict')
const Redis = require('ioredis')

const urls = process.env.OUTRIGGER_NODES_REDIS_URLS.split(',')
const connect = (url) => new Redis(url, { maxRetriesPerRequest: 0, retryStrategy: null })
const nodes = urls.map(connect)
const others = (n) => nodes.filter((_, i) => i !== n)
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function strings(node, n) {
  const key = `io:string:${n}`
  assert.equal(await node.set(key, 'välue'), 'OK')
  assert.equal(await node.set(key, 'x', 'NX'), null)
  for (const other of others(n)) assert.equal(await other.get(key), 'välue')
  const bytes = Buffer.from([0, 255, 13, 10, 36])
  await node.set(key, bytes)
  for (const other of others(n)) assert.deepEqual(await other.getBuffer(key), bytes)
}

async function expiry(node, n) {
  const key = `io:brief:${n}`
  await node.set(key, 'x')
  assert.equal(await node.pexpire(key, 300), 1)
  for (const other of others(n)) assert.ok((await other.pttl(key)) <= 300)
  for (const deadline = Date.now() + 10000; (await node.exists(key)) === 1; await sleep(20)) assert.ok(Date.now() < deadline, 'it does not expire')
  for (const other of others(n)) assert.equal(await other.get(key), null)
}

async function collections(node, n) {
  await node.hset(`io:hash:${n}`, { a: 1, b: 'two' })
  await node.sadd(`io:set:${n}`, 'x', 'y', 'x')
  for (const other of others(n)) {
    assert.deepEqual(await other.hgetall(`io:hash:${n}`), { a: '1', b: 'two' })
    assert.deepEqual((await other.smembers(`io:set:${n}`)).sort(), ['x', 'y'])
  }
  for (const other of others(n)) await other.hincrby(`io:hash:${n}`, 'a', 2)
  assert.equal(await node.hget(`io:hash:${n}`, 'a'), '5')
}

async function pipelines(node, n) {
  const pipeline = node.pipeline()
  for (let i = 0; i < 500; i++) pipeline.set(`io:many:${n}:${i}`, i).get(`io:many:${n}:${i}`)
  const replies = await pipeline.exec()
  replies.forEach(([err, reply], i) => {
    assert.equal(err, null)
    assert.equal(reply, i % 2 === 0 ? 'OK' : String((i - 1) / 2))
  })
  const keys = Array.from({ length: 500 }, (_, i) => `io:many:${n}:${i}`)
  for (const other of others(n)) {
    assert.deepEqual(await other.mget(...keys, 'io:none'), [...keys.map((_, i) => String(i)), null])
  }
  assert.equal(await node.del(...keys), 500)
}

async function messages(node, n) {
  const subscribers = urls.map(connect)
  const heard = subscribers.map(
    (s) => new Promise((resolve) => s.on('message', (channel, text) => resolve([channel, text]))),
  )
  for (const s of subscribers) await s.subscribe('io:news')
  await node.publish('io:news', `from ${n}`)
  for (const h of heard) assert.deepEqual(await h, ['io:news', `from ${n}`])
  for (const s of subscribers) s.disconnect()
}

async function main() {
  assert.equal(nodes.length, 3)
  for (const test of [strings, expiry, collections, pipelines, messages]) {
    for (const [n, node] of nodes.entries()) {
      try {
        await test(node, n)
      } catch (err) {
        throw new Error(`${test.name} through node ${n}`, { cause: err })
      }
    }
  }
  for (const node of nodes) await node.quit()
}

main().catch((err) => {
  console.error(err)
  process.exit(1)
})
