# Node.js: Prisma, Sequelize, TypeORM, Knex, Drizzle

SELECT 1

SELECT "public"."User"."id", "public"."User"."email", "public"."User"."role"::text FROM "public"."User" WHERE ("public"."User"."id" = $1 AND 1=1) LIMIT $2 OFFSET $3

SELECT "t1"."id", "User_posts"."__prisma_data__" AS "posts" FROM "public"."User" AS "t1" LEFT JOIN LATERAL (SELECT COALESCE(JSONB_AGG("__prisma_data__"), '[]') AS "__prisma_data__" FROM (SELECT "t3"."__prisma_data__" FROM (SELECT JSONB_BUILD_OBJECT('id', "t2"."id", 'title', "t2"."title") AS "__prisma_data__" FROM (SELECT "t1".* FROM "public"."Post" AS "t1" WHERE "t1"."authorId" = "t1"."id" /* root select */) AS "t2" /* inner select */) AS "t3" /* middle select */) AS "t4" /* outer select */) AS "User_posts" ON true

SELECT COUNT(*) AS "_count$_all" FROM (SELECT "public"."User"."id" FROM "public"."User" WHERE 1=1 OFFSET $1) AS "sub"

SELECT "public"."Post"."id" FROM "public"."Post" WHERE ("public"."Post"."id") IN (SELECT "t1"."A" FROM "public"."_PostToTag" AS "t1" INNER JOIN "public"."Tag" AS "j1" ON ("j1"."id") = ("t1"."B") WHERE ("j1"."name" = $1 AND "t1"."A" IS NOT NULL))

SELECT "aggr_selection_0_Order"."n" FROM (SELECT SUM("public"."Order"."total") AS "n" FROM "public"."Order" GROUP BY "public"."Order"."status" HAVING SUM("public"."Order"."total") > $1) AS "aggr_selection_0_Order"

INSERT INTO "public"."User" ("email","name") VALUES ($1,$2) RETURNING "public"."User"."id", "public"."User"."email"

UPDATE "public"."User" SET "name" = $1 WHERE ("public"."User"."id" = $2 AND 1=1) RETURNING "public"."User"."id"

DELETE FROM "public"."User" WHERE ("public"."User"."id" = $1 AND 1=1)

BEGIN

BEGIN ISOLATION LEVEL SERIALIZABLE

SET TRANSACTION ISOLATION LEVEL READ COMMITTED

COMMIT

ROLLBACK

DEALLOCATE ALL

SELECT EXISTS( SELECT 1 FROM pg_namespace WHERE nspname = $1 ), version(), current_setting('server_version_num')::integer as numeric_version

SELECT pg_advisory_lock(72707369)

SELECT "migration_name", "finished_at" FROM "_prisma_migrations" ORDER BY "started_at" ASC

SELECT tbl.relname AS table_name, namespace.nspname as namespace, (tbl.relhassubclass and tbl.relkind = 'p') as is_partition, tbl.relrowsecurity as has_row_level_security, CASE WHEN tbl.relkind = 'v' THEN pg_get_viewdef(tbl.oid) END, description.description as description FROM pg_class AS tbl INNER JOIN pg_namespace AS namespace ON namespace.oid = tbl.relnamespace LEFT JOIN pg_description description ON description.objoid = tbl.oid AND description.objsubid = 0 WHERE tbl.relkind IN ('r', 'p') AND namespace.nspname = ANY ( $1 ) ORDER BY namespace, table_name

SELECT oid.namespace, info.table_name, info.column_name, format_type(att.atttypid, att.atttypmod) as formatted_type, info.numeric_precision, pg_get_expr(attdef.adbin, attdef.adrelid) AS column_default, info.is_nullable FROM information_schema.columns info JOIN pg_attribute att on att.attname = info.column_name JOIN (SELECT pg_class.oid, relname, pg_namespace.nspname as namespace FROM pg_class JOIN pg_namespace on pg_namespace.oid = pg_class.relnamespace) as oid on oid.oid = att.attrelid LEFT OUTER JOIN pg_attrdef attdef ON attdef.adrelid = att.attrelid WHERE info.table_schema = ANY ( $1 ) ORDER BY namespace, table_name, ordinal_position

SELECT 1+1 AS result

SHOW SERVER_VERSION

SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ

START TRANSACTION;

START TRANSACTION READ ONLY;

COMMIT;

ROLLBACK;

SAVEPOINT "5f1c-sp-0";

ROLLBACK TO SAVEPOINT "5f1c-sp-0";

SELECT "id", "firstName", "createdAt" FROM "Users" AS "User" WHERE "User"."id" = 5 LIMIT 1;

