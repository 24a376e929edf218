# Python: psycopg, SQLAlchemy and Alembic

BEGIN

BEGIN ISOLATION LEVEL SERIALIZABLE

BEGIN READ ONLY

COMMIT

ROLLBACK

SAVEPOINT "_pg3_1"

RELEASE "_pg3_1"

ROLLBACK TO "_pg3_1"

SET TIME ZONE 'UTC'

SET DATESTYLE TO 'ISO'

SET default_transaction_isolation TO 'serializable'

SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY

select pg_catalog.version()

show standard_conforming_strings

show transaction isolation level

select current_schema()

SELECT CAST('test plain returns' AS VARCHAR(60)) AS anon_1

SELECT CAST('test unicode returns' AS VARCHAR(60)) AS anon_1

SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relname = %(table_name)s::VARCHAR AND pg_catalog.pg_class.relkind = ANY (ARRAY[$1::VARCHAR, $2::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != $3::VARCHAR

SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relname = $1::VARCHAR AND pg_catalog.pg_class.relkind = ANY (ARRAY[$2::VARCHAR, $3::VARCHAR, $4::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != $5::VARCHAR

SELECT pg_catalog.pg_attribute.attname AS name, pg_catalog.format_type(pg_catalog.pg_attribute.atttypid, pg_catalog.pg_attribute.atttypmod) AS format_type, (SELECT pg_catalog.pg_get_expr(pg_catalog.pg_attrdef.adbin, pg_catalog.pg_attrdef.adrelid) AS pg_get_expr_1 FROM pg_catalog.pg_attrdef WHERE pg_catalog.pg_attrdef.adrelid = pg_catalog.pg_attribute.attrelid AND pg_catalog.pg_attribute.atthasdef) AS "default", (SELECT json_build_object('always', pg_catalog.pg_attribute.attidentity = 'a', 'start', pg_catalog.pg_sequence.seqstart) AS json_build_object_1 FROM pg_catalog.pg_sequence WHERE pg_catalog.pg_sequence.seqrelid = CAST(pg_catalog.pg_get_serial_sequence(CAST(CAST(pg_catalog.pg_attribute.attrelid AS REGCLASS) AS TEXT), pg_catalog.pg_attribute.attname) AS REGCLASS)) AS identity_options FROM pg_catalog.pg_class LEFT OUTER JOIN pg_catalog.pg_attribute ON pg_catalog.pg_class.oid = pg_catalog.pg_attribute.attrelid

SELECT attr.conrelid, array_agg(CAST(attr.attname AS TEXT) ORDER BY attr.ord) AS cols, attr.conname, min(attr.description) AS description FROM (SELECT con.conrelid AS conrelid, con.conname AS conname, con.attnum AS attnum, con.ord AS ord, pg_attribute.attname, con.description FROM pg_catalog.pg_attribute JOIN (SELECT pg_catalog.pg_constraint.conrelid AS conrelid, pg_catalog.pg_constraint.conname AS conname, unnest(pg_catalog.pg_constraint.conkey) AS attnum, generate_subscripts(pg_catalog.pg_constraint.conkey, $1::INTEGER) AS ord, pg_catalog.pg_description.description AS description FROM pg_catalog.pg_constraint LEFT OUTER JOIN pg_catalog.pg_description ON pg_catalog.pg_description.objoid = pg_catalog.pg_constraint.oid) AS con ON pg_attribute.attnum = con.attnum) AS attr GROUP BY attr.conrelid, attr.conname ORDER BY attr.conrelid

SELECT users.id, users.name, users.fullname FROM users WHERE users.name IN ($1::VARCHAR, $2::VARCHAR)

SELECT users.id AS users_id, addresses_1.id AS addresses_1_id, addresses_1.email_address AS addresses_1_email_address FROM users LEFT OUTER JOIN addresses AS addresses_1 ON users.id = addresses_1.user_id ORDER BY users.id, addresses_1.id

SELECT count(*) AS count_1 FROM (SELECT users.id AS users_id FROM users WHERE lower(users.name) LIKE lower($1)) AS anon_1

WITH RECURSIVE included_parts(sub_part, part, quantity) AS (SELECT parts.sub_part AS sub_part, parts.part AS part, parts.quantity AS quantity FROM parts WHERE parts.part = $1::VARCHAR UNION ALL SELECT parts_1.sub_part AS sub_part, parts_1.part AS part, parts_1.quantity AS quantity FROM parts AS parts_1, included_parts AS incl_parts WHERE parts_1.part = incl_parts.sub_part) SELECT included_parts.sub_part, sum(included_parts.quantity) AS total_quantity FROM included_parts GROUP BY included_parts.sub_part

WITH anon_1 AS (UPDATE users SET name=$1::VARCHAR WHERE users.id = $2::INTEGER RETURNING users.id) SELECT anon_1.id FROM anon_1

INSERT INTO users (name, fullname) SELECT p0::VARCHAR, p1::VARCHAR FROM (VALUES ($1::VARCHAR, $2::VARCHAR, 0), ($3::VARCHAR, $4::VARCHAR, 1)) AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter RETURNING users.id, users.id AS id__1

INSERT INTO users (name) VALUES (%s) RETURNING users.id

UPDATE users SET fullname=$1::VARCHAR WHERE users.id = $2::INTEGER

DELETE FROM users WHERE users.id = $1::INTEGER

SELECT users.id FROM users WHERE users.id = $1::INTEGER FOR UPDATE

SELECT users.id FROM users WHERE users.id = $1::INTEGER FOR UPDATE OF users NOWAIT

SELECT alembic_version.version_num FROM alembic_version

CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))

UPDATE alembic_version SET version_num='a1b2' WHERE alembic_version.version_num = 'c3d4'

ALTER TABLE users ADD COLUMN age INTEGER

CREATE INDEX CONCURRENTLY ix_users_age ON users (age)

select nextval('users_id_seq')

SELECT nextval('"Users_id_seq"') AS n

SELECT anon_1.value, anon_1.ordinality FROM jsonb_array_elements($1::JSONB) WITH ORDINALITY AS anon_1

SELECT users.data ->> $1 AS anon_1, CAST((users.data -> 'a') AS INTEGER) AS x FROM users WHERE (users.tags && ARRAY[$2::TEXT]) OR users.id IS NOT DISTINCT FROM $3

SELECT EXTRACT(epoch FROM users.created) AS anon_1, date_trunc('day', users.created) AS d, to_char(users.created, 'YYYY-MM') FROM users TABLESAMPLE bernoulli(10) REPEATABLE (5)

SELECT rank() OVER (PARTITION BY users.team ORDER BY users.score DESC) AS r, percentile_cont(0.5) WITHIN GROUP (ORDER BY users.score ASC) FILTER (WHERE users.score > 0) AS med FROM users GROUP BY ROLLUP(users.team)

DECLARE "named_1" CURSOR WITHOUT HOLD FOR SELECT * FROM users

DECLARE "named_2" SCROLL CURSOR WITH HOLD FOR SELECT * FROM users

FETCH FORWARD 100 FROM "named_1"

CLOSE "named_1"

COPY users (id, name) FROM STDIN

COPY users TO STDOUT (FORMAT BINARY)

PREPARE TRANSACTION 'tx-1'

COMMIT PREPARED 'tx-1'

SELECT gid FROM pg_prepared_xacts

SELECT pg_is_in_recovery()

DEALLOCATE "_pg3_0"

SELECT t.typname AS name, t.oid AS oid, t.typarray AS array_oid, t.oid::regtype::text AS regtype, t.typdelim AS delim FROM pg_type t LEFT JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = to_regtype($1) ORDER BY t.oid
