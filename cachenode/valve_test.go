package cachenode

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// valve is what the connections of one node to others go through: they can be held up, each way, and cut.
type valve struct {
	mu     sync.Mutex
	shut   map[string]chan struct{} // by the address of the peer, for what comes from there behind "<"; closed when it opens again
	conns  map[net.Conn]string
	copies sync.WaitGroup
}

func newValve(t testing.TB) *valve {
	v := &valve{shut: map[string]chan struct{}{}, conns: map[net.Conn]string{}}
	t.Cleanup(func() {
		v.mu.Lock()
		for addr, ch := range v.shut {
			close(ch)
			delete(v.shut, addr)
		}
		v.mu.Unlock()
		v.cut("")
		v.copies.Wait()
	})
	return v
}

// dial is a Config.Dial.
func (v *valve) dial(ctx context.Context, addr string) (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	there, err := dialTCP(ctx, addr)
	if err != nil {
		return nil, err
	}
	mine, err := dialTCP(ctx, l.Addr().String())
	if err != nil {
		there.Close()
		return nil, err
	}
	here, err := l.Accept()
	if err != nil {
		there.Close()
		mine.Close()
		return nil, err
	}
	v.mu.Lock()
	v.conns[here], v.conns[there] = addr, addr
	v.mu.Unlock()
	v.copies.Go(func() { v.copy(addr, addr, here, there) })
	v.copies.Go(func() { v.copy(addr, "<"+addr, there, here) })
	return mine, nil
}

func (v *valve) copy(addr, way string, from, to net.Conn) {
	defer func() {
		from.Close()
		to.Close()
		v.mu.Lock()
		delete(v.conns, from)
		v.mu.Unlock()
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		v.mu.Lock()
		gate := v.shut[addr]
		if gate == nil {
			gate = v.shut[way]
		}
		v.mu.Unlock()
		if gate != nil {
			<-gate
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// hold stops everything to and from a peer, or only from it, for a while, and returns then.
func (v *valve) hold(addr string, how time.Duration) {
	gate := make(chan struct{})
	v.mu.Lock()
	v.shut[addr] = gate
	v.mu.Unlock()
	time.Sleep(how)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut[addr] == gate {
		delete(v.shut, addr)
		close(gate)
	}
}

// cut breaks the connections to a peer, all for "".
func (v *valve) cut(addr string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c, to := range v.conns {
		if addr == "" || to == addr {
			c.Close()
		}
	}
}
