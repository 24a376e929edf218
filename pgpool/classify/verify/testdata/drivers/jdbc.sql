# Java: the JDBC driver, its metadata, Hibernate and jOOQ

SET extra_float_digits = 3

SET application_name = 'PostgreSQL JDBC Driver'

SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY

SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED

SHOW TRANSACTION ISOLATION LEVEL

SHOW TRANSACTION_READ_ONLY

SHOW search_path

BEGIN

BEGIN READ ONLY

COMMIT

ROLLBACK

SAVEPOINT PGJDBC_AUTOSAVE

RELEASE SAVEPOINT PGJDBC_AUTOSAVE

ROLLBACK TO SAVEPOINT PGJDBC_AUTOSAVE

SELECT 1

-- is valid

select current_schema()

SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME, CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema' WHEN true THEN CASE WHEN n.nspname = 'pg_catalog' THEN CASE c.relkind WHEN 'r' THEN 'SYSTEM TABLE' WHEN 'v' THEN 'SYSTEM VIEW' ELSE NULL END ELSE NULL END WHEN false THEN CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE' ELSE NULL END ELSE NULL END AS TABLE_TYPE, d.description AS REMARKS FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass) WHERE c.relnamespace = n.oid AND n.nspname LIKE 'public' AND c.relname LIKE 'orders' ORDER BY TABLE_TYPE, TABLE_SCHEM, TABLE_NAME

SELECT * FROM (SELECT current_database() AS current_database, n.nspname, c.relname, a.attname, a.atttypid, a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull, a.atttypmod, a.attlen, t.typtypmod, row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') as attidentity, pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc, dsc.description, t.typbasetype, t.typtype FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid) JOIN pg_catalog.pg_attribute a ON (a.attrelid = c.oid) JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid) LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid = def.adrelid AND a.attnum = def.adnum) LEFT JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid AND a.attnum = dsc.objsubid) WHERE c.relkind in ('r', 'p', 'v', 'f', 'm') and a.attnum > 0 AND NOT a.attisdropped) c WHERE true ORDER BY nspname, c.relname, attnum

SELECT result.TABLE_CAT, result.COLUMN_NAME, result.KEY_SEQ FROM (SELECT NULL AS TABLE_CAT, a.attname AS COLUMN_NAME, (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, ci.relname AS PK_NAME FROM pg_catalog.pg_class ct JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) JOIN pg_catalog.pg_index i ON (a.attrelid = i.indrelid) JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid) WHERE i.indisprimary) result

SELECT typinput = 'array_in'::regproc as is_array, typtype, typname, pg_type.oid FROM pg_catalog.pg_type LEFT JOIN (select ns.oid as nspoid, ns.nspname, r.r from pg_namespace as ns join ( select s.r, (current_schemas(false))[s.r] as nspname from generate_series(1, array_upper(current_schemas(false), 1)) as s(r) ) as r using ( nspname )) as sp ON sp.nspoid = typnamespace WHERE pg_type.oid = $1 ORDER BY sp.r, pg_type.oid DESC

select version()

SELECT t.typname, t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON (t.typnamespace = n.oid) WHERE n.nspname != 'pg_toast' AND (t.typrelid = 0 OR (SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid))

select nextval('hibernate_sequence')

select nextval ('orders_seq')

select currval('orders_id_seq')

select o1_0.id,o1_0.created_at,c1_0.id,c1_0.name,o1_0.total from orders o1_0 left join customers c1_0 on c1_0.id=o1_0.customer_id where o1_0.id=$1

select o1_0.id from orders o1_0 where o1_0.id=$1 for update

select o1_0.id,o1_0.version from orders o1_0 where o1_0.id=$1 for no key update

select o1_0.id from orders o1_0 where o1_0.id=$1 for share nowait

/* select o from Order o where o.status = :status */ select o1_0.id,o1_0.status from orders o1_0 where o1_0.status=$1 order by o1_0.id desc fetch first $2 rows only

/* insert com.example.Order */ insert into orders (customer_id,status,total,version,id) values ($1,$2,$3,$4,$5)

/* update */ update orders set status=$1,version=$2 where id=$3 and version=$4

delete from orders where id=$1

select count(*) from (select distinct o1_0.customer_id from orders o1_0 where o1_0.created_at between $1 and $2) as c

select case when count(o1_0.id)>0 then true else false end from orders o1_0 where lower(o1_0.email) like $1 escape ''

select cast(o1_0.total as numeric(19,2)), extract(year from o1_0.created_at), o1_0.created_at+cast('1 day' as interval) from orders o1_0

select o1_0.id, sum(o1_0.total) over(partition by o1_0.customer_id order by o1_0.id rows between unbounded preceding and current row) from orders o1_0

select "public"."orders"."id", "public"."orders"."total" from "public"."orders" where ("public"."orders"."status" = $1 and "public"."orders"."total" > $2) order by 1 offset $3 rows fetch next $4 rows only

select coalesce(json_agg(json_build_array("v0", "v1")), json_build_array()) from (select "t"."a" as "v0", "t"."b" as "v1" from "t") as "t"

insert into "public"."orders" ("a", "b") values ($1, $2) on conflict ("a") do nothing returning "public"."orders"."id"

select * from my_function($1, $2) as result

{call do_something(?)}

call do_something($1)

COPY orders FROM STDIN WITH (FORMAT csv)

lock table orders in exclusive mode

select pg_catalog.pg_get_userbyid(relowner), obj_description(oid, 'pg_class') from pg_class where oid = 'orders'::regclass
