// postgres.js against DATABASE_URL. What it prints must not depend on what is behind that URL.
// PRIMARY_URL is the same database without a pooler; NOTIFY_URL is where another client notifies from.
'use strict'
const { once } = require('node:events')
const { pipeline } = require('node:stream/promises')
const { Readable } = require('node:stream')
const postgres = require('postgres')

const print = (...values) => console.log(...values.map((v) => JSON.stringify(v)))

const attempt = (promise) => promise.then(() => 'no error', (err) => `${err.code} ${err.message}`)

// One connection, so that what a session keeps is seen.
const connect = (options = {}, url = process.env.DATABASE_URL) => postgres(url, { max: 1, onnotice: () => {}, ...options })

async function transactions(sql) {
  await sql`create table tx (id int primary key)`
  await sql.begin((tx) => tx`insert into tx values (1)`)
  print(await attempt(sql.begin(async (tx) => {
    await tx`insert into tx values (2)`
    await tx`insert into tx values (1)`
  })))
  await sql.begin(async (tx) => {
    await tx`insert into tx values (3)`
    print(await attempt(tx.savepoint((sp) => sp`insert into tx values (4), (1)`)))
  })
  print(await sql`select id from tx order by id`)
  print(await sql.begin('isolation level serializable read only', (tx) => tx`show transaction_isolation`))
}

async function prepared(sql) {
  for (let turn = 0; turn < 3; turn++) {
    for (let n = 0; n < 50; n++) { // more than the pooler keeps on a server, when the test says so
      const [{ sum }] = await sql.begin((tx) => tx.unsafe(`select $1::int + ${n} as sum`, [turn], { prepare: true }))
      if (sum !== turn + n) throw new Error(`${sum}`)
    }
  }
  print(await sql.unsafe('select $1::int as unnamed', [1], { prepare: false }))
  print((await sql`select ${1}::int as a, ${'x'}::text as b`.describe()).types)
}

async function batches(sql) {
  await sql`create table batch (id int primary key)`
  // Sent without waiting for answers.
  const all = await Promise.all([...Array.from({ length: 100 }, (_, i) => sql`insert into batch values (${i})`), sql`select count(*) from batch`])
  print(all.at(-1))
  const mixed = [sql`select 'before' as v`, sql`insert into batch values (1)`, sql`select 'after' as v`, sql`select ${'x'}::int`, sql`select 'end' as v`]
  print(await Promise.all(mixed.map((q) => q.then((r) => r, (err) => err.code))))
  print(await sql`select 1 as a; select 2 as b`.simple())
  print((await sql`insert into batch ${sql([{ id: 1000 }, { id: 1001 }])} returning id`))
}

async function copies(sql) {
  await sql`create table copied (id int, v text)`
  const lines = Array.from({ length: 20000 }, (_, i) => `${i}\tvalue ${i}\n`).join('')
  await pipeline(Readable.from([lines.slice(0, 1000), lines.slice(1000)]), await sql`copy copied from stdin`.writable())
  let out = ''
  const stream = await sql`copy (select * from copied order by id) to stdout`.readable()
  stream.on('data', (chunk) => { out += chunk })
  await once(stream, 'end')
  print(out === lines)
  print(await sql`select count(*) from copied`)
}

async function notifications(sql) {
  const heard = []
  let wake
  const two = new Promise((resolve) => { wake = resolve })
  const { unlisten } = await sql.listen('news', (payload) => heard.push(payload) === 2 && wake()) // on a connection of its own
  const other = connect({}, process.env.NOTIFY_URL)
  await other.notify('news', 'from another')
  await other.begin((tx) => tx`select pg_notify('news', 'in a transaction')`)
  await other.end()
  await two
  await unlisten()
  print(heard)
}