SELECT count(*) AS "count" FROM "Users" AS "User" WHERE ("User"."deletedAt" IS NULL AND ("User"."name" ILIKE '%a%'));

SELECT "User"."id", "Posts"."id" AS "Posts.id", "Posts"."title" AS "Posts.title" FROM "Users" AS "User" LEFT OUTER JOIN "Posts" AS "Posts" ON "User"."id" = "Posts"."userId" WHERE "User"."meta"#>>'{a,b}' = 'x' ORDER BY "User"."id" DESC;

INSERT INTO "Users" ("id","name") VALUES (DEFAULT,$1) RETURNING "id","name";

UPDATE "Users" SET "name"=$1,"updatedAt"=$2 WHERE "id" = $3 RETURNING *

CREATE TABLE IF NOT EXISTS "Users" ("id" SERIAL , "name" VARCHAR(255), PRIMARY KEY ("id"));

SELECT i.relname AS name, ix.indisprimary AS primary, ix.indisunique AS unique, ix.indkey AS indkey, array_agg(a.attnum) as column_indexes, array_agg(a.attname) AS column_names, pg_get_indexdef(ix.indexrelid) AS definition FROM pg_class t, pg_class i, pg_index ix, pg_attribute a WHERE t.oid = ix.indrelid AND i.oid = ix.indexrelid AND a.attrelid = t.oid AND t.relkind = 'r' and t.relname = 'Users' GROUP BY i.relname, ix.indexrelid, ix.indisprimary, ix.indisunique, ix.indkey ORDER BY i.relname;

SELECT DISTINCT tc.constraint_name as constraint_name, kcu.column_name, ccu.table_name AS referenced_table_name FROM information_schema.table_constraints AS tc JOIN information_schema.key_column_usage AS kcu ON tc.constraint_name = kcu.constraint_name JOIN information_schema.constraint_column_usage AS ccu ON ccu.constraint_name = tc.constraint_name WHERE constraint_type = 'FOREIGN KEY' AND tc.table_name = 'Users'

SELECT * FROM current_schema()

SELECT * FROM current_database()

SELECT version()

SELECT "User"."id" AS "User_id", "User"."name" AS "User_name" FROM "user" "User" WHERE "User"."id" IN ($1, $2) ORDER BY "User_id" ASC LIMIT 10

SELECT DISTINCT "distinctAlias"."User_id" AS "ids_User_id" FROM (SELECT "User"."id" AS "User_id" FROM "user" "User") "distinctAlias" ORDER BY "User_id" ASC LIMIT 1

SELECT uuid_generate_v4() AS id

SELECT gen_random_uuid() AS id

SELECT TRUE FROM information_schema.columns WHERE table_name = 'pg_class' and column_name = 'relispartition'

SELECT columns.*, pg_catalog.col_description(('"' || table_catalog || '"."' || table_schema || '"."' || table_name || '"')::regclass::oid, ordinal_position) AS description, ('"' || "udt_schema" || '"."' || "udt_name" || '"')::"regtype" AS "regtype", pg_catalog.format_type("col_attr"."atttypid", "col_attr"."atttypmod") AS "format_type" FROM "information_schema"."columns" LEFT JOIN "pg_catalog"."pg_attribute" AS "col_attr" ON "col_attr"."attname" = "columns"."column_name"

select "id", "name" from "users" where "id" = $1 limit $2

select * from "users" as "u" inner join "posts" as "p" on "p"."user_id" = "u"."id" where "u"."id" in ($1, $2) and not exists (select 1 from "bans" where "bans"."user_id" = "u"."id") order by "u"."id" asc

select count(*) as "total" from (select distinct "a" from "t" where "b" between $1 and $2) as "x"

with "w" as (select * from "t" where "a" = $1) select * from "w"

insert into "users" ("name") values ($1) on conflict ("name") do update set "name" = excluded."name" returning "id"

update "users" set "n" = "n" + $1 where "id" = $2

del from "users"

select "id" from "jobs" where "state" = $1 limit $2 for update skip locked

select "users"."id", "users_posts"."data" as "posts" from "users" left join lateral (select coalesce(json_agg(json_build_array("users_posts"."id", "users_posts"."title")), '[]'::json) as "data" from "posts" "users_posts" where "users_posts"."author_id" = "users"."id") "users_posts" on true

select b.oid, b.typarray from pg_catalog.pg_type a left join pg_catalog.pg_type b on b.oid = a.typelem where a.typcategory = 'A' group by b.oid, b.typarray order by b.oid

select set_config('request.jwt.claims', $1, true), set_config('role', $2, true)

SET LOCAL ROLE authenticated
