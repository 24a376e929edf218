# psycopg 3 against DATABASE_URL. What it prints must not depend on what is behind that URL.
# PRIMARY_URL is the same database without a pooler; NOTIFY_URL is where another client notifies from.
import datetime
import decimal
import os
import select
import threading

import psycopg
from psycopg import sql

URL, PRIMARY, NOTIFY = (os.environ[name] for name in ("DATABASE_URL", "PRIMARY_URL", "NOTIFY_URL"))


def connect(**options):
    return psycopg.connect(URL, autocommit=True, **options)


def rows(c, *query, **options):
    return c.execute(*query, **options).fetchall()


def attempt(f, *args, **options):
    try:
        f(*args, **options)
        return "no error"
    except psycopg.Error as e:
        return f"{e.sqlstate} {e.diag.message_primary}"


def transactions(c):
    c.execute("create table tx (id int primary key)")
    with c.transaction():
        c.execute("insert into tx values (1)")
    with c.transaction():
        c.execute("insert into tx values (2)")
        raise psycopg.Rollback
    with c.transaction():
        c.execute("insert into tx values (3)")
        try:
            with c.transaction():  # a savepoint
                c.execute("insert into tx values (4), (1)")
        except psycopg.errors.UniqueViolation as e:
            print(e.diag.constraint_name, e.diag.message_detail)
    c.execute("begin")
    print(attempt(c.execute, "insert into tx values (1)"))
    print(attempt(c.execute, "select 1"), c.info.transaction_status.name)
    c.execute("rollback")
    print(rows(c, "select * from tx order by 1"), c.info.transaction_status.name)
    c.execute("set default_transaction_isolation to serializable")
    with c.transaction():
        print(rows(c, "show transaction_isolation"))
    c.execute("reset default_transaction_isolation")


def prepared(c):
    for turn in range(3):
        for n in range(50):  # more than the pooler keeps on a server, when the test says so
            with c.transaction():
                assert rows(c, f"select %s::int + {n}", [turn], prepare=True) == [(turn + n,)]
    c.execute("create table plan (a int)")
    c.execute("insert into plan values (1)")
    print(rows(c, "select * from plan", prepare=True), rows(c, "select * from plan", prepare=True))
    c.execute("prepare by_hand (int) as select $1 * 2")
    with c.transaction():
        print(rows(c, "execute by_hand (4)"))
    c.execute("deallocate all")
    print(attempt(c.execute, "execute by_hand (4)"))


def pipelines(c):
    c.execute("create table pipe (id int primary key)")
    with c.pipeline(), c.cursor() as cur:
        for n in range(100):
            c.execute("insert into pipe values (%s)", [n])
        cur.execute("select count(*) from pipe")
        print(cur.fetchone())
    try:
        with c.pipeline() as p:
            good = c.execute("select 'before'")
            p.sync()
            c.execute("select 1 / (id - 7) from pipe")
            c.execute("insert into pipe values (1000)")  # not run: the pipeline is aborted
    except psycopg.Error as e:
        print(good.fetchall(), e.sqlstate)
    print(rows(c, "select count(*) from pipe"))
    cur = c.cursor()
    cur.executemany("insert into pipe values (%s) returning id", [(n,) for n in range(200, 205)], returning=True)
    print(cur.fetchall(), cur.nextset(), cur.fetchall())


