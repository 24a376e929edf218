# Go: GORM, ent, Bun

SELECT * FROM "users" WHERE id = $1 AND "users"."deleted_at" IS NULL ORDER BY "users"."id" LIMIT $2

SELECT count(*) FROM "users" WHERE name LIKE '%x%'

SELECT "users"."id","users"."name","Company"."id" AS "Company__id","Company"."name" AS "Company__name" FROM "users" LEFT JOIN "companies" "Company" ON "users"."company_id" = "Company"."id"

SELECT * FROM "orders" WHERE "orders"."user_id" IN (1,2,3)

INSERT INTO "users" ("created_at","updated_at","deleted_at","name") VALUES ('2024-01-01 00:00:00',NULL,NULL,'a') RETURNING "id"

INSERT INTO "users" ("name") VALUES ('a') ON CONFLICT ("id") DO UPDATE SET "name"="excluded"."name" RETURNING "id"

UPDATE "users" SET "deleted_at"='2024-01-01 00:00:00' WHERE "users"."id" = 5 AND "users"."deleted_at" IS NULL

DELETE FROM "users" WHERE "users"."id" = 5

SELECT * FROM "users" WHERE "users"."id" = 5 FOR UPDATE

SELECT * FROM "users" FOR SHARE OF "users"

SELECT CURRENT_DATABASE()

SELECT count(*) FROM information_schema.tables WHERE table_schema = CURRENT_SCHEMA() AND table_name = 'users' AND table_type = 'BASE TABLE'

SELECT c.column_name, c.is_nullable = 'YES', c.udt_name, c.character_maximum_length, c.numeric_precision, c.numeric_precision_radix, c.numeric_scale, c.datetime_precision, 8 * typlen, c.column_default, pd.description, c.identity_increment FROM information_schema.columns AS c JOIN pg_type AS pgt ON c.udt_name = pgt.typname LEFT JOIN pg_catalog.pg_description as pd ON pd.objsubid = c.ordinal_position AND pd.objoid = (SELECT oid FROM pg_catalog.pg_class WHERE relname = c.table_name AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = c.table_schema)) where table_catalog = 'db' AND table_schema = CURRENT_SCHEMA() AND table_name = 'users'

SELECT description FROM pg_catalog.pg_description WHERE objsubid = (SELECT ordinal_position FROM information_schema.columns WHERE table_schema = CURRENT_SCHEMA() AND table_name = 'users' AND column_name = 'id') AND objoid = (SELECT oid FROM pg_catalog.pg_class WHERE relname = 'users')

SELECT setting FROM pg_settings WHERE name IN ('lc_collate', 'lc_ctype', 'server_version_num', 'crdb_version')

SAVEPOINT sp0xc000

ROLLBACK TO SAVEPOINT sp0xc000

SELECT "t1"."id", "t1"."name" FROM "users" AS "t1" JOIN (SELECT "user_groups"."user_id" FROM "user_groups" JOIN "groups" AS "t2" ON "user_groups"."group_id" = "t2"."id" WHERE "t2"."name" = $1) AS "t1_x" ON "t1"."id" = "t1_x"."user_id"

SELECT COUNT(DISTINCT "users"."id") FROM "users" WHERE "users"."age" > $1

WITH "_data" ("id", "name") AS (VALUES (1::BIGINT, 'a'::VARCHAR), (2::BIGINT, 'b'::VARCHAR)) UPDATE "books" AS "b" SET "name" = _data."name" FROM _data WHERE ("b"."id" = _data."id")

SELECT "b"."id" FROM "books" AS "b" WHERE ("b"."id" IN (1, 2)) AND ("b"."title" = 'it''s') ORDER BY "id" ASC LIMIT 10

with src as (select "a"."id" from "a"), dst as materialized (select id from b) select (select count(*) from src), (select count(*) from dst)
