# Python: Django's ORM and its introspection

SELECT 1

SELECT set_config('TimeZone', 'UTC', false)

SELECT "django_migrations"."id", "django_migrations"."app", "django_migrations"."name", "django_migrations"."applied" FROM "django_migrations"

SELECT c.relname, CASE WHEN c.relispartition THEN 'p' WHEN c.relkind IN ('m', 'v') THEN 'v' ELSE 't' END, obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v') AND n.nspname NOT IN ('pg_catalog', 'pg_toast') AND pg_catalog.pg_table_is_visible(c.oid)

SELECT c.conname, array( SELECT attname FROM unnest(c.conkey) WITH ORDINALITY cols(colid, arridx) JOIN pg_attribute AS ca ON cols.colid = ca.attnum WHERE ca.attrelid = c.conrelid ORDER BY cols.arridx ), c.contype, (SELECT fkc.relname || '.' || fka.attname FROM pg_attribute AS fka JOIN pg_class AS fkc ON fka.attrelid = fkc.oid WHERE fka.attrelid = c.confrelid AND fka.attnum = c.confkey[1]), cl.reloptions FROM pg_constraint AS c JOIN pg_class AS cl ON c.conrelid = cl.oid WHERE cl.relname = 'app' AND pg_catalog.pg_table_is_visible(cl.oid)

SELECT indexname, array_agg(attname ORDER BY arridx), indisunique, indisprimary, array_agg(ordering ORDER BY arridx), amname, exprdef, s2.attoptions FROM ( SELECT c2.relname as indexname, idx.*, attr.attname, am.amname, CASE WHEN idx.indexprs IS NOT NULL THEN pg_get_indexdef(idx.indexrelid) END AS exprdef, CASE am.amname WHEN 'btree' THEN CASE (option & 1) WHEN 1 THEN 'DESC' ELSE 'ASC' END END as ordering, c2.reloptions as attoptions FROM ( SELECT * FROM pg_index i, unnest(i.indkey, i.indoption) WITH ORDINALITY koi(key, option, arridx) ) idx LEFT JOIN pg_class c ON idx.indrelid = c.oid LEFT JOIN pg_class c2 ON idx.indexrelid = c2.oid LEFT JOIN pg_am am ON c2.relam = am.oid LEFT JOIN pg_attribute attr ON attr.attrelid = c.oid AND attr.attnum = idx.key WHERE c.relname = 'app' AND pg_catalog.pg_table_is_visible(c.oid) ) s2 GROUP BY indexname, indisunique, indisprimary, amname, exprdef, attoptions

SELECT "auth_user"."id", "auth_user"."username" FROM "auth_user" WHERE "auth_user"."id" = 1 LIMIT 21

SELECT "auth_user"."id" FROM "auth_user" WHERE UPPER("auth_user"."email"::text) = UPPER('a@b.c') ORDER BY "auth_user"."id" ASC LIMIT 1

SELECT "auth_user"."id" FROM "auth_user" WHERE "auth_user"."username"::text LIKE '%admin\_x%'

SELECT "auth_user"."id" FROM "auth_user" WHERE "auth_user"."username"::text LIKE '%path\\%' AND "auth_user"."is_active"

SELECT (1) AS "a" FROM "auth_user" WHERE "auth_user"."username" = 'x' LIMIT 1

SELECT COUNT(*) AS "__count" FROM "shop_order"

SELECT COUNT(*) FROM (SELECT DISTINCT "shop_order"."customer_id" AS "col1" FROM "shop_order") subquery

SELECT "shop_order"."id", SUM("shop_item"."price") AS "total", COUNT("shop_item"."id") FILTER (WHERE "shop_item"."price" > 5) AS "n" FROM "shop_order" LEFT OUTER JOIN "shop_item" ON ("shop_order"."id" = "shop_item"."order_id") GROUP BY "shop_order"."id" HAVING SUM("shop_item"."price") > 10

SELECT "shop_order"."id", EXTRACT(YEAR FROM "shop_order"."created" AT TIME ZONE 'UTC') AS "y", DATE_TRUNC('month', "shop_order"."created" AT TIME ZONE 'Europe/Berlin') AS "m" FROM "shop_order" WHERE "shop_order"."created" BETWEEN '2024-01-01 00:00:00+00:00'::timestamptz AND '2024-12-31 23:59:59.999999+00:00'::timestamptz

SELECT "shop_order"."id" FROM "shop_order" WHERE EXISTS(SELECT 1 AS "a" FROM "shop_item" U0 WHERE (U0."order_id" = ("shop_order"."id") AND U0."qty" > 3) LIMIT 1)

SELECT "shop_order"."id" FROM "shop_order" WHERE NOT (EXISTS(SELECT 1 AS "a" FROM "shop_item" U1 WHERE U1."order_id" = ("shop_order"."id") LIMIT 1))

SELECT ROW_NUMBER() OVER (PARTITION BY "shop_order"."customer_id" ORDER BY "shop_order"."created" DESC) AS "rn" FROM "shop_order"

SELECT "shop_order"."data" -> 'a', ("shop_order"."data" #>> '{a,b}'), "shop_order"."data" @> '{"x": 1}'::jsonb FROM "shop_order"

(SELECT "a"."id" AS "col1" FROM "a") UNION ALL (SELECT "b"."id" AS "col1" FROM "b") ORDER BY 1 ASC

SELECT "shop_order"."id" FROM "shop_order" WHERE "shop_order"."id" = 5 LIMIT 21 FOR UPDATE

SELECT "shop_order"."id" FROM "shop_order" INNER JOIN "c" ON ("c"."id" = "shop_order"."c_id") FOR NO KEY UPDATE OF "shop_order" SKIP LOCKED

INSERT INTO "shop_order" ("customer_id", "created") VALUES (1, '2024-01-01'::timestamptz) RETURNING "shop_order"."id"

INSERT INTO "shop_order" ("id") VALUES (1), (2) ON CONFLICT DO NOTHING

UPDATE "shop_order" SET "status" = 'paid', "n" = ("shop_order"."n" + 1) WHERE "shop_order"."id" = 5

DELETE FROM "shop_order" WHERE "shop_order"."id" IN (1, 2)

SAVEPOINT "s140_x1"

RELEASE SAVEPOINT "s140_x1"

ROLLBACK TO SAVEPOINT "s140_x1"

SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED

TRUNCATE "shop_order", "shop_item"

SELECT setval(pg_get_serial_sequence('"shop_order"','id'), coalesce(max("id"), 1), max("id") IS NOT null) FROM "shop_order"

ALTER TABLE "shop_order" ADD COLUMN "x" varchar(10) DEFAULT '' NOT NULL

CREATE INDEX "i_like" ON "shop_order" ("x" varchar_pattern_ops)

DECLARE "_django_curs_1_sync_1" NO SCROLL CURSOR WITH HOLD FOR SELECT "a"."id" FROM "a"

SELECT COALESCE(ts_rank(to_tsvector('english'::regconfig, COALESCE("a"."t", '')), plainto_tsquery('x')), 0.0) AS "rank", SIMILARITY("a"."t", 'x') AS "sim" FROM "a"

SELECT STRING_AGG("a"."t", ', ' ORDER BY "a"."t"), ARRAY_AGG("a"."id"), BOOL_AND("a"."ok") FROM "a"

EXPLAIN SELECT "a"."id" FROM "a"

EXPLAIN (ANALYZE true, FORMAT json) SELECT "a"."id" FROM "a"

SELECT pg_sleep(0)
