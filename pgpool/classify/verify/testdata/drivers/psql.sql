# psql, pg_dump, pgbench, monitoring, consoles

SELECT n.nspname as "Schema", c.relname as "Name", CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' END as "Type", pg_catalog.pg_get_userbyid(c.relowner) as "Owner" FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam WHERE c.relkind IN ('r','p','v','m','S','f','') AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2;

SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname OPERATOR(pg_catalog.~) '^(orders)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3;

SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull, (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation, a.attidentity, a.attgenerated FROM pg_catalog.pg_attribute a WHERE a.attrelid = '16400' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;

SELECT d.datname as "Name", pg_catalog.pg_get_userbyid(d.datdba) as "Owner", pg_catalog.pg_encoding_to_char(d.encoding) as "Encoding", pg_catalog.array_to_string(d.datacl, E'\n') AS "Access privileges" FROM pg_catalog.pg_database d ORDER BY 1;

BEGIN

SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

SELECT pg_catalog.set_config('search_path', '', false);

SET DATESTYLE = ISO

SET INTERVALSTYLE = POSTGRES

SET statement_timeout = 0

COPY public.orders (id, total) TO stdout;

COPY public.orders (id, total) FROM stdin;

SELECT abalance FROM pgbench_accounts WHERE aid = 1;

UPDATE pgbench_accounts SET abalance = abalance + 5 WHERE aid = 1;

INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 2, 3, 4, CURRENT_TIMESTAMP);

END;

BEGIN; SELECT 1; COMMIT;

select count(*) from pgbench_branches

vacuum analyze pgbench_branches

truncate pgbench_history

SELECT * FROM pg_stat_activity WHERE state <> 'idle'

SELECT * FROM pg_stat_replication

SELECT pid, query FROM pg_catalog.pg_stat_activity WHERE wait_event IS NOT NULL

SELECT name, setting FROM pg_settings

SELECT pg_size_pretty(pg_database_size(current_database()))

SELECT relname, pg_total_relation_size(oid) FROM pg_class ORDER BY 2 DESC LIMIT 5

SELECT pg_terminate_backend(1234)

SELECT pg_stat_reset()

SELECT pg_current_wal_lsn()

SELECT pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp()

SELECT pg_reload_conf()

SELECT pg_export_snapshot()

SELECT txid_current()

SELECT lo_get(1), lo_create(0), lo_import('/x')

SELECT * FROM pg_stats WHERE tablename = 'orders'

SELECT relname, relpages, reltuples FROM pg_class WHERE relkind = 'r'

EXPLAIN (ANALYZE, BUFFERS) UPDATE orders SET total = 0

EXPLAIN ANALYZE SELECT count(*) FROM orders

EXPLAIN UPDATE orders SET total = 0

CREATE TEMP TABLE t1 AS SELECT * FROM orders

SELECT * INTO TEMP t2 FROM orders

CREATE UNLOGGED TABLE t3 (a int)

REFRESH MATERIALIZED VIEW CONCURRENTLY m

DO $$ BEGIN PERFORM nextval('s'); END $$

CALL refresh_all()

GRANT SELECT ON orders TO bob

SET ROLE bob

RESET ROLE

SET SESSION AUTHORIZATION DEFAULT

RESET ALL

SELECT current_user, session_user, user, current_role, current_catalog, current_schema

TABLE orders

VALUES (1, 'a'), (2, 'b')

SELECT date '2024-01-01' + interval '1 day', timestamp with time zone '2024-01-01 00:00:00+00', time '10:00', interval '1' day, interval(3) '1.5 s'

SELECT (ARRAY[1, 2])[1], (ARRAY[[1], [2]])[1:2][1], ROW(1, 'a'), (ROW(1, 2)).f1, $$it's$$, U&'d\0061t', N'x', B'101', X'1F', 1e3, .5

SELECT sum(total) FROM orders GROUP BY GROUPING SETS ((customer_id), (status), ()), CUBE (a, b)

SELECT a FROM t WHERE a LIKE ('%x') OR a NOT ILIKE ('%y') OR a SIMILAR TO '(a|b)%' OR a ~* 'z' OR a IS NULL

SELECT left('abc', 1), right('abc', 1), replace('a', 'b', 'c'), "left"('abc', 2)

SELECT xmlelement(name a, xmlattributes(1 as b), 'c'), xpath('/a', '<a/>'::xml)

SELECT * FROM ROWS FROM (generate_series(1, 3), unnest(ARRAY['a', 'b'])) AS t(a, b)

SELECT * FROM json_to_recordset('[{"a":1}]') AS x(a int, b varchar(10))

SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b
