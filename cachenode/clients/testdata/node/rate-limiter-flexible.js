// rate-limiter-flexible: limiters on ioredis and on node-redis.
'use strict'
const assert = require('node:assert/strict')
const { Redis } = require('ioredis')
const { createClient } = require('redis')
const { RateLimiterRedis, BurstyRateLimiter, RateLimiterQueue, RateLimiterMemory } = require('rate-limiter-flexible')
const { url, patient, eventually, run } = require('./harness')

const clients = {
  ioredis: async () => {
    const client = new Redis(url, { enableOfflineQueue: true })
    return { client, useRedisPackage: false, end: () => client.disconnect() }
  },
  'node-redis': async () => {
    const client = await createClient({ ...patient, url }).connect()
    return { client, useRedisPackage: true, end: () => client.destroy() }
  },
}

const tests = {}
for (const [kind, connect] of Object.entries(clients)) {
  const test = (name, f) => {
    tests[`${name}, ${kind}`] = async () => {
      const { client, useRedisPackage, end } = await connect()
      const limiter = (options) => new RateLimiterRedis({ storeClient: client, useRedisPackage, keyPrefix: `${kind} ${name}`, duration: 60, ...options })
      try {
        await f(limiter)
      } finally {
        end()
      }
    }
  }

  test('block', async (limiter) => {
    const one = limiter({ points: 3, blockDuration: 30 })
    for (let left = 2; left >= 0; left--) assert.equal((await one.consume('user')).remainingPoints, left)
    const refused = await one.consume('user').then(() => null, (r) => r)
    assert.equal(refused.consumedPoints, 4)
    assert.ok(refused.msBeforeNext > 20000 && refused.msBeforeNext <= 30000)
    assert.equal((await one.consume('another')).remainingPoints, 2)
    await one.block('another', 5)
    await assert.rejects(one.consume('another'), ({ msBeforeNext }) => msBeforeNext <= 5000)
  })

  test('reset', async (limiter) => {
    const one = limiter({ points: 2 })
    await one.consume('user', 2)
    await assert.rejects(one.consume('user'), ({ remainingPoints }) => remainingPoints === 0)
    assert.equal(await one.delete('user'), true)
    assert.equal(await one.get('user'), null)
    assert.equal((await one.consume('user')).remainingPoints, 1)
    assert.equal((await one.reward('user', 1)).consumedPoints, 0)
    assert.equal((await one.penalty('user', 2)).consumedPoints, 2)
    assert.equal((await one.get('user')).remainingPoints, 0)
    await one.set('user', 1, 60)
    assert.equal((await one.get('user')).consumedPoints, 1)
  })

  // What one instance has given away, no other gives again.
  test('several instances', async (limiter) => {
    const instances = Array.from({ length: 5 }, () => limiter({ points: 50 }))
    const results = await Promise.allSettled(Array.from({ length: 100 }, (_, i) => instances[i % 5].consume('shared')))
    const given = results.filter((r) => r.status === 'fulfilled').map((r) => r.value.remainingPoints)
    assert.deepEqual(given.sort((a, b) => a - b), Array.from({ length: 50 }, (_, i) => i))
    assert.ok(results.every((r) => r.status === 'fulfilled' || r.reason.msBeforeNext > 0))
  })

  test('the window ends', async (limiter) => {
    const one = limiter({ points: 1, duration: 1 })
    assert.ok((await one.consume('user')).msBeforeNext <= 1000)
    await eventually('the next window', () => one.consume('user').then(() => true, () => false))
  })

  test('bursts and queues', async (limiter) => {
    const bursty = new BurstyRateLimiter(limiter({ points: 1 }), limiter({ keyPrefix: `${kind} burst`, points: 2 }))
    for (let n = 0; n < 3; n++) await bursty.consume('user')
    await assert.rejects(bursty.consume('user'))
    const queue = new RateLimiterQueue(limiter({ keyPrefix: `${kind} queue`, points: 2, duration: 1 }), { maxQueueSize: 10 })
    const begin = Date.now()
    await Promise.all(Array.from({ length: 4 }, () => queue.removeTokens(1)))
    assert.ok(Date.now() - begin >= 500, 'four of two a second')
  })
}

// The script is sent again to a server that has forgotten it.
tests['forgotten scripts'] = async () => {
  const client = new Redis(url)
  const limiter = new RateLimiterRedis({ storeClient: client, keyPrefix: 'forgotten', points: 10, duration: 60 })
  await limiter.consume('user')
  await client.script('FLUSH')
  assert.equal((await limiter.consume('user')).remainingPoints, 8)
  client.disconnect()
}

// Without a server another limiter stands in.
tests['insurance'] = async () => {
  const client = new Redis(1, '127.0.0.1', { enableOfflineQueue: false, retryStrategy: null, lazyConnect: true })
  client.on('error', () => {})
  const limiter = new RateLimiterRedis({ storeClient: client, points: 1, duration: 60, insuranceLimiter: new RateLimiterMemory({ points: 1, duration: 60 }) })
  await limiter.consume('user')
  await assert.rejects(limiter.consume('user'), ({ remainingPoints }) => remainingPoints === 0)
}

run(tests)
