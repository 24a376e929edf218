// keyv with its Redis store: values, times to live, namespaces.
'use strict'
const assert = require('node:assert/strict')
const { Keyv } = require('keyv')
const { default: KeyvRedis } = require('@keyv/redis')
const { url, patient, eventually, run } = require('./harness')

const tests = {}
for (const useUnlink of [true, false]) {
  const test = (name, f) => {
    tests[`${name}, unlink ${useUnlink}`] = async () => {
      const open = (namespace) => {
        const store = new KeyvRedis({ ...patient, url }, { useUnlink, clearBatchSize: 10 })
        const keyv = new Keyv({ store, namespace, throwOnErrors: true })
        opened.push(keyv)
        return keyv
      }
      const opened = []
      try {
        await f(open, `${name}-${useUnlink}`)
      } finally {
        await Promise.all(opened.map((keyv) => keyv.disconnect()))
      }
    }
  }

  test('get and set', async (open, namespace) => {
    const keyv = open(namespace)
    assert.equal(await keyv.get('none'), undefined)
    assert.equal(await keyv.set('k', { deep: [1, 'ü', null] }), true)
    assert.deepEqual(await keyv.get('k'), { deep: [1, 'ü', null] })
    assert.equal(await keyv.has('k'), true)
    assert.equal(await keyv.delete('k'), true)
    assert.equal(await keyv.delete('k'), false)
    assert.equal(await keyv.has('k'), false)
  })

  test('expiry', async (open, namespace) => {
    const keyv = open(namespace)
    await keyv.set('brief', 1, 50)
    await keyv.set('long', 2, 60000)
    const client = await keyv.store.getClient() // keyv checks the time itself as well: ask the server
    const [long] = await client.keys(`${namespace}*long`)
    await eventually('expiry', async () => (await client.keys(`${namespace}*`)).length === 1)
    assert.equal(await keyv.get('brief'), undefined)
    assert.equal(await keyv.get('long'), 2)
    assert.ok((await client.pTTL(long)) > 30000)
  })

  test('many', async (open, namespace) => {
    const keyv = open(namespace)
    const entries = Array.from({ length: 40 }, (_, i) => ({ key: `k${i}`, value: i }))
    await keyv.setMany(entries)
    assert.deepEqual(await keyv.getMany(['k0', 'none', 'k39']), [0, undefined, 39])
    assert.deepEqual((await keyv.hasMany(['k0', 'none'])), [true, false])
    const seen = []
    for await (const [key, value] of keyv.iterator()) seen.push([key, value])
    assert.deepEqual(seen.sort((a, b) => a[1] - b[1]), entries.map(({ key, value }) => [key, value]))
    assert.equal(await keyv.deleteMany(['k0', 'k1']), true)
    assert.equal(await keyv.get('k1'), undefined)
  })

  test('namespaces', async (open, namespace) => {
    const [a, b] = [open(namespace + '-a'), open(namespace + '-b')]
    for (let i = 0; i < 30; i++) {
      await a.set(`k${i}`, 'a')
      await b.set(`k${i}`, 'b')
    }
    await a.clear()
    assert.equal(await a.get('k0'), undefined)
    assert.equal(await b.get('k0'), 'b')
  })
}

run(tests)
