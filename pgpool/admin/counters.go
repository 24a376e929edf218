package admin

import "time"

// Counters are sums over one database.
type Counters struct {
	ServerAssignments uint64 // times that a client was given a server
	Xacts, Queries    uint64
	Received, Sent    uint64 // bytes, from and to clients

	XactTime, QueryTime time.Duration // servers were busy with transactions, with queries
	WaitTime            time.Duration // clients waited for a server

	ClientParses, ServerParses, Binds uint64 // of named prepared statements
}

// Since returns what was added since c was old. What has become less began anew, and counts as nothing.
func (c Counters) Since(old Counters) Counters {
	return c.with(old,
		func(a, b uint64) uint64 { return a - min(a, b) },
		func(a, b time.Duration) time.Duration { return max(0, a-b) })
}

func (c Counters) plus(o Counters) Counters {
	return c.with(o,
		func(a, b uint64) uint64 { return a + b },
		func(a, b time.Duration) time.Duration { return a + b })
}

// with combines each counter with the other's.
func (c Counters) with(o Counters, count func(a, b uint64) uint64, sum func(a, b time.Duration) time.Duration) Counters {
	return Counters{
		ServerAssignments: count(c.ServerAssignments, o.ServerAssignments),
		Xacts:             count(c.Xacts, o.Xacts),
		Queries:           count(c.Queries, o.Queries),
		Received:          count(c.Received, o.Received),
		Sent:              count(c.Sent, o.Sent),
		XactTime:          sum(c.XactTime, o.XactTime),
		QueryTime:         sum(c.QueryTime, o.QueryTime),
		WaitTime:          sum(c.WaitTime, o.WaitTime),
		ClientParses:      count(c.ClientParses, o.ClientParses),
		ServerParses:      count(c.ServerParses, o.ServerParses),
		Binds:             count(c.Binds, o.Binds),
	}
}
