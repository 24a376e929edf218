# redis-py clients that know one node each of a cluster. Prints nothing when all is well. SERVER_URLS is where they connect.
import os
import threading

import redis

nodes = [redis.Redis.from_url(url, decode_responses=True) for url in os.environ["SERVER_URLS"].split(",")]
a, b, c = nodes

# Values, and what is split between owners.
a.mset({f"py:{i}": i for i in range(300)})
assert b.mget([f"py:{i}" for i in range(300)]) == [str(i) for i in range(300)]
assert len(set(c.scan_iter("py:*", count=50))) == 300 and c.dbsize() == 300
assert b.delete(*[f"py:{i}" for i in range(300)]) == 300 and a.dbsize() == 0

# A lock that one node gave, no other gives.
for i in range(20):
    lock = a.lock(f"py:lock{i}", timeout=20)
    assert lock.acquire(blocking=False) and not b.lock(f"py:lock{i}").acquire(blocking=False)
    assert lock.extend(10)
    lock.release()
    assert c.lock(f"py:lock{i}", timeout=20).acquire(blocking=False)

# Increments under WATCH, through all nodes at once: none is lost.
def add(node):
    def step(pipe):
        now = int(pipe.get("py:counter") or 0)
        pipe.multi()
        pipe.set("py:counter", now + 1)

    for _ in range(20):
        node.transaction(step, "py:counter")


threads = [threading.Thread(target=add, args=[node]) for node in nodes]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert a.get("py:counter") == "60", a.get("py:counter")

# Streams and their groups.
for i in range(10):
    key = f"py:stream{i}"
    a.xgroup_create(key, "g", mkstream=True)
    entry = b.xadd(key, {"n": i})
    assert c.xreadgroup("g", "one", {key: ">"})[0][1] == [(entry, {"n": str(i)})] and a.xack(key, "g", entry) == 1

# Scripts.
for i in range(20):
    script = nodes[i % 3].register_script("return redis.call('INCR', KEYS[1])")
    assert [script(keys=[f"py:script{i}"], client=node) for node in nodes] == [1, 2, 3]
