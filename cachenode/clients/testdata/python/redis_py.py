# redis-py, with and without asyncio. Prints what fails, and nothing when all is well. SERVER_URL is where it connects.
import asyncio
import os
import sys
import threading
import time
import traceback

import redis
import redis.asyncio

URL = os.environ["SERVER_URL"]
HOST, PORT = URL.removeprefix("redis://").split(":")


def connect(**options):
    return redis.Redis(HOST, int(PORT), decode_responses=True, **options)


def eventually(what, holds):
    deadline = time.monotonic() + 30
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"gave up waiting for: {what}")
        time.sleep(0.005)


def fails(kind, f, *args, **options):
    try:
        f(*args, **options)
    except kind as e:
        return str(e)
    raise AssertionError(f"no {kind.__name__}")


def test_connection():
    c = connect(client_name="python", db=7)
    assert c.ping() and c.client_getname() == "python"
    assert int(c.client_info()["db"]) == 7
    c.set("py:k", "in 7")
    assert connect().get("py:k") is None
    user = connect(username="app", password="secret")
    assert user.acl_whoami() == "app" and user.set("app:py", 1)
    fails(redis.exceptions.NoPermissionError, user.set, "other:py", 1)
    assert "WRONGPASS" in fails(redis.exceptions.ResponseError, connect(username="app", password="wrong").ping)
    assert c.info()["redis_mode"] == "standalone" and int(c.config_get("databases")["databases"]) == 16
    assert c.command_getkeys("MSET", "a", "b", "c", "d") == ["a", "c"] and "get" in c.command()


def test_values():
    c = connect()
    assert c.set("py:s", "välue", ex=100) and c.set("py:s", "x", nx=True) is None and c.get("py:s") == "välue"
    assert c.set("py:s", "new", get=True, keepttl=True) == "välue" and 90 < c.ttl("py:s") <= 100
    raw = redis.Redis.from_url(URL)
    raw.set("py:bytes", bytes(range(256)))
    assert raw.get("py:bytes") == bytes(range(256))
    c.hset("py:h", mapping={"a": 1, "b": "two"})
    assert c.hgetall("py:h") == {"a": "1", "b": "two"}
    c.zadd("py:z", {"x": 1.5, "y": 2})
    assert c.zrange("py:z", 0, -1, withscores=True) == [("x", 1.5), ("y", 2.0)] and c.zmscore("py:z", ["x", "no"]) == [1.5, None]
    assert c.sadd("py:set", "a", "b") == 2 and c.smembers("py:set") == {"a", "b"}
    c.geoadd("py:geo", [13.361389, 38.115556, "Palermo"])
    assert c.geosearch("py:geo", longitude=15, latitude=37, radius=200, unit="km") == ["Palermo"]
    assert "WRONGTYPE" in fails(redis.exceptions.ResponseError, c.incr, "py:h")
    c.set("py:brief", "x", px=30)
    eventually("expiry", lambda: not c.exists("py:brief"))
    assert c.bitfield("py:bits").set("u8", 0, 200).get("u8", 0).execute() == [0, 200]


def test_transactions():
    c, other = connect(), connect()
    with c.pipeline(transaction=False) as pipe:
        for i in range(500):
            pipe.set(f"py:p{i}", i).get(f"py:p{i}")
        replies = pipe.execute()
    assert replies[1::2] == [str(i) for i in range(500)] and all(replies[0::2])
    with c.pipeline() as pipe:
        pipe.watch("py:t")
        other.set("py:t", 5)
        pipe.multi()
        pipe.incr("py:t")
        fails(redis.exceptions.WatchError, pipe.execute)
    turns = []

    def add(pipe):
        now = int(pipe.get("py:t"))
        if not turns:
            other.incr("py:t")
        turns.append(now)
        pipe.multi()
        pipe.set("py:t", now + 10)

    assert c.transaction(add, "py:t") == [True] and turns == [5, 6] and c.get("py:t") == "16"
    with c.pipeline() as pipe:
        pipe.set("py:t2", 1).lpush("py:t2", "x").incr("py:t2")
        replies = pipe.execute(raise_on_error=False)
    assert replies[0] is True and "WRONGTYPE" in str(replies[1]) and replies[2] == 2


def test_scripts():
    c = connect()
    script = c.register_script("return {redis.call('INCRBY', KEYS[1], ARGV[1]), KEYS[1]} -- python")
    assert script(keys=["py:n"], args=[5]) == [5, "py:n"] and script(keys=["py:n"], args=[5]) == [10, "py:n"]
    c.script_flush()
    assert script(keys=["py:n"], args=[5]) == [15, "py:n"]
    c.script_flush()
    with c.pipeline() as pipe:  # asks SCRIPT EXISTS first
        script(keys=["py:n"], args=[1], client=pipe)
        assert pipe.execute() == [[16, "py:n"]]
    fails(redis.exceptions.NoScriptError, c.evalsha, "f" * 40, 0)


