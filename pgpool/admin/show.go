package admin

import (
	"fmt"
	"net"
	"strings"
	"time"
)

// show returns a command that lists rows.
func show[T any](name, help string, columns []column[T], list func(Source) []T) command {
	c := command{name: name, role: Stats, help: help, tag: "SHOW"}
	for _, col := range columns {
		c.fields = append(c.fields, col.field)
	}
	c.run = func(e env, _ request) ([]row, error) {
		items := list(e.src)
		rows := make([]row, len(items))
		for i := range items {
			rows[i] = make(row, 0, len(columns))
			for _, col := range columns {
				rows[i] = append(rows[i], col.value(&items[i]))
			}
		}
		return rows, nil
	}
	return c
}

// none is what a command lists that PgBouncer has, but of which there is nothing here.
func none(Source) []struct{} { return nil }

// showHelp lists the table in rows. PgBouncer sends a notice instead, which not every client shows.
func showHelp(table func() []command) command {
	columns := []column[command]{
		text("command", func(c *command) string { return strings.ToUpper(c.name) + usage[c.args] }),
		text("users", func(c *command) string { return c.role.setting() }),
		text("help", func(c *command) string { return c.help }),
	}
	return show("show help", "This list.", columns, func(Source) []command {
		var listed []command
		for _, c := range table() {
			if c.help != "" {
				listed = append(listed, c)
			}
		}
		return listed
	})
}

func textColumns(name string) []column[string] {
	return []column[string]{text(name, func(s *string) string { return *s })}
}

func seconds(d time.Duration) int { return int(d / time.Second) }

func micros(d time.Duration) int { return int(d % time.Second / time.Microsecond) }

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// pointer stands in for the address that PgBouncer shows; all that it is good for is to find a connection's other side.
func pointer(id uint64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("%#x", id)
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 MST")
}

// shorten makes an SQL text fit for a table: one line, at most 200 characters.
func shorten(sql string) string {
	const limit = 200
	cut := sql[:min(len(sql), 8*limit)] // enough for limit characters after a few spaces
	short := []rune(strings.Join(strings.Fields(strings.ToValidUTF8(cut, "?")), " "))
	if len(short) > limit {
		return string(short[:limit-1]) + "…"
	}
	if len(cut) < len(sql) {
		return string(short) + "…"
	}
	return string(short)
}

func host(a net.Addr) string {
	switch a := a.(type) {
	case nil:
		return ""
	case *net.TCPAddr:
		return a.IP.String()
	case *net.UnixAddr:
		return "unix"
	default:
		return a.String()
	}
}

func port(a net.Addr) int {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}
