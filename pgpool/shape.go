// HOT PATH

package pgpool

import (
	"bytes"
	"time"

	"github.com/cespare/xxhash/v2"
)

// shape is what texts have in common that differ in nothing but their literals, and how they have run of late. Only what
// is known to be short and small shares a server with others (batch.go).
type shape struct {
	runs   int   // that were measured, up to learned
	best   least // of the time that a server takes, in microseconds: when it has little else to do
	time   high  // in general
	reply  high  // of the answer's bytes
	barred bool  // it has done what it was not thought to do, or shows what a batch changes
	recent bool  // the second chance in the table's eviction
}

// learned is how many runs tell enough about a shape.
const learned = 8

// high is what most values are below of late: all but one in fifty.
type high float32

func (h *high) note(v float32, first bool) {
	if first {
		*h = high(v)
		return
	}
	// A step up is 49 times one down, so that it stays where one value in fifty is above. Far off it is longer yet.
	if step := max(*h, 1) / 200; high(v) > *h {
		*h += max(49*step, (high(v)-*h)/4)
	} else {
		*h -= step
	}
}

// least is the least value of the last ten to twenty seconds.
type least struct {
	value, next float32
	since       time.Time
}

const leastFor = 10 * time.Second

func (l *least) note(v float32, now time.Time) {
	if age := now.Sub(l.since); age > leastFor {
		if l.value = l.next; age > 2*leastFor {
			l.value = v
		}
		l.next, l.since = v, now
	}
	l.value, l.next = min(l.value, v), min(l.next, v)
}

// ran notes a run.
func (h *shape) ran(took time.Duration, reply int, now time.Time) {
	first, us := h.runs == 0, float32(took)/float32(time.Microsecond)
	h.best.note(us, now)
	h.time.note(us, first)
	h.reply.note(float32(reply), first)
	h.runs = min(h.runs+1, learned)
}

// stretch is how many times as long as the best a run took.
func (h *shape) stretch(took time.Duration) float32 {
	return float32(took) / float32(time.Microsecond) / max(h.best.value, 1)
}

var statementTime = []byte("statement_timestamp")

const (
	// maxShapes bounds a worker's table of shapes.
	maxShapes = 4 << 10
	// shapeText is how much of a text tells its shape, in bytes.
	shapeText = 1 << 10
)

// shapes finds the shape of a statement.
type shapes struct {
	byKey map[uint64]*shape
	room  [shapeText]byte
}

// of returns the shape of st.
func (t *shapes) of(st *statement) *shape {
	if st.shape == nil {
		st.shape = t.find(textOf([]byte(st.body)))
	}
	st.shape.recent = true
	return st.shape
}

func (t *shapes) find(text []byte) *shape {
	key := xxhash.Sum64(generalise(t.room[:0], text))
	h := t.byKey[key]
	if h != nil {
		return h
	}
	if t.byKey == nil {
		t.byKey = make(map[uint64]*shape)
	}
	if len(t.byKey) >= maxShapes {
		t.evict()
	}
	// A batch is one transaction: now() is that of its first unit, and only this tells.
	h = &shape{barred: bytes.Contains(bytes.ToLower(text), statementTime)}
	t.byKey[key] = h
	return h
}

// evict forgets a shape that was not asked for lately.
func (t *shapes) evict() {
	var last uint64
	for key, old := range t.byKey { // in random order
		if !old.recent && !old.barred {
			delete(t.byKey, key)
			return
		}
		if old.recent = false; last == 0 || !old.barred {
			last = key
		}
	}
	delete(t.byKey, last)
}

// generalise appends a text without its literals to out, as far as that has room. It need not understand every text: what
// it takes for the same is measured as one.
func generalise(out, text []byte) []byte {
	for i := 0; i < len(text) && len(out) < cap(out); {
		b := text[i]
		end := i + 1
		switch {
		case b == '\'':
			escapes := i > 0 && text[i-1]|0x20 == 'e'
			for ; end < len(text); end++ {
				if text[end] == '\\' && escapes {
					end++
				} else if text[end] == '\'' {
					if end++; end >= len(text) || text[end] != '\'' {
						break
					}
				}
			}
			b = '?'
		case b >= '0' && b <= '9' && (i == 0 || !wordByte(text[i-1])):
			for end < len(text) && (wordByte(text[end]) || text[end] == '.') {
				end++
			}
			b = '?'
		case b == '"': // a name, digits and all
			for end < len(text) && text[end] != '"' {
				end++
			}
			end = min(end+1, len(text))
			out = append(out, text[i:min(end, i+cap(out)-len(out))]...)
			i = end
			continue
		}
		out = append(out, b)
		i = end
	}
	return out
}

// wordByte tells whether b may be part of a name or a number.
func wordByte(b byte) bool {
	return b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z' || b == '_' || b == '$' || b >= 0x80
}
