# psycopg2 against DATABASE_URL. What it prints must not depend on what is behind that URL.
# PRIMARY_URL is the same database without a pooler; NOTIFY_URL is where another client notifies from.
import io
import os
import select
import threading

import psycopg2
from psycopg2.extras import execute_values
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, ISOLATION_LEVEL_SERIALIZABLE

URL, PRIMARY, NOTIFY = (os.environ[name] for name in ("DATABASE_URL", "PRIMARY_URL", "NOTIFY_URL"))


def connect(url=URL, autocommit=True, **options):
    c = psycopg2.connect(url, **options)
    c.autocommit = autocommit
    return c


def run(c, *query):
    with c.cursor() as cur:
        cur.execute(*query)
        return cur.fetchall() if cur.description else cur.rowcount


def attempt(f, *args):
    try:
        f(*args)
        return "no error"
    except psycopg2.Error as e:
        return f"{e.pgcode} {e.diag.message_primary}"


def transactions(c):
    run(c, "create table tx (id int primary key)")
    t = connect(autocommit=False)
    run(t, "insert into tx values (1)")
    t.commit()
    run(t, "insert into tx values (2)")
    t.rollback()
    print(attempt(run, t, "insert into tx values (1)"), attempt(run, t, "select 1"))
    t.rollback()
    print(run(t, "select * from tx"))
    t.commit()
    t.set_session(isolation_level=ISOLATION_LEVEL_SERIALIZABLE, readonly=True)
    print(run(t, "select current_setting('transaction_isolation'), current_setting('transaction_read_only')"))
    print(attempt(run, t, "insert into tx values (3)"))
    t.close()


def prepared(c):
    for turn in range(2):
        for n in range(50):
            if turn == 0:
                run(c, f"prepare p{n} (int) as select $1 + {n}")
        assert all(run(c, f"execute p{n} (%s)", [turn]) == [(turn + n,)] for n in range(50))
    run(c, "deallocate p7")
    print(attempt(run, c, "execute p7 (1)"), run(c, "execute p8 (1)"))
    print(run(c, "select count(*) from pg_prepared_statements where name = 'p8'"))
    run(c, "discard all")
    print(attempt(run, c, "execute p8 (1)"))


def batches(c):
    run(c, "create table batch (id int primary key, v text)")
    with c.cursor() as cur:
        print(len(execute_values(cur, "insert into batch values %s returning id", [(n, "v") for n in range(500)], page_size=50, fetch=True)))
    print(run(c, "insert into batch values (1000, 'a'); insert into batch values (1001, 'b'); select count(*) from batch"))
    print(attempt(run, c, "insert into batch values (2000, 'a'); insert into batch values (1, 'b')"))
    print(run(c, "begin; delete from batch where id > 10; commit; begin; delete from batch; rollback; select count(*) from batch"))


def copies(c):
    run(c, "create table copied (id int, v text)")
    with c.cursor() as cur:
        cur.copy_expert("copy copied from stdin", io.StringIO("".join(f"{n}\tvalue {n}\n" for n in range(20000))))
        print(cur.rowcount)
        out = io.StringIO()
        cur.copy_expert("copy (select * from copied order by id) to stdout csv header", out)
        lines = out.getvalue().splitlines()
        print(len(lines), lines[0], lines[1], lines[-1])
        print(attempt(cur.copy_expert, "copy copied from stdin", io.StringIO("1\tx\nbad\ty\n")))
    print(run(c, "select count(*) from copied"))


def large_objects(c):
    t = connect(autocommit=False)
    lo = t.lobject(0, "wb")
    lo.write(b"0123456789" * 100_000)
    oid = lo.oid
    t.commit()
    lo = t.lobject(oid, "rb")
    lo.seek(500_005)
    print(lo.read(10))
    t.commit()
    t.lobject(oid).unlink()
    t.commit()
    t.close()


def notifications(c):
    run(c, "listen news")
    other = connect(NOTIFY)
    run(other, "notify news, 'from another'")
    other.close()
    run(c, "notify news, 'to myself'")
    while len(c.notifies) < 2:
        select.select([c], [], [], 10)
        c.poll()
    print([(n.channel, n.payload) for n in c.notifies], run(c, "select * from pg_listening_channels()"))
    run(c, "unlisten news")
    print(run(c, "select * from pg_listening_channels()"))


