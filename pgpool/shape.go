// HOT PATH

package pgpool

import (
	"time"

	"github.com/cespare/xxhash/v2"
)

// shape is what texts have in common that differ in nothing but their literals, and how they have run of late. Only what
// is known to be short and small shares a server with others (batch.go).
type shape struct {
	runs   uint32   // that were measured
	time   estimate // a server's, in microseconds
	reply  estimate // in bytes
	barred bool     // it has done what it was not thought to do
	recent bool     // the second chance in the table's eviction
}

// learned is how many runs tell enough about a shape.
const learned = 8

// estimate follows values of which the old count less and less.
type estimate struct {
	low  float32 // one value in five is below it,
	high float32 // and one in fifty above
}

func (e *estimate) note(v float32, first bool) {
	if first {
		e.low, e.high = v, v
		return
	}
	// A step to the rarer side is as much longer as it is rarer. Far off, it is longer yet.
	if step := max(e.high, 1) / 200; v > e.high {
		e.high += max(49*step, (v-e.high)/4)
	} else {
		e.high -= step
	}
	if step := max(e.low, 1) / 50; v < e.low {
		e.low -= max(4*step, (e.low-v)/4)
	} else {
		e.low += step
	}
}

// ran notes a run.
func (h *shape) ran(took time.Duration, reply int) {
	first := h.runs == 0
	h.time.note(float32(took)/float32(time.Microsecond), first)
	h.reply.note(float32(reply), first)
	h.runs = min(h.runs+1, learned)
}

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
	h = &shape{}
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
		old.recent = false
		last = key
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
