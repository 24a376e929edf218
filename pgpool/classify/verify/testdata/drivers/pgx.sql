# Go: pgx and pgxpool, and what sqlc and squirrel make

select 1

-- ping

;

begin

begin isolation level serializable read only deferrable

begin isolation level read committed read write

start transaction isolation level repeatable read, read only

commit

rollback

savepoint sp_1

release savepoint sp_1

rollback to savepoint sp_1

-- name: GetAuthor :one
SELECT id, name, bio FROM authors
WHERE id = $1 LIMIT 1

-- name: ListAuthors :many
SELECT id, name, bio FROM authors
ORDER BY name

-- name: CreateAuthor :one
INSERT INTO authors (
  name, bio
) VALUES (
  $1, $2
)
RETURNING id, name, bio

-- name: UpdateAuthor :exec
UPDATE authors
  SET name = coalesce($2, name),
  bio = CASE WHEN $3::boolean THEN $4 ELSE bio END
WHERE id = $1

-- name: DeleteAuthor :execrows
DELETE FROM authors WHERE id = $1

-- name: ListByIDs :many
SELECT a.id, a.name, b.title FROM authors a
JOIN books b ON b.author_id = a.id
WHERE a.id = ANY($1::bigint[]) AND (sqlc_flag OR NOT $2::bool)

-- name: Search :many
SELECT id, ts_rank(tsv, query) AS rank FROM books, plainto_tsquery('english', $1) AS query WHERE tsv @@ query ORDER BY rank DESC LIMIT $2 OFFSET $3

-- name: LockJob :one
SELECT id, payload FROM jobs WHERE state = 'queued' AND run_at <= now() ORDER BY run_at LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: TakeJob :one
UPDATE jobs SET state = 'running' WHERE id = (SELECT id FROM jobs WHERE state = 'queued' ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING *

-- name: Upsert :exec
INSERT INTO kv (k, v) VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = excluded.v, updated_at = now()

insert into events (a, b, c) select * from unnest($1::int[], $2::text[], $3::timestamptz[])

copy "public"."events" ( "a", "b" ) from stdin binary;

copy (select a, b from events where a > 5) to stdout with (format csv, header)

select t.oid, t.typname, t.typtype, t.typelem, t.typrelid from pg_type t left join pg_class c on c.oid = t.typrelid where t.typname = $1 or t.oid = $2::oid

listen "orders_changed"

unlisten *

select pg_notify($1, $2)

select pg_try_advisory_lock($1)

select pg_advisory_xact_lock(hashtext($1))

select current_setting('app.tenant', true)

select set_config('app.tenant', $1, true)

set local statement_timeout = '5s'

deallocate all

discard all

SELECT count(*) FROM (SELECT DISTINCT ON (customer_id) customer_id, created_at FROM orders ORDER BY customer_id, created_at DESC) AS latest

WITH moved AS (DELETE FROM queue WHERE id = $1 RETURNING *) INSERT INTO archive SELECT * FROM moved

SELECT json_agg(json_build_object('id', id, 'name', name)) FROM authors

SELECT jsonb_path_query_array(doc, '$.items[*].sku') FROM orders WHERE doc @> '{"a": [1]}' AND doc ? 'x'
