// BullMQ: jobs, on ioredis. With several servers each queue and each worker knows one of them, in turn.
'use strict'
const assert = require('node:assert/strict')
const { Queue, Worker, QueueEvents, FlowProducer, UnrecoverableError } = require('bullmq')
const { urls, eventually, sleep, within, run } = require('./harness')

let connections = 0
function connection() {
  const { hostname: host, port } = new URL(urls[connections++ % urls.length])
  return { host, port: Number(port), maxRetriesPerRequest: null }
}
const tests = {}

// Each test has a queue of its own. `worker` starts one more worker on it.
function test(name, f) {
  tests[name] = async () => {
    const opened = []
    const keep = (one) => {
      one.on?.('error', () => {}) // connections are cut at the end
      opened.push(one)
      return one
    }
    const queueName = name.replaceAll(' ', '-')
    const queue = keep(new Queue(queueName, { connection: connection() }))
    const worker = (process, options) => keep(new Worker(queueName, process, { connection: connection(), drainDelay: 1, ...options }))
    try {
      await f({ queue, worker, keep })
    } finally {
      await Promise.all(opened.map((one) => one.close(true)))
    }
  }
}

test('several workers', async ({ queue, worker, keep }) => {
  const events = keep(new QueueEvents(queue.name, { connection: connection() }))
  await events.waitUntilReady()
  const completed = new Set()
  events.on('completed', ({ jobId }) => completed.add(jobId))
  const seen = []
  for (let w = 0; w < 3; w++) worker(async (job) => { seen.push(job.data.n); return job.data.n * 2 }, { concurrency: 5 })
  const jobs = await queue.addBulk(Array.from({ length: 100 }, (_, n) => ({ name: 'one', data: { n } })))
  await eventually('all jobs', () => completed.size === 100)
  assert.deepEqual(seen.sort((a, b) => a - b), Array.from({ length: 100 }, (_, n) => n))
  assert.equal((await queue.getJob(jobs[42].id)).returnvalue, 84)
  assert.equal((await queue.getJobCounts('completed')).completed, 100)
  const last = await queue.add('last', { n: 7 })
  assert.equal(await last.waitUntilFinished(events, 30000), 14)
})

test('delay', async ({ queue, worker }) => {
  const begin = Date.now()
  const order = []
  await queue.add('late', {}, { delay: 300 })
  await queue.add('now', {})
  worker(async (job) => { order.push([job.name, Date.now() - begin]) })
  await eventually('both jobs', () => order.length === 2)
  assert.deepEqual(order.map(([name]) => name), ['now', 'late'])
  assert.ok(order[1][1] >= 290, `${order[1][1]} ms`)
})

test('retry', async ({ queue, worker }) => {
  const tries = []
  worker(async (job) => {
    tries.push([job.name, job.attemptsMade])
    if (job.name === 'hopeless') throw new UnrecoverableError('no')
    if (job.attemptsMade < 2) throw new Error('not yet')
    return 'done'
  })
  const job = await queue.add('twice', {}, { attempts: 3, backoff: { type: 'exponential', delay: 20 } })
  const hopeless = await queue.add('hopeless', {}, { attempts: 3 })
  await eventually('the end', async () => (await job.isCompleted()) && (await hopeless.isFailed()))
  assert.deepEqual(tries.filter(([name]) => name === 'twice').map(([, n]) => n), [0, 1, 2])
  assert.equal(tries.filter(([name]) => name === 'hopeless').length, 1)
  assert.equal((await queue.getFailed())[0].failedReason, 'no')
  await hopeless.retry()
  await eventually('it fails again', async () => tries.filter(([name]) => name === 'hopeless').length === 2)
})

test('repeat', async ({ queue, worker }) => {
  let runs = 0
  worker(async () => { runs++ })
  await queue.upsertJobScheduler('often', { every: 100 }, { name: 'tick' })
  await queue.upsertJobScheduler('nightly', { pattern: '0 15 3 * * *' }, { name: 'night' })
  await eventually('three runs', () => runs >= 3)
  assert.deepEqual((await queue.getJobSchedulers()).map((s) => s.key).sort(), ['nightly', 'often'])
  assert.equal(await queue.removeJobScheduler('often'), true)
  assert.equal((await queue.getJobSchedulersCount()), 1)
})