async function cancels(sql) {
  const watcher = connect({}, process.env.PRIMARY_URL)
  await attempt(sql.begin(async (tx) => { // on the primary, where the watcher looks
    const sleep = tx`select pg_sleep(60)`
    const slept = attempt(sleep)
    const running = () => watcher`select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'
      and datname = current_database()`.simple()
    while ((await running()).length === 0);
    sleep.cancel()
    print(await slept)
  }))
  await watcher.end()
  const impatient = connect({ connection: { statement_timeout: 50 } }) // in the startup packet
  print(await attempt(impatient`select pg_sleep(60)`))
  await impatient.end()
  print(await sql`show statement_timeout`)
}

async function settings(sql) {
  const other = connect({ connection: { application_name: 'another', search_path: 'nowhere' } })
  await sql`set timezone to 'Asia/Tokyo'`
  for (let i = 0; i < 3; i++) {
    for (const each of [sql, other]) {
      print(await each`select current_setting('timezone') tz, current_setting('search_path') path, current_setting('application_name') app`)
    }
  }
  print(sql.parameters.TimeZone, other.parameters.TimeZone, other.parameters.application_name)
  await other.end()
  await sql.begin((tx) => tx`set local work_mem to 1024`)
  print(await sql`show work_mem`)
}

async function nothingLeaks(sql) {
  print(await sql`select current_setting('timezone') tz, current_setting('work_mem') work_mem, current_setting('statement_timeout') timeout`)
}

async function large(sql) {
  let total = 0
  await sql`select n, repeat('x', n % 300) v from generate_series(1, 50000) n`.forEach(({ n, v }) => { total += n + v.length })
  print(total)
  let batches = 0
  await sql`select n from generate_series(1, 10000) n`.cursor(1000, () => { batches++ }) // portals
  print(batches)
  for await (const [{ n }] of sql`select n from generate_series(1, 10000) n`.cursor()) if (n === 3) break // left open
  const value = 'y'.repeat(5_000_000)
  print((await sql`select ${value} || 'z' as v`)[0].v === value + 'z')
}

async function values(sql) {
  print(await sql`select ${1}::int a, ${-1.5}::float8 b, ${true}::bool c, ${'é\t\\'}::text d, ${Buffer.from([0, 255])}::bytea e, ${null}::text f,
    '{1,2}'::int[] g, ${sql.json({ k: [1] })}::jsonb h, ${new Date(981173106000)}::timestamptz i`)
}

async function errors(sql) {
  await sql`create table strict (id int constraint positive check (id > 0))`
  for (const text of ['selec', 'select nothing', 'select 1/0', 'insert into strict values (0)', 'select * from missing', "select 'x'::int"]) {
    print(await attempt(sql.unsafe(text)), await attempt(sql.unsafe(text, [], { prepare: true })))
  }
}

// Two pools of 10 connections, whose statements have the same names and different texts.
async function manyClients(sql) {
  await sql`create table work (client text, n int)`
  const pools = ['first', 'second'].map((name) => ({ name, sql: postgres(process.env.DATABASE_URL, { max: 10 }) }))
  await Promise.all(Array.from({ length: 400 }, async (_, i) => {
    const { name, sql } = pools[i % 2]
    const [row] = await sql.unsafe(`select '${name}' as name, $1::int as i, pg_sleep(0.001)`, [i], { prepare: true })
    if (row.i !== i || row.name !== name) throw new Error(`${row.name} ${row.i} is not ${name} ${i}`)
    if (i % 20 < 2) await sql.begin((tx) => [tx`insert into work values (${name}, ${i})`, tx`insert into work values (${name}, 1)`])
  }))
  await Promise.all(pools.map(({ sql }) => sql.end()))
  print(await sql.begin((tx) => tx`select client, count(*), sum(n) from work group by client order by client`))
}

async function main() {
  for (const part of [transactions, prepared, batches, copies, notifications, cancels, settings, nothingLeaks, large, values, errors, manyClients]) {
    console.log('--', part.name)
    const sql = connect()
    await part(sql)
    await sql.end()
  }
}

main().catch((err) => {
  console.error(err)
  process.exit(1)
})