def test_lock():
    c = connect()
    lock, other = (c.lock("py:lock", timeout=20, thread_local=False) for _ in range(2))
    assert lock.acquire(blocking=False) and not other.acquire(blocking=False) and other.locked()
    assert lock.extend(30) and 30000 < c.pttl("py:lock") <= 50000
    assert lock.reacquire() and c.pttl("py:lock") <= 20000
    fails(redis.exceptions.LockError, other.release)
    other.local.token = b"not its"
    fails(redis.exceptions.LockNotOwnedError, other.release)
    other.local.token = None
    waiting = threading.Thread(target=lambda: other.acquire(blocking=True, blocking_timeout=20))
    waiting.start()
    lock.release()
    waiting.join()
    assert other.owned()
    other.release()
    brief = c.lock("py:brief lock", timeout=0.05)
    assert brief.acquire()
    eventually("the end of the lock", lambda: not brief.locked())
    fails(redis.exceptions.LockNotOwnedError, brief.release)
    with c.lock("py:lock", timeout=5):
        assert not c.lock("py:lock").acquire(blocking=False)


def test_messages():
    c = connect()
    sub = connect().pubsub()
    heard = []
    sub.subscribe(**{"py:news": lambda m: heard.append((m["type"], m["data"]))})
    sub.psubscribe(**{"py:n?ws": lambda m: heard.append((m["type"], m["data"]))})

    def listen():  # a lost connection comes back with the next get_message, and with it the subscriptions
        try:
            sub.get_message(timeout=0.01)
        except redis.exceptions.ConnectionError:
            return False
        return True

    eventually("the subscriptions", lambda: listen() and c.publish("py:news", "one") == 2)
    eventually("both messages", lambda: listen() and {("message", "one"), ("pmessage", "one")} <= set(heard))
    _, port = sub.connection._sock.getsockname()[:2]
    assert c.client_kill_filter(addr=f"127.0.0.1:{port}") == 1
    eventually("both messages", lambda: listen() and c.publish("py:news", "two") >= 0 and {("message", "two"), ("pmessage", "two")} <= set(heard))
    sub.unsubscribe()
    sub.punsubscribe()
    eventually("nobody listens", lambda: listen() and c.publish("py:news", "three") == 0)
    sub.close()


def test_events():
    c = connect(db=3)
    c.config_set("notify-keyspace-events", "Ex")
    sub = c.pubsub(ignore_subscribe_messages=True)
    sub.subscribe("__keyevent@3__:expired")
    eventually("the subscription", lambda: c.pubsub_numsub("__keyevent@3__:expired")[0][1] == 1)
    c.set("py:gone", "x", px=20)
    heard = []
    eventually("the event", lambda: heard.append(sub.get_message(timeout=0.05)) or any(m and m["data"] == "py:gone" for m in heard))
    sub.close()


# Changes of keys that were read are told to the connection that subscribed for it.
def test_tracking():
    c = connect(single_connection_client=True)
    listener = connect(single_connection_client=True)
    sub = listener.pubsub(ignore_subscribe_messages=True)
    sub.subscribe("__redis__:invalidate")
    eventually("the subscription", lambda: c.pubsub_numsub("__redis__:invalidate")[0][1] == 1)
    port = sub.connection._sock.getsockname()[1]
    where = next(i["id"] for i in c.client_list() if i["addr"].endswith(f":{port}"))
    c.execute_command("CLIENT", "TRACKING", "ON", "REDIRECT", where)
    c.set("py:tracked", 1)
    c.get("py:tracked")
    connect().set("py:tracked", 2)
    heard = []
    eventually("the invalidation", lambda: heard.append(sub.get_message(timeout=0.05)) or any(m and m["data"] == ["py:tracked"] for m in heard))
    sub.close()


