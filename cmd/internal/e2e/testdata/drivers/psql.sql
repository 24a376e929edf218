-- psql. What it prints must not depend on what is behind its URL.
\pset format unaligned
\set VERBOSITY verbose
\echo -- transactions
create table tx (id int primary key, v text);
begin; insert into tx values (1, 'kept'); savepoint s; insert into tx values (1, 'twice'); rollback to s; commit;
begin; delete from tx; rollback;
begin; select nothing; select 1; commit;
table tx;
\set AUTOCOMMIT off
insert into tx values (2, 'undone');
rollback;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
begin; insert into tx values (1, 'twice'); insert into tx values (3, 'kept'); commit;
\set ON_ERROR_ROLLBACK off
select 1 as a \; select 2 as b \; begin \; insert into tx values (4) \; select 1/0 \; commit;
rollback;
table tx;

\echo -- prepared
prepare plus (int, int) as select $1 + $2;
execute plus (1, 2);
begin; execute plus (3, 4); commit;
deallocate plus;
execute plus (1, 2);
deallocate all;

\echo -- describe and meta commands
create view seen as select id from tx;
comment on table tx is 'described';
\d tx
\d+ seen
\dt
\df nothing*
\dn
select id, v from tx \gdesc
select 'select ' || n from generate_series(1, 3) n \gexec
select 7 as seven \gset
\echo :seven

\echo -- copy
create table copied (id int, v text);
copy copied from stdin csv;
1,one
2,"two, and a half"
\.
\copy copied from program 'seq 3 20000 | sed s/$/,more/' csv
\copy (select count(*), sum(id) from copied) to stdout
copy (select * from copied where id < 3 order by id) to stdout with (format csv, header);
copy copied from stdin;
bad	x
\.
select count(*) from copied;

\echo -- errors and notices
do $$begin raise warning 'careful' using hint = 'look', detail = 'here'; end$$;
select 1/0;
\echo :SQLSTATE :LAST_ERROR_MESSAGE
\errverbose
select 'x'::int;
select * from missing;
lock table tx;

\echo -- settings
\set VERBOSITY default
set timezone to 'Asia/Tokyo';
set search_path to nowhere, "odd, name";
show timezone; show search_path;
\encoding LATIN1
show client_encoding;
begin; set local work_mem to '1MB'; show work_mem; commit; show work_mem;
begin; set timezone to 'Europe/Berlin'; rollback; show timezone;
reset all;
show timezone; show search_path; show client_encoding;
set role pg_read_all_data; select current_user; table tx; reset role; select current_user;

\echo -- what only a session has
create temp table scratch as select 1 as n;
begin; create temp table passing on commit drop as select 2 as n; table passing; commit;
table scratch;
declare held cursor with hold for select generate_series(1, 5);
fetch 2 from held; fetch 2 from held; close held;
create sequence counter; select nextval('counter'), currval('counter'), lastval();
select pg_advisory_lock(1), pg_advisory_unlock(1);
discard all;
table scratch;

\echo -- a new session
\set QUIET on
\c
\set QUIET off
table scratch;
show search_path;

\echo -- large
\set FETCH_COUNT 1000
\copy (select n, repeat('x', n % 300) from generate_series(1, 50000) n) to program 'md5sum'
select md5(string_agg(n::text, ',')) from generate_series(1, 100000) n;
\o /dev/null
select n, repeat('x', 100) from generate_series(1, 20000) n;
\o
\set FETCH_COUNT 0
select length(repeat('y', 5000000));
\set QUIET on
\lo_import /etc/passwd
\lo_export :LASTOID /dev/null
\lo_unlink :LASTOID
\set QUIET off
select count(*) from pg_largeobject_metadata;

\echo -- timeouts
set statement_timeout to '50ms';
select pg_sleep(60);
reset statement_timeout;
