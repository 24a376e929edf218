// node-postgres against DATABASE_URL. What it prints must not depend on what is behind that URL.
// PRIMARY_URL is the same database without a pooler; NOTIFY_URL is where another client notifies from.
'use strict'
const { once } = require('node:events')
const { pipeline } = require('node:stream/promises')
const { Readable } = require('node:stream')
const { Client, Pool } = require('pg')
const copy = require('pg-copy-streams')

const print = (...values) => console.log(...values.map((v) => JSON.stringify(v)))

async function connect(options = {}) {
  const client = new Client({ connectionString: process.env.DATABASE_URL, ...options })
  await client.connect()
  return client
}

const rows = async (client, ...query) => (await client.query(...query)).rows

const attempt = (promise) => promise.then(() => 'no error', (err) => `${err.code} ${err.message}`)

async function transactions(client) {
  await client.query('create table tx (id int primary key)')
  await client.query('begin')
  await client.query('insert into tx values (1)')
  await client.query('commit')
  await client.query('begin')
  await client.query('insert into tx values (2)')
  print(await attempt(client.query('insert into tx values (1)')), await attempt(client.query('select 1')))
  await client.query('rollback')
  await client.query('begin; insert into tx values (3); savepoint s; insert into tx values (4); rollback to s; commit')
  print(await rows(client, 'select id from tx order by id'))
}

async function prepared(client) {
  for (let turn = 0; turn < 3; turn++) {
    for (let n = 0; n < 50; n++) { // more than the pooler keeps on a server, when the test says so
      await client.query('begin')
      const [{ sum }] = await rows(client, { name: `plus ${n}`, text: `select $1::int + ${n} as sum`, values: [turn] })
      if (sum !== turn + n) throw new Error(`${sum}`)
      await client.query('commit')
    }
  }
  print(await rows(client, 'select $1::int as unnamed', [1]), await attempt(client.query('select $1::int', ['x'])))
}

async function batches(client) {
  await client.query('create table batch (id int)')
  const queries = Array.from({ length: 100 }, (_, i) => client.query('insert into batch values ($1)', [i]))
  queries.push(client.query('select count(*) from batch'))
  print((await Promise.all(queries)).at(-1).rows)
  print((await client.query('select 1 as a; select 2 as b; delete from batch where id < 5')).map((r) => [r.command, r.rowCount, r.rows]))
  print(await attempt(client.query('delete from batch; select 1/0')), await rows(client, 'select count(*) from batch'))
}

async function copies(client) {
  await client.query('create table copied (id int, v text)')
  const lines = Array.from({ length: 20000 }, (_, i) => `${i}\tvalue ${i}\n`).join('')
  await pipeline(Readable.from([lines.slice(0, 1000), lines.slice(1000)]), client.query(copy.from('copy copied from stdin')))
  let out = ''
  for await (const chunk of client.query(copy.to('copy (select * from copied order by id) to stdout'))) out += chunk
  print(out === lines)
  print(await attempt(pipeline(Readable.from(['bad\tx\n']), client.query(copy.from('copy copied from stdin')))))
  print(await rows(client, 'select count(*) from copied'))
}

async function notifications(client) {
  const heard = []
  client.on('notification', (n) => heard.push([n.channel, n.payload]))
  await client.query('listen news')
  const other = await connect({ connectionString: process.env.NOTIFY_URL })
  await other.query("notify news, 'from another'")
  await other.end()
  await client.query("notify news, 'to myself'")
  while (heard.length < 2) await once(client, 'notification')
  print(heard)
  await client.query('unlisten *')
  print(await rows(client, 'select * from pg_listening_channels()'))
}

