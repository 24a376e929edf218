// ioredis and node-redis through TLS, and through a Unix socket. SERVER_CA signs the server's certificate.
'use strict'
const assert = require('node:assert/strict')
const fs = require('node:fs')
const { Redis } = require('ioredis')
const { createClient } = require('redis')
const { url, patient, eventually, run } = require('./harness')

const ca = fs.readFileSync(process.env.SERVER_CA)
const path = process.env.SERVER_SOCKET
const text = 'x'.repeat(1 << 20)

const ioredis = (options) => async () => {
  const [c, sub] = [new Redis(...options), new Redis(...options)]
  const key = `ioredis ${options[0]}`
  assert.equal(await c.set(key, text), 'OK')
  assert.equal(await c.get(key), text)
  const replies = await Promise.all(Array.from({ length: 500 }, (_, i) => c.set(key + i, i).then(() => c.get(key + i))))
  assert.deepEqual(replies, Array.from({ length: 500 }, (_, i) => String(i)))
  let heard
  sub.on('message', (_, message) => { heard = message })
  await sub.subscribe(key)
  assert.equal(await c.publish(key, text), 1)
  await eventually('the message', () => heard === text)
  c.disconnect()
  sub.disconnect()
}

const nodeRedis = (options) => async () => {
  const c = await createClient({ ...patient, ...options }).connect()
  const sub = await c.duplicate().connect()
  const key = `node-redis ${options.url}`
  assert.equal(await c.set(key, text), 'OK')
  assert.equal(await c.get(key), text)
  const replies = await Promise.all(Array.from({ length: 500 }, (_, i) => c.incr(key + i % 5)))
  assert.equal(replies.at(-1), 100)
  let heard
  await sub.subscribe(key, (message) => { heard = message })
  assert.equal(await c.publish(key, text), 1)
  await eventually('the message', () => heard === text)
  c.destroy()
  sub.destroy()
}

run({
  'ioredis, TLS': ioredis([url, { tls: { ca } }]),
  'ioredis, socket': ioredis([path]),
  'node-redis, TLS': nodeRedis({ url, socket: { tls: true, ca } }),
  'node-redis, socket': nodeRedis({ socket: { path } }),
  'a stranger': async () => {
    const c = createClient({ url, socket: { tls: true, reconnectStrategy: false } }).on('error', () => {})
    await assert.rejects(c.connect(), /certificate/)
  },
})