def cancels(c):
    def when_it_runs():
        watcher = connect(PRIMARY)
        while not run(watcher, "select from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'"
                               " and datname = current_database()"):
            pass
        watcher.close()
        c.cancel()

    canceller = threading.Thread(target=when_it_runs)
    run(c, "begin")  # on the primary, where the watcher looks
    canceller.start()
    print(attempt(run, c, "select pg_sleep(60)"))
    canceller.join()
    run(c, "rollback")
    run(c, "set statement_timeout to '50ms'")
    print(attempt(run, c, "select pg_sleep(60)"), run(c, "show statement_timeout"))
    run(c, "reset statement_timeout")


def start_options(c):
    c.close()
    c = connect(options="-c datestyle=German -c timezone=Asia/Tokyo")  # the driver sets ISO, which leaves the order of German
    print(c.get_parameter_status("DateStyle"), run(c, "show datestyle"), run(c, "show timezone"))
    c.close()


def settings(c):
    other = connect(options="-c datestyle=ISO,YMD -c work_mem=1MB")
    run(c, "set timezone to 'Asia/Tokyo'")
    run(c, "set search_path to pg_catalog, \"odd, name\"")
    for _ in range(3):
        for one in c, other:
            print(run(one, "select current_setting('timezone'), current_setting('datestyle'), current_setting('search_path'), current_setting('work_mem')"))
    print(c.get_parameter_status("TimeZone"), other.get_parameter_status("TimeZone"))
    c.set_client_encoding("LATIN1")
    print(run(c, "select 'é', octet_length('é')"), run(other, "show client_encoding"))
    c.set_client_encoding("UTF8")
    run(c, "reset timezone")
    run(c, "reset search_path")
    print(run(c, "show timezone"), run(c, "show search_path"), run(other, "show work_mem"))
    other.close()
    run(c, "begin; set timezone to 'Europe/Berlin'; rollback")
    run(c, "set timezone to 'Asia/Tokyo'; select set_config('search_path', '', false)")
    print(run(c, "show timezone"), run(c, "show search_path"))
    c.reset()
    print(run(c, "show timezone"), run(c, "show search_path"))


def large(c):
    print(sum(n + len(v) for n, v in run(c, "select n, repeat('x', n % 300) from generate_series(1, 50000) n")))
    t = connect(autocommit=False)
    with t.cursor("portal", scrollable=True) as cur:
        cur.itersize = 1000
        cur.execute("select n from generate_series(1, 10000) n")
        print(sum(n for n, in cur))
        cur.scroll(5, mode="absolute")
        print(cur.fetchone())
    t.close()
    with c.cursor("held", withhold=True) as cur:  # outlives its transaction
        cur.execute("select n from generate_series(1, 100) n")
        print(cur.fetchmany(2), run(c, "select 1"), cur.fetchmany(2))
    value = "y" * 5_000_000
    print(run(c, "select %s || 'z'", [value]) == [(value + "z",)])


def errors(c):
    run(c, "do $$begin raise notice 'hello'; end$$")
    print(c.notices[-1].strip())
    for query in ("selec", "select nothing", "select 1/0", "select * from missing", "select 'x'::int", "lock table tx"):
        print(attempt(run, c, query))


def two_phase(c):
    t = connect(autocommit=False)
    t.tpc_begin(t.xid(1, "gtrid", "bqual"))
    run(t, "insert into tx values (100)")
    try:
        t.tpc_prepare()
        t.tpc_commit()
        print("committed")
    except psycopg2.Error as e:
        print(e.pgcode)  # max_prepared_transactions is 0 by default
        t.close()


def two_clients(c):
    other = connect()
    run(c, "set application_name to 'the first'")
    run(other, "set application_name to 'the second'")
    run(c, "create table shared (id serial, v text default current_setting('application_name'))")
    for _ in range(10):
        for one in c, other:
            run(one, "begin; insert into shared default values; commit")
            run(one, "insert into shared default values")
    print(run(c, "begin; select v, count(*), sum(id) from shared group by v order by v"))
    run(c, "rollback")
    other.close()


def temporary(c):
    c.close()
    t = connect()
    run(t, "create temp table scratch (n int)")
    run(t, "insert into scratch values (1), (2)")
    print(run(t, "select sum(n) from scratch"))
    run(t, "begin; create temp table passing (n int) on commit drop; commit")
    run(t, "select pg_advisory_lock(42)")
    print(run(t, "select pg_advisory_unlock(42)"), run(t, "select pg_backend_pid() = pg_backend_pid()"))
    t.close()
    c = connect()
    print(run(c, "select to_regclass('pg_temp.scratch')"), run(c, "select count(*) from pg_locks where locktype = 'advisory' and objid = 42"))


for part in (transactions, prepared, batches, copies, large_objects, notifications, cancels, start_options, settings, large, errors, two_phase,
             temporary, two_clients):
    print("--", part.__name__)
    c = connect()
    part(c)
    c.close()