async function cancels(client) {
  await client.query('begin') // on the primary, where the watcher looks
  const slept = attempt(client.query('select pg_sleep(60)'))
  const watcher = await connect({ connectionString: process.env.PRIMARY_URL })
  const running = "select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)' and datname = current_database()"
  while ((await rows(watcher, running)).length === 0);
  await watcher.end()
  // node-postgres has its CancelRequest on a client that is made for that. Until that connection ends, the signal may
  // still be on its way.
  const canceller = new Client({ connectionString: process.env.DATABASE_URL })
  canceller.cancel(client, client._getActiveQuery())
  await once(canceller.connection.stream, 'close')
  print(await slept)
  await client.query('rollback')
  await client.query("set statement_timeout to '50ms'")
  print(await attempt(client.query('select pg_sleep(60)')), await rows(client, 'show statement_timeout'))
  const impatient = await connect({ statement_timeout: 50 }) // in the startup packet
  print(await attempt(impatient.query('select pg_sleep(60)')))
  await impatient.end()
}

async function settings(client) {
  const other = await connect({ application_name: 'another', options: '-c search_path=nowhere' })
  await client.query("set timezone to 'Asia/Tokyo'")
  for (let i = 0; i < 3; i++) {
    for (const each of [client, other]) {
      print(await rows(each, "select current_setting('timezone') tz, current_setting('search_path') path, current_setting('application_name') app"))
    }
  }
  await other.end()
  await client.query('begin; set local work_mem to 1024; commit')
  print(await rows(client, 'show work_mem'), await rows(client, "select set_config('work_mem', '2MB', false)"), await rows(client, 'show work_mem'))
}

async function nothingLeaks(client) {
  print(await rows(client, "select current_setting('timezone') tz, current_setting('work_mem') work_mem, current_setting('statement_timeout') timeout"))
}

async function large(client) {
  let total = 0
  for (const { n, v } of await rows(client, "select n, repeat('x', n % 300) v from generate_series(1, 50000) n")) total += n + v.length
  const value = 'y'.repeat(5_000_000)
  print(total, (await rows(client, "select $1 || 'z' as v", [value]))[0].v === value + 'z')
}

async function binary(client) {
  const values = [1, true, 'é\t\\', null]
  print(await rows(client, { text: 'select $1::int a, $2::bool b, $3::text c, $4::text d', values, binary: true }))
  const more = [-1.5, Buffer.from([0, 255]), [1, null, 3], { k: [1] }, new Date(981173106000)]
  print(await rows(client, { text: 'select $1::float8, $2::bytea, $3::int[], $4::jsonb, $5::timestamptz', values: more, rowMode: 'array' }))
}

async function errors(client) {
  client.on('notice', (n) => print('notice', n.severity, n.code, n.message))
  await client.query("do $$begin raise warning 'careful'; end$$")
  await client.query('create table strict (id int constraint positive check (id > 0))')
  for (const text of ['selec', 'select nothing', 'select 1/0', 'insert into strict values (0)', 'select * from missing', "select 'x'::int"]) {
    print(await attempt(client.query(text)), await attempt(client.query({ text, values: [], queryMode: 'extended' })))
  }
}

// A pool of 20 clients, each with a statement of the same name, and transactions in between.
async function manyClients(client) {
  await client.query('create table work (client int, n int)')
  const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 20 })
  await Promise.all(Array.from({ length: 400 }, async (_, i) => {
    const [row] = await rows(pool, { name: 'echo', text: 'select $1::int as i, pg_sleep(0.001)', values: [i] })
    if (row.i !== i) throw new Error(`${row.i} is not ${i}`)
    if (i % 20 !== 0) return
    const c = await pool.connect()
    await c.query('begin')
    await c.query('insert into work values ($1, 1)', [i])
    await c.query('insert into work values ($1, 2)', [i])
    await c.query(i % 40 === 0 ? 'commit' : 'rollback')
    c.release()
  }))
  await pool.end()
  await client.query('begin')
  print(await rows(client, 'select count(*), sum(client), sum(n) from work'))
  await client.query('commit')
}

async function main() {
  for (const part of [transactions, prepared, batches, copies, notifications, cancels, settings, nothingLeaks, large, binary, errors, manyClients]) {
    console.log('--', part.name)
    const client = await connect()
    await part(client)
    await client.end()
  }
}

main().catch((err) => {
  console.error(err)
  process.exit(1)
})
