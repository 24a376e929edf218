// What the scripts share. Each hands its tests to `run`, which prints what fails, and nothing when all is well.
'use strict'

const url = process.env.SERVER_URL
const urls = (process.env.SERVER_URLS ?? url).split(',')
const real = process.env.SERVER_REAL === '1'
const { hostname: host, port } = new URL(url)
// Options of node-redis: a busy machine is no failure.
const patient = { commandOptions: { timeout: 60000 }, socket: { connectTimeout: 60000 } }
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// Waits until a condition holds, which may be asynchronous.
async function eventually(what, holds) {
  for (const deadline = Date.now() + 30000; !(await holds()); await sleep(5)) {
    if (Date.now() > deadline) throw new Error(`gave up waiting for: ${what}`)
  }
}

// Fails when a promise takes too long, and tells which.
function within(what, promise, ms = 30000) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`gave up waiting for: ${what}`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

// Runs tests, functions by name, at the same time: none may depend on what another leaves.
async function run(tests) {
  const names = Object.keys(tests)
  const results = await Promise.allSettled(names.map((name) => within(name, tests[name](), 90000)))
  results.forEach(({ status, reason }, i) => {
    if (status === 'rejected') console.error(`--- ${names[i]}:`, reason)
  })
  process.exit(results.some(({ status }) => status === 'rejected') ? 1 : 0)
}

module.exports = { url, urls, real, host, port: Number(port), patient, sleep, eventually, within, run }
