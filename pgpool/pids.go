package pgpool

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Sessions by process id.
//
// The process id that a client is told at login (BackendKeyData) is the pooler's: in the course of its life the client
// has many servers. A statement that names sessions by process id – it calls pg_terminate_backend or pg_blocking_pids, or
// reads pg_stat_activity or pg_locks – means the process that the session has at that time. So in such statements, and in
// no others, the ids of living clients are replaced by those of the servers that they have, in the text and in bound
// values. An id of a client without a server, or with one of another host's, stays: no process has it. The other way round a notification carries the id
// of the client that the notifying process served last, so that a client recognises its own.

// firstPID is below all ids that are given to clients, and above what an operating system gives to processes (Linux:
// PID_MAX_LIMIT is 1<<22).
const firstPID = 1 << 30

// pidDigits is the length of ids from firstPID up to the largest 32-bit integer.
const pidDigits = 10

// process is one that works for clients. Process ids are unique at one address only.
type process struct {
	addr string // Server.id
	pid  uint32
}

// serverPID returns the process at addr that does the work of the client with this id, or id.
func (p *Pooler) serverPID(id uint32, addr string) uint32 {
	if id < firstPID {
		return id
	}
	p.mu.Lock()
	k := p.keys[id]
	if k != nil && k.twin != nil {
		k = nil // it might be either
	}
	p.mu.Unlock()
	if k == nil {
		return id
	}
	if runs := k.owner.process(); runs != nil && runs.addr == addr {
		return runs.pid
	}
	return id
}

// clientPID returns what the client that a server process served last is known by, or its own id if it is none of ours.
func (p *Pooler) clientPID(of process) uint32 {
	p.mu.Lock()
	s := p.backends[of]
	p.mu.Unlock()
	if s == nil {
		return of.pid
	}
	if id := s.served.Load(); id != 0 {
		return id
	}
	return of.pid
}

// notifies puts a client's id into a NotificationResponse.
func (s *server) notifies(frame []byte) {
	if body := frame[pgwire.HeaderLen:]; len(body) >= 4 {
		from := process{s.addr, binary.BigEndian.Uint32(body)}
		binary.BigEndian.PutUint32(body, s.pool.w.pooler.clientPID(from))
	}
}

func (p *Pooler) addBackend(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backends[s.process] = s
}

func (p *Pooler) removeBackend(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.backends[s.process] == s {
		delete(p.backends, s.process)
	}
}

// serverPIDs replaces clients' ids in text for the server at addr.
func (p *Pooler) serverPIDs(text []byte, addr string) (out []byte, changed bool) {
	from := 0
	for i := 0; i < len(text); i++ {
		if !isDigit(text[i]) {
			continue
		}
		start := i
		for i < len(text) && isDigit(text[i]) {
			i++
		}
		if i-start != pidDigits || start > 0 && isNamePart(text[start-1]) {
			continue
		}
		id, err := strconv.ParseInt(string(text[start:i]), 10, 32)
		if err != nil {
			continue
		}
		if pid := p.serverPID(uint32(id), addr); pid != uint32(id) {
			out = append(out, text[from:start]...)
			out = strconv.AppendUint(out, uint64(pid), 10)
			from, changed = i, true
		}
	}
	return append(out, text[from:]...), changed
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// isNamePart tells whether a digit behind b belongs to a name, a parameter or a fraction.
func isNamePart(b byte) bool {
	return b|0x20 >= 'a' && b|0x20 <= 'z' || b == '_' || b == '$' || b == '.' || b >= 0x80
}

// withServerPIDs returns st, or the statement that is like it but for the ids in its text.
func (c *client) withServerPIDs(st *statement, addr string) *statement {
	end := bytes.IndexByte([]byte(st.body), 0)
	if end < 0 {
		return st
	}
	text, changed := c.w.pooler.serverPIDs([]byte(st.body[:end]), addr)
	if !changed {
		return st
	}
	return c.w.texts.find(append(text, st.body[end:]...), c.set.searchPath())
}

// boundPIDs replaces clients' ids in the values of a Bind: in those in text, and in binary integers. b is the message
// from the formats of the parameters on. What is malformed is left for the server to refuse.
func (p *Pooler) boundPIDs(b []byte, addr string) (out []byte, changed bool) {
	if len(b) < 2 {
		return b, false
	}
	formats := int(binary.BigEndian.Uint16(b))
	at := 2 + 2*formats
	if len(b) < at+2 {
		return b, false
	}
	count := int(binary.BigEndian.Uint16(b[at:]))
	at += 2
	from := 0
	for i := range count {
		if len(b) < at+4 {
			return b, false
		}
		size := int(int32(binary.BigEndian.Uint32(b[at:])))
		if size < 0 {
			at += 4
			continue
		}
		if len(b)-at-4 < size {
			return b, false
		}
		value := b[at+4 : at+4+size]
		if own, yes := p.boundPID(value, isBinary(b, formats, i), addr); yes {
			out = append(out, b[from:at]...)
			out = binary.BigEndian.AppendUint32(out, uint32(len(own)))
			out = append(out, own...)
			from, changed = at+4+size, true
		}
		at += 4 + size
	}
	return append(out, b[from:]...), changed
}

// isBinary tells the format of parameter i of a Bind (PostgreSQL documentation, "Message Formats").
func isBinary(b []byte, formats, i int) bool {
	switch {
	case formats == 0:
		return false
	case formats == 1:
		i = 0
	case i >= formats:
		return false
	}
	return binary.BigEndian.Uint16(b[2+2*i:]) == 1
}

func (p *Pooler) boundPID(value []byte, inBinary bool, addr string) (own []byte, changed bool) {
	if !inBinary {
		return p.serverPIDs(value, addr)
	}
	switch len(value) {
	case 4:
		id := binary.BigEndian.Uint32(value)
		pid := p.serverPID(id, addr)
		return binary.BigEndian.AppendUint32(nil, pid), pid != id
	case 8:
		id := binary.BigEndian.Uint64(value)
		pid := uint64(p.serverPID(uint32(id), addr))
		return binary.BigEndian.AppendUint64(nil, pid), id>>32 == 0 && pid != id
	}
	own = bytes.Clone(value)
	for i := 4; i+4 <= len(own); i++ { // elements of an array: each has its length in front (array_send in arrayfuncs.c)
		if binary.BigEndian.Uint32(own[i-4:]) != 4 {
			continue
		}
		if id := binary.BigEndian.Uint32(own[i:]); id >= firstPID {
			pid := p.serverPID(id, addr)
			binary.BigEndian.PutUint32(own[i:], pid)
			changed = changed || pid != id
		}
	}
	return own, changed
}
