package load

import (
	"bytes"
	"fmt"
	"strconv"
)

// language is a protocol of caches, as far as strings need it. Keys have 20 bytes.
type language interface {
	appendGet(b []byte, k key) []byte
	appendSet(b []byte, k key, value []byte) []byte
	// listener counts as one answer what answers so many commands.
	listener(commands int) listener
}

// key is the text of one.
type key [20]byte

// digits fills text with those of n.
func digits(text []byte, n int) {
	for i := range text {
		text[len(text)-1-i] = byte('0' + n%10)
		n /= 10
	}
}

// redis is RESP.
type redis struct{}

func (redis) appendGet(b []byte, k key) []byte {
	b = append(b, "*2\r\n$3\r\nGET\r\n$20\r\n"...)
	return append(append(b, k[:]...), '\r', '\n')
}

func (redis) appendSet(b []byte, k key, value []byte) []byte {
	b = append(b, "*3\r\n$3\r\nSET\r\n$20\r\n"...)
	b = append(append(b, k[:]...), "\r\n$"...)
	b = append(strconv.AppendInt(b, int64(len(value)), 10), '\r', '\n')
	return append(append(b, value...), '\r', '\n')
}

func (redis) listener(commands int) listener {
	return &lineListener{commands: commands, read: func(line []byte) (body int, last, refused bool) {
		switch {
		case line[0] == '$' && line[1] != '-':
			return length(line[1:]), true, false
		case line[0] == '+':
			return none, true, false
		}
		return none, true, true // an error, or a key that is missing
	}}
}

// olric is RESP with Olric's own commands.
type olric struct{ redis }

func (olric) appendGet(b []byte, k key) []byte {
	b = append(b, "*3\r\n$6\r\nDM.GET\r\n$5\r\nbench\r\n$20\r\n"...)
	return append(append(b, k[:]...), '\r', '\n')
}

func (olric) appendSet(b []byte, k key, value []byte) []byte {
	b = append(b, "*4\r\n$6\r\nDM.PUT\r\n$5\r\nbench\r\n$20\r\n"...)
	b = append(append(b, k[:]...), "\r\n$"...)
	b = append(strconv.AppendInt(b, int64(len(value)), 10), '\r', '\n')
	return append(append(b, value...), '\r', '\n')
}

// ascii is memcached's older protocol.
type ascii struct{}

func (ascii) appendGet(b []byte, k key) []byte {
	return append(append(append(b, "get "...), k[:]...), '\r', '\n')
}

func (ascii) appendSet(b []byte, k key, value []byte) []byte {
	b = append(append(append(b, "set "...), k[:]...), " 0 0 "...)
	b = append(strconv.AppendInt(b, int64(len(value)), 10), '\r', '\n')
	return append(append(b, value...), '\r', '\n')
}

func (ascii) listener(commands int) listener {
	found := false // a value came, and its END is still to come
	return &lineListener{commands: commands, read: func(line []byte) (body int, last, refused bool) {
		switch {
		case bytes.HasPrefix(line, []byte("VALUE ")):
			found = true
			return length(line[bytes.LastIndexByte(line, ' ')+1:]), false, false
		case string(line) == "END" && found, string(line) == "STORED":
			found = false
			return none, true, false
		}
		return none, true, true
	}}
}

// none says that no body follows a line.
const none = -1

// length reads the length of a body; what is no number is none.
func length(text []byte) int {
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' || n > 1<<30 {
			return none
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// lineListener follows answers that begin with a line, behind which may be a body of a length that the line tells.
type lineListener struct {
	commands int
	// read looks at a line, without its end: how long the body behind it is, whether the answer ends with it, and whether it is
	// none that was hoped for.
	read func(line []byte) (body int, last, refused bool)

	line    [128]byte // one that has begun, as much as is of interest
	have    int
	skip    int // bytes of a body and its end that are still to come
	ends    bool
	done    int // commands of the request that are answered
	refused bool
}

func (l *lineListener) feed(b []byte) (ready int, failed bool, err error) {
	for {
		n := min(l.skip, len(b))
		l.skip, b = l.skip-n, b[n:]
		if l.skip > 0 {
			return ready, failed, nil
		}
		if l.ends {
			l.ends = false
			if l.done++; l.done == l.commands {
				ready, failed = ready+1, failed || l.refused
				l.done, l.refused = 0, false
			}
		}
		end := bytes.IndexByte(b, '\n')
		piece := b
		if end >= 0 {
			piece = b[:end+1]
		}
		l.have += copy(l.line[l.have:], piece)
		if end < 0 {
			return ready, failed, nil
		}
		b = b[end+1:]
		line := bytes.TrimRight(l.line[:l.have], "\r\n")
		l.have = 0
		if len(line) < 2 {
			return ready, failed, fmt.Errorf("a line %q", line)
		}
		body, last, refused := l.read(line)
		l.ends, l.refused = last, l.refused || refused
		if body != none {
			l.skip = body + len("\r\n")
		}
	}
}