def copies(c):
    c.execute("create table copied (id int, v text, at timestamptz)")
    moment = datetime.datetime(2001, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    with c.cursor().copy("copy copied from stdin") as copy:
        for n in range(20000):
            copy.write_row((n, "x" * (n % 50) or None, moment))
    with c.cursor().copy("copy copied to stdout (format binary)") as copy:
        copy.set_types(["int4", "text", "timestamptz"])
        got = list(copy.rows())
    print(len(got), sum(r[0] for r in got), got[7], got[50])

    def broken(line):
        with c.cursor().copy("copy copied from stdin") as copy:
            copy.write("1\tgood\t2001-01-01\n" + line)

    print(attempt(broken, "not a number\n"))

    def given_up():
        with c.cursor().copy("copy copied from stdin") as copy:
            copy.write("1\tgood\t2001-01-01\n")
            raise KeyError("mind changed")

    print(attempt(given_up))
    with c.transaction():
        with c.cursor().copy("copy (select id from copied order by id limit 3) to stdout") as copy:
            print([bytes(part) for part in copy])
    print(rows(c, "select count(*) from copied"))


def notifications(c):
    c.execute("listen news")
    with psycopg.connect(NOTIFY, autocommit=True) as other:
        other.execute("notify news, 'from another'")
        with other.transaction():
            other.execute("select pg_notify('news', 'in a transaction')")
    heard = []
    c.add_notify_handler(lambda n: heard.append((n.channel, n.payload)))
    c.execute("notify news, 'to myself'")
    while len(heard) < 3:
        select.select([c], [], [], 10)
        c.pgconn.consume_input()
        while n := c.pgconn.notifies():
            heard.append((n.relname.decode(), n.extra.decode()))
    print(heard, rows(c, "select * from pg_listening_channels()"))
    c.execute("unlisten *")
    print(rows(c, "select * from pg_listening_channels()"))


def cancels(c):
    def when_it_runs():
        with psycopg.connect(PRIMARY, autocommit=True) as watcher:
            while not rows(watcher, "select from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'"
                                    " and datname = current_database()"):
                pass
        c.cancel()

    canceller = threading.Thread(target=when_it_runs)
    c.execute("begin")  # on the primary, where the watcher looks
    canceller.start()
    print(attempt(c.execute, "select pg_sleep(60)"))
    canceller.join()
    c.execute("rollback")
    c.execute("set statement_timeout to '50ms'")
    print(attempt(c.execute, "select pg_sleep(60)"))
    with c.transaction():
        c.execute("set local statement_timeout to 0")
        print(rows(c, "select pg_sleep(0.1)"))
    print(rows(c, "show statement_timeout"))
    c.execute("reset statement_timeout")
    print(rows(c, "select 'goes on'"))


def settings(c):
    print(rows(c, "show datestyle"))
    with connect(options="-c datestyle=German -c search_path=nowhere", application_name="another") as other:
        c.execute("set timezone to 'Asia/Tokyo'")
        for _ in range(3):
            for one in c, other:
                print(rows(one, "select current_setting('timezone'), current_setting('datestyle'), current_setting('search_path'),"
                                " current_setting('application_name'), '2001-02-03'::date::text"))
            print(c.info.timezone, other.info.timezone)
        c.execute("reset timezone")
        other.execute("discard all")
        print(rows(c, "show timezone"), rows(other, "show timezone"), rows(other, "show datestyle"))


def settings_in_transactions(c):
    with c.transaction():
        c.execute("set timezone to 'Europe/Berlin'")
        c.execute("set local work_mem to '1MB'")
        print(rows(c, "select current_setting('timezone'), current_setting('work_mem')"))
    print(rows(c, "select current_setting('timezone'), current_setting('work_mem')"), c.info.timezone)
    with c.transaction():
        c.execute("set timezone to 'Asia/Tokyo'")
        raise psycopg.Rollback
    print(rows(c, "show timezone"), c.info.timezone)
    c.execute("select set_config('timezone', 'Europe/Paris', false), set_config('search_path', '', false)")
    c.execute("do $$begin set datestyle to 'SQL'; end$$")
    print(rows(c, "select current_setting('timezone'), current_setting('search_path'), current_setting('datestyle')"), c.info.timezone)


def temporary(c):
    c.execute("create temp table scratch (n int)")
    c.execute("insert into scratch values (1), (2)")
    print(rows(c, "select sum(n) from scratch"), rows(c, "select pg_advisory_lock(42)"))
    with c.transaction():
        c.execute("create temp table passing on commit drop as select 1 as n")
        print(rows(c, "select * from passing"))
    print(attempt(c.execute, "select * from passing"))
    print(rows(c, "select pg_advisory_unlock(42), pg_advisory_unlock(42)"), rows(c, "select sum(n) from scratch"))


def nothing_leaks(c):
    print(rows(c, "select to_regclass('pg_temp.scratch'), (select count(*) from pg_prepared_statements where name = 'by_hand')"))
    print(rows(c, "select current_setting('timezone'), current_setting('search_path'), current_setting('datestyle')"), c.info.timezone)


def large(c):
    total = 0
    for row in c.cursor().stream("select n, repeat('x', n % 300) from generate_series(1, 50000) n"):
        total += row[0] + len(row[1])
    print(total)
    with c.transaction():
        with c.cursor(name="portal") as cur:
            cur.itersize = 1000
            cur.execute("select n from generate_series(1, 10000) n")
            print(sum(r[0] for r in cur))
            cur.scroll(0, mode="absolute")
            print(cur.fetchmany(2))
    value = "y" * 5_000_000
    print(rows(c, "select %s || 'z'", [value]) == [(value + "z",)])


def binary(c):
    values = (1, -(2**40), 1.5, decimal.Decimal("12.340"), True, "é\t\\", b"\x00\xff", datetime.date(2001, 2, 3), None, [1, None, 3])
    query = "select %b::int, %b::bigint, %b::float8, %b::numeric, %b::bool, %b::text, %b::bytea, %b::date, %b::text, %b::int[]"
    cur = c.cursor(binary=True).execute(query, values)
    print(cur.fetchone() == values, [d.type_code for d in cur.description])


def errors(c):
    c.add_notice_handler(lambda d: print("notice:", d.severity, d.sqlstate, d.message_primary, d.message_hint))
    c.execute("do $$begin raise warning 'careful' using hint = 'look'; end$$")
    c.execute("create table strict (id int check (id > 0), v text not null)")
    for query in ("selec", "select nothing", "select 1/0", "insert into strict values (0, '')", "insert into strict values (1)",
                  "select * from missing", "select 'x'::int", "begin; select 1/0; commit"):
        print(attempt(c.execute, query), c.info.transaction_status.name)
        c.execute("rollback") if c.info.transaction_status.name == "INERROR" else None


def two_clients(c):
    c.execute("create table shared (id int primary key, v text)")
    with connect() as other:
        for one, name in (c, "first"), (other, "second"):
            one.execute(sql.SQL("set application_name to {}").format("app of the " + name))
            one.prepare_threshold = 0  # both have their statements _pg3_0, _pg3_1, ...
            rows(one, f"select '{name}' || %s", ["'s own"])
        for n in range(10):
            print(rows(c, "select 'first' || %s", ["'s own"]), rows(other, "select 'second' || %s", ["'s own"]))
            for one in c, other:
                with one.transaction():
                    one.execute("insert into shared values (%s, current_setting('application_name'))", [2 * n + (one is other)])
        with other.transaction():
            print(rows(other, "select v, count(*), sum(id) from shared group by v order by v"))


for part in (transactions, prepared, pipelines, copies, notifications, cancels, settings, settings_in_transactions, temporary, nothing_leaks,
             large, binary, errors, two_clients):
    print("--", part.__name__)
    with connect() as c:
        part(c)
