// Clients that know one node each of a cluster: what one writes, limits or says, the others see.
'use strict'
const assert = require('node:assert/strict')
const { Redis } = require('ioredis')
const { createClient } = require('redis')
const { RateLimiterRedis } = require('rate-limiter-flexible')
const { RedisStore } = require('connect-redis')
const { Keyv } = require('keyv')
const { default: KeyvRedis } = require('@keyv/redis')
const { urls, patient, eventually, run } = require('./harness')

const io = () => urls.map((url) => new Redis(url))
const node = () => Promise.all(urls.map((url) => createClient({ ...patient, url }).connect()))

run({
  values: async () => {
    const [a, b, c] = io()
    const pipeline = a.pipeline()
    for (let i = 0; i < 300; i++) pipeline.set(`v:${i}`, i).hset(`v:h:${i}`, { f: i }).zadd(`v:z:${i}`, i, 'm')
    await pipeline.exec()
    assert.deepEqual(await b.mget(Array.from({ length: 300 }, (_, i) => `v:${i}`)), Array.from({ length: 300 }, (_, i) => String(i)))
    const found = new Set()
    for await (const keys of c.scanStream({ match: 'v:*', count: 50 })) keys.forEach((k) => found.add(k))
    assert.equal(found.size, 900)
    assert.equal(await b.unlink(Array.from({ length: 300 }, (_, i) => `v:${i}`)), 300)
    assert.equal(await c.exists('v:0', 'v:1', 'v:h:1'), 1)
    for (const client of [a, b, c]) client.disconnect()
  },

  transactions: async () => {
    const [a, b, c] = io()
    for (let i = 0; i < 20; i++) {
      const [x, y] = [`{t${i}}x`, `{t${i}}y`]
      assert.deepEqual(await a.multi().set(x, 1).incrby(y, 2).mget(x, y).exec(), [[null, 'OK'], [null, 2], [null, ['1', '2']]])
      await b.watch(x)
      await c.incr(x)
      assert.equal(await b.multi().incr(x).exec(), null)
    }
    for (const client of [a, b, c]) client.disconnect()
  },

  scripts: async () => {
    const clients = io()
    for (const client of clients) client.defineCommand('bump', { numberOfKeys: 1, lua: "return redis.call('INCR', KEYS[1])" })
    for (let i = 0; i < 20; i++) {
      for (const [n, client] of clients.entries()) assert.equal(await client.bump(`script:${i}`), n + 1)
    }
    for (const client of clients) client.disconnect()
  },

  messages: async () => {
    const clients = await node()
    const subscribers = await node()
    const heard = []
    for (const s of subscribers) await s.subscribe('news', (text) => heard.push(text))
    for (const s of subscribers) await s.pSubscribe('n*s', (text) => heard.push('pattern ' + text))
    for (const [n, c] of clients.entries()) await c.publish('news', String(n))
    await eventually('all messages', () => heard.length === 18)
    assert.deepEqual(heard.filter((m) => m === '1').length, 3)
    for (const c of [...clients, ...subscribers]) c.destroy()
  },

  'a limiter': async () => {
    const clients = io()
    const limiters = clients.map((storeClient) => new RateLimiterRedis({ storeClient, keyPrefix: 'limit', points: 30, duration: 60 }))
    const results = await Promise.allSettled(Array.from({ length: 90 }, (_, i) => limiters[i % 3].consume('user')))
    assert.equal(results.filter((r) => r.status === 'fulfilled').length, 30)
    for (const c of clients) c.disconnect()
  },

  'a session': async () => {
    const clients = await node()
    const stores = clients.map((client) => new RedisStore({ client, prefix: 'session:' }))
    for (let i = 0; i < 30; i++) await stores[0].set(`s${i}`, { cookie: {}, i })
    assert.equal((await stores[1].get('s7')).i, 7)
    assert.equal((await stores[2].all()).length, 30)
    await stores[1].destroy('s7')
    assert.equal(await stores[2].get('s7'), null)
    for (const c of clients) c.destroy()
  },

  'a cache': async () => {
    const caches = urls.map((url) => new Keyv({ store: new KeyvRedis({ ...patient, url }), namespace: 'cache', throwOnErrors: true }))
    for (let i = 0; i < 30; i++) await caches[0].set(`k${i}`, i)
    assert.deepEqual(await caches[1].getMany(['k0', 'k29', 'none']), [0, 29, undefined])
    await caches[2].clear()
    assert.equal(await caches[0].get('k0'), undefined)
    for (const c of caches) await c.disconnect()
  },
})
