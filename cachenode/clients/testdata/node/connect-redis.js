// Sessions of express-session, kept by connect-redis on node-redis.
'use strict'
const assert = require('node:assert/strict')
const http = require('node:http')
const session = require('express-session')
const { RedisStore } = require('connect-redis')
const { createClient } = require('redis')
const { url, patient, eventually, run } = require('./harness')

// An application whose sessions count the visits. Two of them share their sessions.
async function application(client, prefix, maxAge) {
  const store = new RedisStore({ client, prefix, scanCount: 10 })
  const sessions = session({ store, secret: 'x', resave: false, saveUninitialized: false, cookie: { maxAge } })
  const server = http.createServer((req, res) =>
    sessions(req, res, (err) => {
      if (err) return res.writeHead(500).end(String(err))
      if (req.url === '/logout') return req.session.destroy(() => res.end('bye'))
      if (req.url === '/renew') {
        const { visits } = req.session
        return req.session.regenerate(() => { req.session.visits = visits; res.end(String(visits)) })
      }
      if (req.url === '/visit') req.session.visits = (req.session.visits ?? 0) + 1
      res.end(String(req.session.visits ?? 0))
    }),
  )
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  let cookie
  const visit = async (path, from = cookie) => {
    const reply = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { headers: from ? { cookie: from } : {} })
    const set = reply.headers.get('set-cookie')
    if (set) cookie = set.split(';')[0]
    return reply.text()
  }
  return { store, visit, cookie: () => cookie }
}

const tests = {}
for (const RESP of [2, 3]) {
  const test = (name, f) => {
    tests[`${name}, RESP${RESP}`] = async () => {
      const client = await createClient({ ...patient, url, RESP }).connect()
      try {
        await f(client, `${name}:${RESP}:`)
      } finally {
        client.destroy()
      }
    }
  }

  test('set, touch, destroy', async (client, prefix) => {
    const [a, b] = [await application(client, prefix, 60000), await application(client, prefix, 60000)]
    assert.equal(await a.visit('/'), '0')
    assert.equal(await client.keys(prefix + '*').then((k) => k.length), 0)
    assert.equal(await a.visit('/visit'), '1')
    assert.equal(await a.visit('/visit'), '2')
    assert.equal(await b.visit('/visit', a.cookie()), '3')
    const [key] = await client.keys(prefix + '*')
    await client.pExpire(key, 20000)
    await a.visit('/') // unchanged, so it is touched
    await eventually('the touch', async () => (await client.pTTL(key)) > 50000)
    assert.equal(await a.visit('/renew'), '3')
    assert.equal(await client.exists(key), 0)
    assert.equal(await a.visit('/logout'), 'bye')
    assert.equal(await client.keys(prefix + '*').then((k) => k.length), 0)
    assert.equal(await a.visit('/visit'), '1')
  })

  test('expire', async (client, prefix) => {
    const app = await application(client, prefix, 1000) // whole seconds are kept
    assert.equal(await app.visit('/visit'), '1')
    await eventually('the end of the session', async () => (await client.exists(await client.keys(prefix + '*').then((k) => k[0] ?? prefix))) === 0)
    assert.equal(await app.visit('/'), '0')
  })

  test('all', async (client, prefix) => {
    const { store } = await application(client, prefix, 60000)
    for (let i = 0; i < 50; i++) await store.set(`s${i}`, { cookie: {}, i })
    assert.equal(await store.length(), 50)
    assert.deepEqual((await store.ids()).sort()[0], 's0')
    assert.deepEqual((await store.all()).map((s) => s.i).sort((x, y) => x - y), Array.from({ length: 50 }, (_, i) => i))
    await store.clear()
    assert.equal(await store.length(), 0)
  })
}

run(tests)
