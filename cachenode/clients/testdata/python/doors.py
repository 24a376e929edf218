# redis-py through TLS, and through a Unix socket. SERVER_CA signs the server's certificate.
import os

import redis

URL, CA, SOCKET = (os.environ[name] for name in ("SERVER_URL", "SERVER_CA", "SERVER_SOCKET"))
TEXT = b"x" * (1 << 20)

for name, c in {"tls": redis.Redis.from_url(URL, ssl_ca_certs=CA), "socket": redis.Redis(unix_socket_path=SOCKET)}.items():
    key = "py:" + name
    assert c.set(key, TEXT) and c.get(key) == TEXT
    with c.pipeline() as pipe:
        for i in range(500):
            pipe.incr(key + " n")
        assert pipe.execute()[-1] == 500
    with c.pubsub(ignore_subscribe_messages=True) as sub:
        sub.subscribe(key)
        while c.publish(key, TEXT) == 0:
            pass
        message = None
        while message is None:
            message = sub.get_message(timeout=1)
        assert message["data"] == TEXT

try:
    redis.Redis.from_url(URL).ping()
    raise AssertionError("a client that does not trust the certificate is served")
except redis.exceptions.ConnectionError as e:
    assert "certificate" in str(e).lower(), e