test('a worker that dies', async ({ queue, worker }) => {
  // It takes the job, never renews its lock, and does not answer.
  const taken = []
  const dying = worker(() => new Promise(() => taken.push('dying')), { lockDuration: 200, lockRenewTime: 1e6, skipStalledCheck: true })
  const job = await queue.add('long', {})
  await eventually('it is taken', () => taken.length === 1)
  await dying.close(true)
  const stalled = []
  const heir = worker(async () => { taken.push('heir'); return 'saved' }, { stalledInterval: 100, lockDuration: 30000 })
  heir.on('stalled', (id) => stalled.push(id))
  await eventually('it is done by another', () => job.isCompleted())
  assert.deepEqual(taken, ['dying', 'heir'])
  assert.deepEqual(stalled, [job.id])
})

test('priority and order', async ({ queue, worker }) => {
  for (const [name, priority] of [['low', 10], ['high', 1], ['middle', 5]]) await queue.add(name, {}, { priority })
  await queue.add('first', {}, { lifo: true })
  const order = []
  worker(async (job) => { order.push(job.name) })
  await eventually('all jobs', () => order.length === 4)
  assert.deepEqual(order, ['first', 'high', 'middle', 'low'])
})

test('a job of children', async ({ queue, worker, keep }) => {
  worker(async (job) => (job.name === 'parent' ? Object.values(await job.getChildrenValues()).sort() : job.data))
  const flow = keep(new FlowProducer({ connection: connection() }))
  const { job } = await flow.add({ name: 'parent', queueName: queue.name, children: [1, 2, 3].map((data) => ({ name: 'child', queueName: queue.name, data })) })
  await eventually('the parent', () => job.isCompleted())
  assert.deepEqual((await queue.getJob(job.id)).returnvalue, [1, 2, 3])
})

test('limits', async ({ queue, worker }) => {
  const asked = [] // when the worker asked for the job
  worker(async (job) => { asked.push(job.processedOn) }, { limiter: { max: 2, duration: 300 }, concurrency: 10 })
  await queue.addBulk(Array.from({ length: 6 }, () => ({ name: 'one', data: {} })))
  await eventually('all jobs', () => asked.length === 6)
  const took = Date.now() - Math.min(...asked) // two windows begin and one passes between the first job and the last
  assert.ok(took >= 300, `six jobs, two in 300 ms, took ${took} ms`)
})

test('housekeeping', async ({ queue, worker }) => {
  const a = await queue.add('one', {}, { jobId: 'same' })
  await queue.add('one', {}, { jobId: 'same' })
  await queue.add('two', {}, { deduplication: { id: 'once', ttl: 60000 } })
  await queue.add('two', {}, { deduplication: { id: 'once', ttl: 60000 } })
  assert.equal(await queue.getWaitingCount(), 2)
  await a.updateData({ changed: true })
  await a.updateProgress(50)
  await a.log('a line')
  assert.deepEqual((await queue.getJobLogs('same')).logs, ['a line'])
  assert.deepEqual([(await queue.getJob('same')).data, (await queue.getJob('same')).progress], [{ changed: true }, 50])
  await queue.pause()
  let runs = 0
  worker(async () => { runs++ }, { removeOnComplete: { count: 1 } })
  await sleep(100)
  assert.equal(runs, 0)
  await queue.resume()
  await eventually('both jobs', async () => runs === 2 && (await queue.getCompletedCount()) === 1)
  await queue.add('late', {}, { delay: 1e6 })
  await queue.drain(true)
  await queue.clean(0, 100)
  await within('the end of the queue', queue.obliterate({ force: true }))
  assert.equal((await queue.getJobs()).length, 0)
})

run(tests)