def test_blocking():
    c, waiting = connect(), connect()
    got = []
    thread = threading.Thread(target=lambda: got.append(waiting.blpop(["py:a", "py:b"], timeout=20)))
    thread.start()
    eventually("a waiting client", lambda: any(i["cmd"] == "blpop" and "b" in i["flags"] for i in c.client_list()))
    c.rpush("py:b", "x")
    thread.join()
    assert got == [("py:b", "x")]
    assert waiting.blpop("py:a", timeout=0.05) is None
    thread = threading.Thread(target=lambda: got.append(waiting.bzpopmin("py:bz", timeout=20)))
    thread.start()
    c.zadd("py:bz", {"m": 3})
    thread.join()
    assert got[1] == ("py:bz", "m", 3.0)
    c.rpush("py:a", "y")
    assert waiting.blmove("py:a", "py:c", 5) == "y" and c.lrange("py:c", 0, -1) == ["y"]
    # Many workers, each job once.
    done = []

    def work():
        worker = connect()
        while True:
            job = worker.blpop("py:jobs", timeout=20)[1]
            if job == "end":
                return
            done.append(int(job))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for i in range(100):
        c.rpush("py:jobs", i)
    c.rpush("py:jobs", *["end"] * 4)
    for w in workers:
        w.join()
    assert sorted(done) == list(range(100))


def test_streams():
    c = connect()
    c.xgroup_create("py:stream", "g", id="$", mkstream=True)
    fails(redis.exceptions.ResponseError, c.xgroup_create, "py:stream", "g")
    ids = [c.xadd("py:stream", {"n": i}, maxlen=1000, approximate=True) for i in range(10)]
    got = c.xreadgroup("g", "one", {"py:stream": ">"}, count=6)
    assert [i for i, _ in got[0][1]] == ids[:6] and got[0][1][0][1] == {"n": "0"}
    assert c.xack("py:stream", "g", *ids[:2]) == 2 and c.xpending("py:stream", "g")["pending"] == 4
    assert [p["message_id"] for p in c.xpending_range("py:stream", "g", "-", "+", 10)] == ids[2:6]
    assert [i for i, _ in c.xautoclaim("py:stream", "g", "two", 0)[1]] == ids[2:6]
    assert c.xreadgroup("g", "one", {"py:stream": ">"}, block=20)[0][1][-1][0] == ids[9]
    assert c.xreadgroup("g", "one", {"py:stream": ">"}, block=20) == []
    assert c.xinfo_groups("py:stream")[0]["consumers"] == 2
    assert [i for i, _ in c.xrange("py:stream", count=3)] == ids[:3]


def test_iterators():
    c = connect(db=2)
    with c.pipeline() as pipe:
        for i in range(300):
            pipe.set(f"py:i{i}", i).hset("py:ih", f"f{i}", i).sadd("py:is", i).zadd("py:iz", {f"m{i}": i})
        pipe.execute()
    assert len(set(c.scan_iter("py:i*", count=20, _type="string"))) == 300
    assert len(dict(c.hscan_iter("py:ih", count=20))) == 300
    assert len(set(c.sscan_iter("py:is"))) == 300 and len(dict(c.zscan_iter("py:iz"))) == 300
    assert c.dbsize() == 303 and c.info("keyspace")["db2"]["keys"] == 303
    c.flushdb()
    assert c.dbsize() == 0


def test_reconnection():
    c = connect(single_connection_client=True, retry_on_error=[redis.exceptions.ConnectionError])
    first = c.client_id()
    connect().client_kill_filter(_id=first)
    assert c.set("py:again", 1) and c.client_id() != first


def test_monitor():
    c = connect()
    with connect().monitor() as m:
        c.get("py:seen")
        assert any("py:seen" in entry["command"] for entry in m.listen() if entry["command"].startswith("GET"))


def test_asyncio():
    async def main():
        c = redis.asyncio.Redis.from_url(URL, decode_responses=True)
        assert await c.set("py:async", 1) and await asyncio.gather(*(c.incr("py:async") for _ in range(20)))
        assert await c.get("py:async") == "21"
        async with c.pipeline(transaction=True) as pipe:
            assert await pipe.incr("py:async").get("py:async").execute() == [22, "22"]
        async with c.lock("py:async lock", timeout=5):
            assert not await c.lock("py:async lock").acquire(blocking=False)
        async with c.pubsub(ignore_subscribe_messages=True) as sub:
            await sub.subscribe("py:async news")
            while await c.publish("py:async news", "x") == 0:
                await sub.get_message(timeout=0.01)
            while not await sub.get_message(timeout=0.05):
                pass
        popped = asyncio.create_task(c.blpop("py:async list", timeout=20))
        await c.rpush("py:async list", "x")
        assert await popped == ("py:async list", "x")
        await c.close()
        await c.connection_pool.disconnect()

    asyncio.run(asyncio.wait_for(main(), 60))


if __name__ == "__main__":
    failed = False
    for name, test in [entry for entry in globals().items() if entry[0].startswith("test_")]:
        try:
            test()
        except Exception:
            failed = True
            print(f"--- {name}:\n{traceback.format_exc()}")
    sys.exit(failed)
