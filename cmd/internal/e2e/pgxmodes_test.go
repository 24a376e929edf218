package e2e

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
)

// pgxModes runs pgx in each of its ways to send a query, with two clients in turn.
func pgxModes(ctx context.Context, to target, out io.Writer) error {
	setup, err := pgx.Connect(ctx, to.database)
	if err != nil {
		return err
	}
	_, err = setup.Exec(ctx, "create table modes (client text, mode text, id int, unique (client, mode, id))")
	if err := setup.Close(ctx); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		fmt.Fprintln(out, "--", mode)
		config, err := pgx.ParseConfig(to.database)
		if err != nil {
			return err
		}
		config.DefaultQueryExecMode = mode
		config.StatementCacheCapacity, config.DescriptionCacheCapacity = 5, 5 // evicts all the time
		if err := pgxMode(ctx, config, out); err != nil {
			return err
		}
	}
	return pgxListens(ctx, to, out)
}

func pgxMode(ctx context.Context, config *pgx.ConnConfig, out io.Writer) error {
	var clients [2]*pgx.Conn
	for i, name := range []string{"first", "second"} {
		config.RuntimeParams["application_name"] = name
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		clients[i] = conn
	}
	for turn := range 30 {
		for i, conn := range clients {
			// The same number of parameters and other types: the wrong client's unnamed statement would give wrong rows.
			queries := []string{"select $1::int + 1, current_setting('application_name')", "select $1::text || 'x', current_setting('application_name')"}
			var got, name string
			rows, err := conn.Query(ctx, fmt.Sprintf("/* %d */ %s", turn%8, queries[i]), fmt.Sprint(turn))
			if err != nil {
				return err
			}
			for rows.Next() {
				values := rows.RawValues()
				got, name = fmt.Sprintf("%q", values[0]), string(values[1])
			}
			if rows.Err() != nil {
				return rows.Err()
			}
			err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "insert into modes values ($1, $2, $3)", name, config.DefaultQueryExecMode.String(), turn%20)
				return err
			})
			fmt.Fprintln(out, got, name, sqlState(err))
		}
	}
	conn := clients[0]
	batch := &pgx.Batch{}
	for i := range 10 {
		batch.Queue("select $1::int * 2", i)
	}
	batch.Queue("select 1 / $1::int", 0)
	results := conn.SendBatch(ctx, batch)
	for range 11 {
		var n int
		err := results.QueryRow().Scan(&n)
		fmt.Fprintln(out, n, sqlState(err))
	}
	_ = results.Close() // says the error again
	var (
		number int
		when   time.Time
		bytes  []byte
		list   []int
	)
	err := conn.QueryRow(ctx, "select $1::int, $2::timestamptz, $3::bytea, $4::int[]", 7, time.Unix(981173106, 0), []byte{0, 255}, []int{1, 2}).
		Scan(&number, &when, &bytes, &list)
	fmt.Fprintln(out, number, when.UTC(), bytes, list, err)
	return nil
}

// pgxListens waits for notifications of another client.
func pgxListens(ctx context.Context, to target, out io.Writer) error {
	fmt.Fprintln(out, "-- listen")
	conn, err := pgx.Connect(ctx, to.database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	other, err := pgx.Connect(ctx, to.notify)
	if err != nil {
		return err
	}
	defer other.Close(ctx)
	if _, err := conn.Exec(ctx, "listen news"); err != nil {
		return err
	}
	for i := range 3 {
		if _, err := other.Exec(ctx, "select pg_notify('news', $1)", fmt.Sprint(i)); err != nil {
			return err
		}
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, n.Channel, n.Payload)
	}
	return nil
}
