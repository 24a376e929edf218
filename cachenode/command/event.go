package command

import "github.com/outrigger-proxy/outrigger/cachenode/store"

// Event is a set of classes of keyspace events (Redis documentation, "Redis keyspace notifications").
type Event uint16

// The classes, with Redis's letters.
const (
	EventKeyspace Event = 1 << iota // K
	EventKeyevent                   // E
	EventGeneric                    // g
	EventString                     // $
	EventList                       // l
	EventSet                        // s
	EventHash                       // h
	EventZSet                       // z
	EventStream                     // t
	EventExpired                    // x
	EventEvicted                    // e
	EventMissed                     // m
	EventNew                        // n
)

// Happened is one event: what happened to a key, in stored form. Key is valid as long as the arguments are.
type Happened struct {
	Class Event
	Name  string
	Key   store.Key
}

// event notes that name has happened to key i. It costs a comparison where nobody wants to know.
func (c *Context) event(class Event, name string, i int) {
	if c.Notify&class != 0 {
		c.Events = append(c.Events, Happened{class, name, c.keys[i]})
	}
}
