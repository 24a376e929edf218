// node-postgres through a sidecar. DATABASE_URL names it. Prints nothing when all is well.
'use strict'
const assert = require('node:assert/strict')
const { pipeline } = require('node:stream/promises')
const { Readable } = require('node:stream')
const { Client, Pool } = require('pg')
const copy = require('pg-copy-streams')

const connectionString = process.env.DATABASE_URL

async function transaction(client) {
  await client.query('create table node_tx (id int primary key)')
  await client.query('begin')
  await client.query('insert into node_tx values (1)')
  await client.query('commit')
  await client.query('begin')
  await client.query('insert into node_tx values (2)')
  await assert.rejects(client.query('insert into node_tx values (1)'), { code: '23505' })
  await assert.rejects(client.query('select 1'), { code: '25P02' })
  await client.query('rollback')
  assert.deepEqual((await client.query('select id from node_tx')).rows, [{ id: 1 }])
}

async function named(client) {
  for (let i = 0; i < 20; i++) {
    for (const name of ['plus', 'minus']) {
      const text = `select $1::int ${name === 'plus' ? '+' : '-'} 1 as n`
      const { rows } = await client.query({ name, text, values: [i] })
      assert.deepEqual(rows, [{ n: name === 'plus' ? i + 1 : i - 1 }])
    }
  }
}

async function copies(client) {
  await client.query('create table node_copy (id int, v text)')
  const lines = Array.from({ length: 20000 }, (_, i) => `${i}\tvalue ${i}\n`)
  await pipeline(Readable.from(lines), client.query(copy.from('copy node_copy from stdin')))
  let out = ''
  const stream = client.query(copy.to('copy (select * from node_copy order by id) to stdout'))
  for await (const chunk of stream) out += chunk
  assert.equal(out, lines.join(''))
}

async function cancel(client) {
  const slept = client.query('select pg_sleep(60) /* node */').then(
    () => assert.fail('it slept to the end'),
    (err) => assert.equal(err.code, '57014'),
  )
  // Cancels until it hits: a request that comes before the query has no effect. node-postgres has its CancelRequest on a
  // client that is made for that.
  const timer = setInterval(() => {
    new Client({ connectionString }).cancel(client, client.activeQuery ?? client._activeQuery)
  }, 200)
  await slept
  clearInterval(timer)
}

async function pool() {
  const p = new Pool({ connectionString, max: 20 })
  const tasks = Array.from({ length: 400 }, async (_, i) => {
    const { rows } = await p.query({ name: 'echo', text: 'select $1::int as i, pg_sleep(0.001)', values: [i] })
    assert.equal(rows[0].i, i)
    if (i % 20 === 0) {
      const c = await p.connect()
      try {
        await c.query('begin')
        await c.query('create temp table t (i int) on commit drop')
        await c.query('insert into t values ($1)', [i])
        assert.deepEqual((await c.query('select i from t')).rows, [{ i }])
        await c.query('commit')
      } finally {
        c.release()
      }
    }
  })
  await Promise.all(tasks)
  assert.equal(p.totalCount, 20)
  await p.end()
}

async function main() {
  const client = new Client({ connectionString })
  await client.connect()
  for (const test of [transaction, named, copies, cancel, pool]) {
    try {
      await test(client)
    } catch (err) {
      throw new Error(test.name, { cause: err })
    }
  }
  await client.end()
}

main().catch((err) => {
  console.error(err)
  process.exit(1)
})
