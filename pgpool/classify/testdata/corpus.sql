-- One statement a line: r = must be called a read, w = must not.
r select 1
r select 'text', 1.5, true, null
r select * from customers
r select * from only customers
r table customers
r values (1, 'a'), (2, 'b') order by 1 limit 1
r select distinct region from customers
r select distinct on (region) region, id from customers order by region, id
r select all id from customers
r select id as "update", name as "insert" from customers
r select c.id, c.name from customers as c where c.id in (1, 2, 3)
r select * from customers where id = any (array[1, 2])
r select * from customers where id between (1) and (5)
r select * from customers where name like 'n%' and not (name ilike 'x%')
r select * from customers where name similar to '(n|m)%' escape '!'
w select * from customers where name like 'n%' escape '\'
r select * from customers where email is null or email is not distinct from 'x'
r select * from customers where (id, name) in (select id, name from customers)
r select * from customers where exists (select from orders where customer = customers.id)
r select count(*), sum(total), avg(total), min(total), max(total) from orders
r select customer, count(*) filter (where status = 'open') from orders group by customer having count(*) > 0
r select region, count(*) from customers group by grouping sets ((region), ())
r select region, active, count(*) from customers group by rollup (region, active)
r select region, active, count(*), grouping(region) from customers group by cube (region, active)
r select percentile_cont(0.5) within group (order by total) from orders
r select mode() within group (order by status) from orders
r select string_agg(name, ',' order by id) from customers
r select array_agg(id order by id desc) from customers
r select rank() over (partition by status order by total desc) from orders
r select sum(total) over w from orders window w as (partition by status order by id rows between 1 preceding and current row)
r select lag(total, 1, 0::numeric) over (order by id), lead(total) over (order by id), ntile(4) over (order by id) from orders
r select first_value(id) over (order by id), row_number() over () from orders
r select * from customers c join orders o on (c.id = o.customer)
r select * from customers c left join orders o on o.customer = c.id
r select * from customers c natural join (select id, total from orders) o
r select * from customers join orders using (id)
r select * from customers c cross join lateral (select * from orders o where o.customer = c.id limit 1) x
r select * from customers c, lateral (select count(*) from orders o where o.customer = c.id) x(n)
r select * from customers full outer join orders on customers.id = orders.id
r select (select max(total) from orders), array(select id from orders)
r (select 1) union (select 2) order by 1
r select 1 union all select 2 except select 3 intersect select 4
r select id from customers order by id desc nulls last limit 5 offset 2
r select id from customers order by id fetch first 5 rows only
r select id from customers order by id limit (2) offset (1)
r with a as (select 1 as x) select x from a
r with a as materialized (select 1 as x), b as not materialized (select 2 as y) select * from a, b
r with recursive n(x) as (values (1) union all select x + 1 from n where x < 10) select sum(x) from n
r with recursive n as (select 1 as x union all select x + 1 from n where x < 3) table n
r with a(x) as (select 1), b(y) as (select 2), c(z) as (values (3)) select * from a, b, c
r with a as (with b as (select 1 as x) select * from b) select * from a
r select case when id > 5 then 'a' else 'b' end from customers
r select case (id) when (1) then (2) else (3) end from customers
r select coalesce(email, name), nullif(name, ''), greatest(1, 2), least(1, 2) from customers
r select cast(id as varchar(10)), id::numeric(10, 2), total::text from orders
r select '1'::int, int '2', date '2024-01-01', timestamp(3) with time zone '2024-01-01 00:00:00+00'
r select interval '1 day', interval '1' day, interval(3) '1 second'
r select now(), current_timestamp, current_date, localtime(0), current_timestamp(3), statement_timestamp(), transaction_timestamp()
r select clock_timestamp(), timeofday(), random(), pg_sleep(0), gen_random_uuid()
r select date_trunc('day', created_at), extract(year from created_at), date_part('dow', created_at), age(created_at) from orders
r select created_at at time zone 'UTC', timezone('UTC', created_at), to_char(created_at, 'YYYY-MM-DD') from orders
r select make_date(2024, 1, 1), make_interval(days => 3), to_timestamp(0), justify_days(interval '40 days')
r select lower('A'), upper('a'), initcap('a b'), length('abc'), char_length('abc'), octet_length('abc')
r select substring('abc' from 2 for 1), substring('abc', 2), substr('abc', 1), overlay('abc' placing 'x' from 2 for 1)
r select position('b' in 'abc'), strpos('abc', 'b'), trim(both ' ' from ' a '), ltrim(' a'), btrim(' a ')
r select replace('a', 'a', 'b'), translate('abc', 'a', 'x'), left('abc', 1), right('abc', 1), repeat('a', 3), reverse('ab')
r select split_part('a,b', ',', 1), regexp_replace('a', 'a', 'b'), regexp_matches('a', 'a'), format('%s', 1), concat('a', 1)
r select lpad('a', 3), rpad('a', 3), md5('a'), encode('a'::bytea, 'hex'), decode('61', 'hex'), sha256('a'), quote_literal('a'), quote_ident('a')
r select abs(-1), ceil(1.5), floor(1.5), round(1.234, 2), trunc(1.5), mod(5, 2), power(2, 3), sqrt(4), sign(-1), width_bucket(1, 0, 10, 5)
r select normalize('a'), xmlelement(name a, 'b'), xmlforest(1 as a), xmlconcat('<a/>'::xml)
r select doc -> 'a', doc ->> 'a', doc #> '{b,0}', doc @> '{"a": 1}', doc ? 'a' from orders
r select jsonb_build_object('a', 1), json_build_array(1, 2), to_json(1), to_jsonb('a'::text), jsonb_set('{}', '{a}', '1')
r select * from jsonb_each('{"a": 1}'), jsonb_array_elements('[1]') e(v), jsonb_to_record('{"a": 1}') as r(a int)
r select jsonb_path_query('{"a": 1}', '$.a'), jsonb_typeof('1'), json_agg(id), jsonb_object_agg(id, name) from customers
r select row_to_json(c) from customers c
r select array_length(tags, 1), cardinality(tags), tags[1], tags[1:2], array_append(tags, 'c'), 'a' = any (tags), unnest(tags) from customers
r select array[1, 2] || 3, array_to_string(array[1, 2], ','), string_to_array('a,b', ','), array_position(array[1, 2], 2)
r select * from generate_series(1, 3) g, unnest(array['a', 'b']) with ordinality as u(v, n)
r select * from rows from (generate_series(1, 2), generate_series(1, 3)) as x(a, b)
r select * from customers tablesample bernoulli (50) repeatable (1)
r select * from customers tablesample system (50)
r select to_tsvector('english', 'a cat') @@ to_tsquery('english', 'cat'), ts_rank(to_tsvector('a'), plainto_tsquery('a')), ts_headline('a', to_tsquery('a'))
r select enum_range(null::mood), 'ok'::mood, enum_first(null::mood)
r select int4range(1, 5) @> 3, lower(int4range(1, 5)), upper_inf(int4range(1, null)), range_merge(int4range(1, 2), int4range(3, 4))
r select point(1, 2), box(point(0, 0), point(1, 1)), circle(point(0, 0), 1) @> point(0, 0), area(box '(0,0),(1,1)')
r select inet '10.0.0.1' << inet '10.0.0.0/8', host(inet '10.0.0.1'), masklen(inet '10.0.0.0/8')
r select B'101', X'1f', E'a\'b', U&'\0061', N'a', $$ delete from customers $$, $q$ update $$ $q$
r select current_user, session_user, current_role, current_catalog, current_schema, user, current_database(), version()
r select current_setting('server_version'), current_schemas(true), has_table_privilege('customers', 'select'), pg_typeof(1)
r select pg_get_viewdef('open_orders'::regclass), obj_description('customers'::regclass), col_description('customers'::regclass, 1), format_type(23, null)
r select pg_get_indexdef(indexrelid), pg_get_constraintdef(c.oid) from pg_index i join pg_constraint c on c.conindid = i.indexrelid
r select to_regclass('customers'), 'customers'::regclass::oid, pg_table_is_visible('customers'::regclass), pg_encoding_to_char(6)
r select pg_size_pretty(pg_total_relation_size('customers')), pg_relation_size('customers'), pg_database_size(current_database())
r select n.nspname, c.relname from pg_catalog.pg_class c left join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', '') and n.nspname !~ '^pg_toast' order by 1, 2
r select * from information_schema.columns where table_name = 'customers'
r select a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.pg_get_expr(d.adbin, d.adrelid) from pg_attribute a left join pg_attrdef d on a.attrelid = d.adrelid and a.attnum = d.adnum
r select * from pg_stats where tablename = 'customers'
r select * from pg_tables, pg_views limit 1
r select * from pg_roles
r select * from open_orders where total > 5
r select * from totals
r select /* update */ 1 -- delete
r show search_path
r show all
r show time zone
r explain select * from customers
r explain (costs off, format json) select * from customers
r explain delete from orders
r explain insert into customers (id) values (99)
r explain analyze select * from customers
r explain (analyze, timing off) select count(*) from customers
r explain (analyze true, verbose) with a as (select 1) select * from a
r select 1; select 2; select 3
r select 1;
r select string_agg(x, '') from (select chr(65 + g) from generate_series(1, 3) g) as s(x)
r select (c).id, (c).name from (select c from customers c) s
r select c.* from customers c where c.active is true and c.id not in (select customer from orders where customer is not null)
r select sum(o.total) total, c.region from orders o inner join customers c on c.id = o.customer group by c.region, c.id order by sum(o.total) desc
r select bool_and(active), bool_or(active), every(active), corr(id, id), stddev(id), variance(id), regr_slope(id, id) from customers
r select num_nulls(1, null), num_nonnulls(1), txid_snapshot_xmin('1:2:') is null
w select bump()
w select twice(2)
w select public.bump()
w select * from bump()
w select id from customers where id = bump()
w select * from customers order by bump()
w select case when true then bump() end
w select (select bump())
w with a as (select 1) select * from a where bump() = 1
w with a as (insert into customers (id) values (100) returning *) select * from a
w with a as (update customers set name = 'x' returning id) select count(*) from a
w with a as (delete from orders returning *) select * from a
w with a as (select 1), b as (delete from orders) select * from a
w with a as (select 1) insert into customers (id) select 101
w with a as (select 1 as x) update customers set name = 'y' from a where id = a.x
w with a as (select 1 as x) delete from orders using a where id = a.x
w select * from customers for update
w select * from customers for no key update
w select * from customers for share of customers skip locked
w select * from customers for key share nowait
w select * from (select * from customers for update) x
w with a as (select * from customers for update) select * from a
w select * into copied from customers
w select 1 as x into temporary copied
w select nextval('tickets')
w select setval('tickets', 5)
w select pg_advisory_xact_lock(1)
w select pg_try_advisory_lock(1), pg_advisory_unlock(1)
w select set_config('search_path', 'public', true)
w select pg_notify('a', 'b')
w select lo_create(0)
w select lo_from_bytea(0, 'abc')
w select txid_current()
w select pg_current_xact_id()
w select pg_export_snapshot()
w select pg_backend_pid()
w select pg_current_wal_lsn()
w select pg_is_in_recovery()
w select query_to_xml('select 1', true, true, '')
w select ts_rewrite('a'::tsquery, 'select ''a''::tsquery, ''b''::tsquery')
w select * from pg_stat_activity
w select * from pg_catalog.pg_stat_replication
w select * from pg_locks
w select * from pg_settings
w select * from pg_prepared_statements
w select * from pg_cursors
w select inet_server_addr(), pg_postmaster_start_time()
w insert into customers (id) values (102)
w insert into customers (id) values (1) on conflict (id) do update set name = excluded.name
w insert into customers (id) select 103 returning id
w update customers set name = 'z' where id = 1
w delete from orders where id = 1
w merge into customers c using (values (1, 'm')) v(id, name) on c.id = v.id when matched then update set name = v.name when not matched then do nothing
w truncate orders
w create table x (a int)
w create table x as select 1 as a
w create temp table x as select 1 as a
w create index on customers (name)
w alter table customers add column x int
w drop view open_orders
w comment on table customers is 'x'
w grant select on customers to public
w refresh materialized view totals
w analyze customers
w lock table customers in share mode
w declare c cursor for select 1
w prepare p as select 1
w deallocate all
w set search_path = public
w set local search_path = public
w reset all
w discard plans
w listen a
w notify a
w savepoint a
w do $$ begin perform 1; end $$
w call proc()
w explain analyze delete from orders
w explain (analyze) select bump()
w explain analyze insert into customers (id) values (104)
w copy customers to stdout
w copy (select * from customers) to stdout
w select 1; delete from orders
w select 1; select bump()
w /* outrigger: replica */ delete from orders
