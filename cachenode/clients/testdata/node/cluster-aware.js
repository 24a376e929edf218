// Clients for Redis Cluster, which know one node and find the others by CLUSTER SLOTS.
'use strict'
const assert = require('node:assert/strict')
const { Cluster } = require('ioredis')
const { createCluster } = require('redis')
const { urls, url, host, port, run } = require('./harness')

const n = 300

run({
  ioredis: async () => {
    const c = new Cluster([{ host, port }])
    await Promise.all(Array.from({ length: n }, (_, i) => c.set(`io:${i}`, i)))
    const values = await Promise.all(Array.from({ length: n }, (_, i) => c.get(`io:${i}`)))
    assert.deepEqual(values, Array.from({ length: n }, (_, i) => String(i)))
    assert.equal(c.nodes('master').length, urls.length)
    await c.mset('{io}a', 1, '{io}b', 2)
    assert.deepEqual(await c.mget('{io}a', '{io}b'), ['1', '2'])
    assert.deepEqual(await c.multi().incr('{io}a').incr('{io}b').exec(), [[null, 2], [null, 3]])
    assert.equal(await c.eval("return redis.call('INCR', KEYS[1])", 1, '{io}a'), 3)
    c.disconnect()
  },

  'node-redis': async () => {
    const c = await createCluster({ rootNodes: [{ url }] }).connect()
    await Promise.all(Array.from({ length: n }, (_, i) => c.set(`node:${i}`, String(i))))
    const values = await Promise.all(Array.from({ length: n }, (_, i) => c.get(`node:${i}`)))
    assert.deepEqual(values, Array.from({ length: n }, (_, i) => String(i)))
    assert.equal(c.masters.length, urls.length)
    assert.deepEqual(await c.multi().set('{node}a', '1').incr('{node}b').exec(), ['OK', 1])
    await c.close()
  },
})
