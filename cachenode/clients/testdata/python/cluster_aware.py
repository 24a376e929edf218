# redis-py's RedisCluster, which knows one node and finds the others. Prints nothing when all is well.
import os

from redis.cluster import RedisCluster

urls = os.environ["SERVER_URLS"].split(",")
c = RedisCluster.from_url(urls[0], decode_responses=True)
assert len(c.get_primaries()) == len(urls), c.get_nodes()
for i in range(300):
    c.set(f"py:{i}", i)
assert [c.get(f"py:{i}") for i in range(300)] == [str(i) for i in range(300)]
assert c.mset_nonatomic({f"py:m{i}": i for i in range(50)}) is not None
assert c.mget_nonatomic([f"py:m{i}" for i in range(50)]) == [str(i) for i in range(50)]
pipe = c.pipeline()
for i in range(100):
    pipe.incr(f"py:{i}")
assert pipe.execute() == [i + 1 for i in range(100)]
assert c.keyslot("py:1") == c.execute_command("CLUSTER KEYSLOT", "py:1", target_nodes=RedisCluster.RANDOM)
assert c.cluster_info(target_nodes=RedisCluster.RANDOM)["cluster_state"] == "ok"
