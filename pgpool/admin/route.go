package admin

import (
	"strings"
)

// showRoutes counts decisions.
func showRoutes() command {
	return show("show routes", "How often what was sent to which side, and why.", []column[RouteCount]{
		text("database", func(r *RouteCount) string { return r.Database }),
		text("side", func(r *RouteCount) string { return r.Side }),
		text("reason", func(r *RouteCount) string { return r.Reason }),
		numeric("count", func(r *RouteCount) uint64 { return r.Count }),
	}, Source.Routes)
}

// showBatches counts units that shared a server, and why others did not.
func showBatches() command {
	return show("show batches", "What shared a server with others while clients waited, and why the rest did not.", []column[BatchCount]{
		text("database", func(b *BatchCount) string { return b.Database }),
		text("what", func(b *BatchCount) string { return b.What }),
		text("reason", func(b *BatchCount) string { return b.Reason }),
		numeric("count", func(b *BatchCount) uint64 { return b.Count }),
	}, Source.Batches)
}

// routeRow is a row of EXPLAIN ROUTE.
type routeRow struct{ item, value, detail string }

// explainRoute says where a statement would go if a client sent it now, outside a transaction.
func explainRoute() command {
	columns := []column[routeRow]{
		text("item", func(r *routeRow) string { return r.item }),
		text("value", func(r *routeRow) string { return r.value }),
		text("detail", func(r *routeRow) string { return r.detail }),
	}
	c := show("explain route", "Where a statement would go, and why not elsewhere.", columns, func(Source) []routeRow { return nil })
	c.args, c.tag = aStatement, "EXPLAIN"
	c.run = func(e env, r request) ([]row, error) {
		answer, err := e.src.Route(RouteQuestion{Database: r.arg, User: r.user, SQL: r.value})
		if err != nil {
			return nil, err
		}
		var rows []row
		for _, line := range answer.rows() {
			rows = append(rows, row{line.item, line.value, line.detail})
		}
		return rows, nil
	}
	return c
}

func (a *RouteAnswer) rows() []routeRow {
	list := []routeRow{
		{"database", a.Database, ""},
		{"user", a.User, ""},
		{"class", a.Class, ""},
		{"hint", a.Hint, ""},
		{"flags", strings.Join(a.Flags, ", "), ""},
	}
	for _, n := range a.Names {
		list = append(list, routeRow{n.Kind, n.Name, n.Verdict})
	}
	list = append(list, routeRow{"route", a.Route, a.RouteFrom}, routeRow{"side", a.Side, a.Reason})
	for _, s := range a.Servers {
		list = append(list, routeRow{"server", s.Addr, s.State})
	}
	return list
}

// addressee takes FOR user@database off the front of what follows EXPLAIN ROUTE: no SQL begins with FOR. Without a
// database or a statement, sql is empty.
func addressee(text string) (user, database, sql string) {
	rest, ok := cutWord(text, "for")
	if !ok {
		return "", "", text
	}
	database, rest, ok = cutName(rest)
	if ok && strings.HasPrefix(rest, "@") {
		user = database
		database, rest, ok = cutName(rest[1:])
	}
	if !ok || database == "" {
		return "", "", ""
	}
	return user, database, strings.TrimSpace(rest)
}

// cutWord takes a keyword and the space behind it off the front.
func cutWord(text, word string) (rest string, ok bool) {
	if len(text) <= len(word) || !strings.EqualFold(text[:len(word)], word) || !isBlank(text[len(word)]) {
		return text, false
	}
	return strings.TrimLeft(text[len(word):], blanks), true
}

// cutName takes a name off the front: in double quotes, or up to a space or @.
func cutName(text string) (name, rest string, ok bool) {
	if strings.HasPrefix(text, `"`) {
		n := quotedLen(text)
		if n == 0 {
			return "", text, false
		}
		return strings.ReplaceAll(text[1:n-1], `""`, `"`), text[n:], true
	}
	n := strings.IndexAny(text, blanks+"@")
	if n < 0 {
		n = len(text)
	}
	return text[:n], text[n:], n > 0
}
