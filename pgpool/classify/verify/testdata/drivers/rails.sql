# Ruby: ActiveRecord and Sequel

SET client_min_messages TO 'warning'

SET standard_conforming_strings = on

SET SESSION timezone TO 'UTC'

SET statement_timeout TO DEFAULT

SET SESSION "intervalstyle" TO 'iso_8601'

SHOW max_identifier_length

SHOW server_version_num

SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype, t.typtype, t.typbasetype FROM pg_type as t LEFT JOIN pg_range as r ON oid = rngtypid WHERE t.typname IN ('int2', 'int4', 'hstore') OR t.typtype IN ('r', 'e', 'd') OR t.typelem IN (16, 17)

SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull, a.atttypid, a.atttypmod, c.collname, col_description(a.attrelid, a.attnum) AS comment, attidentity AS identity, attgenerated as attgenerated FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid LEFT JOIN pg_collation c ON a.attcollation = c.oid AND a.attcollation <> t.typcollation WHERE a.attrelid = '"users"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum

SELECT a.attname FROM ( SELECT indrelid, indkey, generate_subscripts(indkey, 1) idx FROM pg_index WHERE indrelid = '"users"'::regclass AND indisprimary ) i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[i.idx] ORDER BY i.idx

SELECT distinct i.relname, d.indisunique, d.indkey, pg_get_indexdef(d.indexrelid), pg_catalog.obj_description(i.oid, 'pg_class') AS comment, d.indisvalid FROM pg_class t INNER JOIN pg_index d ON t.oid = d.indrelid INNER JOIN pg_class i ON d.indexrelid = i.oid LEFT JOIN pg_namespace n ON n.oid = t.relnamespace WHERE i.relkind IN ('i', 'I') AND d.indisprimary = 'f' AND t.relname = 'users' AND n.nspname = ANY (current_schemas(false)) ORDER BY i.relname

SELECT c.relname FROM pg_class c LEFT JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY (current_schemas(false)) AND c.relname = 'schema_migrations' AND c.relkind IN ('r','v','m','p','f')

SELECT "schema_migrations"."version" FROM "schema_migrations" ORDER BY "schema_migrations"."version" ASC

SELECT "users".* FROM "users" WHERE "users"."id" = $1 LIMIT $2

SELECT "users".* FROM "users" WHERE "users"."email" = $1 ORDER BY "users"."id" ASC LIMIT $2 /*application:Shop,controller:users,action:show*/

SELECT 1 AS one FROM "users" WHERE "users"."email" = $1 LIMIT $2

SELECT COUNT(*) FROM "posts" WHERE "posts"."user_id" = $1

SELECT COUNT(DISTINCT "posts"."id") FROM "posts" LEFT OUTER JOIN "comments" ON "comments"."post_id" = "posts"."id"

SELECT "posts"."id" AS t0_r0, "comments"."id" AS t1_r0 FROM "posts" LEFT OUTER JOIN "comments" ON "comments"."post_id" = "posts"."id" WHERE "posts"."published" = TRUE AND ("posts"."title" ILIKE '%ruby%')

SELECT "posts".* FROM "posts" WHERE (title ILIKE ('%' || 'x' || '%'))

SELECT MAX("posts"."created_at") AS maximum_created_at, "posts"."user_id" AS posts_user_id FROM "posts" GROUP BY "posts"."user_id"

SELECT "users".* FROM "users" WHERE "users"."id" = $1 LIMIT $2 FOR UPDATE

SELECT "jobs".* FROM "jobs" WHERE "jobs"."finished_at" IS NULL ORDER BY priority DESC NULLS LAST LIMIT 1 FOR UPDATE SKIP LOCKED

INSERT INTO "users" ("email", "created_at") VALUES ($1, $2) RETURNING "id"

INSERT INTO "users" ("email") VALUES ('a') ON CONFLICT ("email") DO UPDATE SET updated_at=(CASE WHEN ("users"."email" IS NOT DISTINCT FROM excluded."email") THEN "users".updated_at ELSE CURRENT_TIMESTAMP END),"email"=excluded."email" RETURNING "id"

UPDATE "users" SET "email" = $1 WHERE "users"."id" = $2

DELETE FROM "users" WHERE "users"."id" = $1

BEGIN

COMMIT

ROLLBACK

SAVEPOINT active_record_1

RELEASE SAVEPOINT active_record_1

ROLLBACK TO SAVEPOINT active_record_1

SELECT pg_try_advisory_lock(2053462845)

SELECT pg_advisory_unlock(2053462845)

SELECT locktype FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()

SELECT current_database(); 

DEALLOCATE a1

DISCARD ALL

CREATE TABLE "posts" ("id" bigserial primary key, "title" character varying NOT NULL)

ALTER TABLE "posts" ALTER COLUMN "title" SET DEFAULT ''

SELECT pg_get_serial_sequence('"users"', 'id')

select nextval('"users_id_seq"')

SELECT setval('"users_id_seq"', (SELECT COALESCE(MAX("id")+1, 1) FROM "users"), false)

LISTEN "action_cable"

NOTIFY "action_cable", 'payload'

SELECT "users".* FROM "users" WHERE "users"."bio" = 'it''s \o/ fine'

SELECT "users".* FROM "users" WHERE "users"."path" = E'C:\\temp\\' OR "users"."note" = E'a\nb'

SELECT * FROM "posts" WHERE ((tags)::text[] @> ARRAY['a']::text[]) AND ("posts"."meta"->>'k' = 'v')

WITH "top" AS (SELECT "posts"."user_id", COUNT(*) AS n FROM "posts" GROUP BY 1) SELECT "users".* FROM "users" INNER JOIN "top" ON "top"."user_id" = "users"."id" ORDER BY n DESC

EXPLAIN SELECT "users".* FROM "users"

SELECT "users".* FROM "users" ORDER BY RANDOM() LIMIT 1

SELECT NULL AS "nil" FROM "public"."users" LIMIT 0

SELECT * FROM "users" WHERE ("id" IN (SELECT "user_id" FROM "memberships" WHERE ("role" = 'admin'))) ORDER BY "name" LIMIT 10 OFFSET 20
