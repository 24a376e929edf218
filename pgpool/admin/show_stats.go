package admin

import "time"

func showStats() []command {
	total, avg := totalFigures(), averageFigures()
	return []command{
		show("show stats", "What each database did, since the start and on average over the latest period.",
			statColumns(append(named(total, inStats), named(avg, inStats)...)), Source.Stats),
		show("show stats_totals", "What each database did since the start.", statColumns(named(total, inPart)), Source.Stats),
		show("show stats_averages", "What each database did on average over the latest period.",
			statColumns(named(avg, inPart)), Source.Stats),
		show("show totals", "What all databases did together.", []column[totalRow]{
			text("name", func(r *totalRow) string { return r.name }),
			numeric("value", func(r *totalRow) uint64 { return r.value }),
		}, totals),
	}
}

// figure is a number about a database. PgBouncer's names for it differ from command to command.
type figure struct {
	inStats  string // SHOW STATS
	inPart   string // SHOW STATS_TOTALS or STATS_AVERAGES
	inTotals string // SHOW TOTALS
	of       func(*Stat) uint64
}

func totalFigures() []figure {
	return []figure{
		{"total_server_assignment_count", "server_assignment_count", "total_server_assignment_count", func(s *Stat) uint64 { return s.Total.ServerAssignments }},
		{"total_xact_count", "xact_count", "total_xact_count", func(s *Stat) uint64 { return s.Total.Xacts }},
		{"total_query_count", "query_count", "total_query_count", func(s *Stat) uint64 { return s.Total.Queries }},
		{"total_received", "bytes_received", "total_client_bytes", func(s *Stat) uint64 { return s.Total.Received }},
		{"total_sent", "bytes_sent", "total_server_bytes", func(s *Stat) uint64 { return s.Total.Sent }},
		{"total_xact_time", "xact_time", "total_xact_time", func(s *Stat) uint64 { return each(s.Total.XactTime, 1) }},
		{"total_query_time", "query_time", "total_query_time", func(s *Stat) uint64 { return each(s.Total.QueryTime, 1) }},
		{"total_wait_time", "wait_time", "total_wait_time", func(s *Stat) uint64 { return each(s.Total.WaitTime, 1) }},
		{"total_client_parse_count", "client_parse_count", "total_ps_client_parse_count", func(s *Stat) uint64 { return s.Total.ClientParses }},
		{"total_server_parse_count", "server_parse_count", "total_ps_server_parse_count", func(s *Stat) uint64 { return s.Total.ServerParses }},
		{"total_bind_count", "bind_count", "total_ps_bind_count", func(s *Stat) uint64 { return s.Total.Binds }},
	}
}

// averageFigures are counts and bytes for each second of the period, and times in microseconds for each transaction,
// query or assignment in it.
func averageFigures() []figure {
	return []figure{
		{"avg_server_assignment_count", "server_assignment_count", "avg_server_assignment_count", func(s *Stat) uint64 { return s.perSecond(s.Period.ServerAssignments) }},
		{"avg_xact_count", "xact_count", "avg_xact_count", func(s *Stat) uint64 { return s.perSecond(s.Period.Xacts) }},
		{"avg_query_count", "query_count", "avg_query_count", func(s *Stat) uint64 { return s.perSecond(s.Period.Queries) }},
		{"avg_recv", "bytes_received", "avg_client_bytes", func(s *Stat) uint64 { return s.perSecond(s.Period.Received) }},
		{"avg_sent", "bytes_sent", "avg_server_bytes", func(s *Stat) uint64 { return s.perSecond(s.Period.Sent) }},
		{"avg_xact_time", "xact_time", "avg_xact_time", func(s *Stat) uint64 { return each(s.Period.XactTime, s.Period.Xacts) }},
		{"avg_query_time", "query_time", "avg_query_time", func(s *Stat) uint64 { return each(s.Period.QueryTime, s.Period.Queries) }},
		{"avg_wait_time", "wait_time", "avg_wait_time", func(s *Stat) uint64 { return each(s.Period.WaitTime, s.Period.ServerAssignments) }},
		{"avg_client_parse_count", "avg_client_parse_count", "avg_ps_client_parse_count", func(s *Stat) uint64 { return s.perSecond(s.Period.ClientParses) }},
		{"avg_server_parse_count", "avg_server_parse_count", "avg_ps_server_parse_count", func(s *Stat) uint64 { return s.perSecond(s.Period.ServerParses) }},
		{"avg_bind_count", "avg_bind_count", "avg_ps_bind_count", func(s *Stat) uint64 { return s.perSecond(s.Period.Binds) }},
	}
}

func inStats(f figure) string { return f.inStats }

func inPart(f figure) string { return f.inPart }

func named(figures []figure, name func(figure) string) []column[Stat] {
	var columns []column[Stat]
	for _, f := range figures {
		columns = append(columns, numeric(name(f), f.of))
	}
	return columns
}

func statColumns(figures []column[Stat]) []column[Stat] {
	return append([]column[Stat]{text("database", func(s *Stat) string { return s.Database })}, figures...)
}

// totalRow is a row of SHOW TOTALS.
type totalRow struct {
	name  string
	value uint64
}

func totals(src Source) []totalRow {
	var sum Stat
	for _, s := range src.Stats() {
		sum.Total = sum.Total.plus(s.Total)
		sum.Period = sum.Period.plus(s.Period)
		sum.PeriodLength = max(sum.PeriodLength, s.PeriodLength)
	}
	var rows []totalRow
	for _, f := range append(totalFigures(), averageFigures()...) {
		rows = append(rows, totalRow{f.inTotals, f.of(&sum)})
	}
	return rows
}

func (s *Stat) perSecond(n uint64) uint64 {
	if s.PeriodLength <= 0 {
		return 0
	}
	return uint64(float64(n) / s.PeriodLength.Seconds())
}

// each divides a sum of times by a count, in microseconds.
func each(sum time.Duration, n uint64) uint64 {
	if n == 0 {
		return 0
	}
	return uint64(max(sum, 0).Microseconds()) / n
}
