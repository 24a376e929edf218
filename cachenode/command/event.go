package command

import (
	"strings"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
)

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
	EventModule                     // d: accepted, and never happens

	eventAll = EventGeneric | EventString | EventList | EventSet | EventHash | EventZSet | EventStream | EventExpired | EventEvicted | EventModule
)

// eventLetters are in the order that Redis writes them.
var eventLetters = []struct {
	letter byte
	class  Event
}{
	{'g', EventGeneric}, {'$', EventString}, {'l', EventList}, {'s', EventSet}, {'h', EventHash}, {'z', EventZSet},
	{'x', EventExpired}, {'e', EventEvicted}, {'t', EventStream}, {'d', EventModule}, {'n', EventNew}, {'K', EventKeyspace},
	{'E', EventKeyevent}, {'m', EventMissed},
}

// ParseEvents reads classes as the setting notify-keyspace-events has them.
func ParseEvents(s string) (set Event, ok bool) {
next:
	for i := range len(s) {
		if s[i] == 'A' {
			set |= eventAll
			continue
		}
		for _, l := range eventLetters {
			if l.letter == s[i] {
				set |= l.class
				continue next
			}
		}
		return 0, false
	}
	return set, true
}

// String writes them as Redis does.
func (e Event) String() string {
	var b strings.Builder
	if e&eventAll == eventAll {
		b.WriteByte('A')
		e &^= eventAll | EventNew // as Redis, which does not tell
	}
	for _, l := range eventLetters {
		if e&l.class != 0 {
			b.WriteByte(l.letter)
		}
	}
	return b.String()
}

// Wanted is e without the classes of events, if nobody hears of keys nor of events.
func (e Event) Wanted() Event {
	if e&(EventKeyspace|EventKeyevent) == 0 {
		return 0
	}
	return e
}

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

// created is told of new keys, by the Tx.
func (c *Context) created(k *store.Key) {
	c.Events = append(c.Events, Happened{EventNew, "new", *k})
}
