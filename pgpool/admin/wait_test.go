package admin

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"
)

// until waits for a condition, at most ten seconds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: " + what)
		}
		time.Sleep(time.Millisecond)
	}
}

// end returns what Serve returned.
func (w *wire) end() error {
	w.t.Helper()
	select {
	case err := <-w.done:
		return err
	case <-time.After(10 * time.Second):
		w.t.Fatal("Serve does not return")
		return nil
	}
}

// TestPauseWaits checks that a command which waits keeps only its own session.
func TestPauseWaits(t *testing.T) {
	for _, verb := range []string{"pause", "wait_close"} {
		f := &fake{paused: make(chan struct{})}
		w, other := newWire(t, Admin, f), newWire(t, Admin, f)
		w.ready()
		other.ready()
		w.send(&pgproto3.Query{String: verb + " shop"}, &pgproto3.Query{String: "show version"})
		until(t, verb+" has begun", func() bool { return f.log() == verb+"(shop)…" })
		other.send(&pgproto3.Query{String: "show version"})
		if got := other.ready(); got != "T1/0 D C:SHOW Z" {
			t.Errorf("other session: %s", got)
		}
		close(f.paused)
		if got, want := w.ready(), "C:"+strings.ToUpper(verb)+" Z"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := w.ready(); got != "T1/0 D C:SHOW Z" {
			t.Errorf("what was sent meanwhile: %s", got)
		}
	}
}

// TestLeaveEndsWait checks that a command which waits ends when the client leaves: politely, or not, and also in the
// extended protocol, where more messages follow the one that waits.
func TestLeaveEndsWait(t *testing.T) {
	pause := []pgproto3.FrontendMessage{&pgproto3.Query{String: "pause"}}
	extended := []pgproto3.FrontendMessage{&pgproto3.Parse{Query: "pause"}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{}}
	tests := []struct {
		name string
		send []pgproto3.FrontendMessage
		quit func(w *wire)
	}{
		{"closes", pause, func(w *wire) { w.nc.Close() }},
		{"terminates", pause, func(w *wire) { w.send(&pgproto3.Terminate{}) }},
		{"extended", extended, func(w *wire) { w.nc.Close() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{paused: make(chan struct{})}
			w := newWire(t, Admin, f)
			w.ready()
			w.send(tt.send...)
			until(t, "PAUSE has begun", func() bool { return f.log() == "pause()…" })
			tt.quit(w)
			if err := w.end(); err != nil {
				t.Error("Serve:", err)
			}
			if f.log() != "pause()… left pause()" {
				t.Error(f.log())
			}
		})
	}
}

// TestEndOfConsole checks that Serve ends with its context, whatever it is at.
func TestEndOfConsole(t *testing.T) {
	for _, sql := range []string{"", "pause"} {
		ctx, cancel := context.WithCancel(t.Context())
		f := &fake{paused: make(chan struct{})}
		w := newWireIn(ctx, t, Admin, f)
		w.ready()
		if sql != "" {
			w.send(&pgproto3.Query{String: sql})
			until(t, "PAUSE has begun", func() bool { return f.log() != "" })
		}
		cancel()
		if err := w.end(); err != nil {
			t.Errorf("%q: Serve: %v", sql, err)
		}
	}
}

// TestShutdown checks that SHUTDOWN is answered by the end of the connection, its other forms at once.
func TestShutdown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{}
	w := newWireIn(ctx, t, Admin, f)
	w.ready()
	w.send(&pgproto3.Query{String: "shutdown wait_for_clients"})
	if got := w.ready(); got != "C:SHUTDOWN Z" {
		t.Errorf("got %s", got)
	}
	w.send(&pgproto3.Query{String: "shutdown"})
	until(t, "SHUTDOWN has begun", func() bool { return f.log() == "shutdown(2) shutdown(0)" })
	cancel()
	if err := w.end(); err != nil {
		t.Error("Serve:", err)
	}
	if m, err := w.fe.Receive(); err == nil {
		t.Errorf("answered with %s", word(m))
	}
}

// TestSuspendEnds checks that nobody stays suspended when the one who could resume has left.
func TestSuspendEnds(t *testing.T) {
	f := &fake{}
	w := newWire(t, Admin, f)
	w.ready()
	w.send(&pgproto3.Query{String: "suspend"}, &pgproto3.Terminate{})
	if got := w.ready(); got != "C:SUSPEND Z" {
		t.Errorf("got %s", got)
	}
	if err := w.end(); err != nil || f.log() != "suspend() resume()" {
		t.Errorf("%s, error %v", f.log(), err)
	}
	// Another session sees to it that there is nothing to resume.
	f = &fake{}
	w = newWire(t, Admin, f)
	w.ready()
	w.send(&pgproto3.Query{String: "suspend"})
	w.ready()
	f.mu.Lock()
	f.state.Suspended = false
	f.mu.Unlock()
	w.send(&pgproto3.Terminate{})
	if err := w.end(); err != nil || f.log() != "suspend()" {
		t.Errorf("%s, error %v", f.log(), err)
	}
}

// TestBackPressure checks that a client which sends while its command waits is not read without end.
func TestBackPressure(t *testing.T) {
	f := &fake{paused: make(chan struct{})}
	w := newWire(t, Admin, f)
	w.ready()
	w.send(&pgproto3.Query{String: "pause"})
	until(t, "PAUSE has begun", func() bool { return f.log() == "pause()…" })
	big := &pgproto3.Query{String: strings.Repeat(" ", maxMessage-100)}
	sent := 0
	b, _ := big.Encode(nil)
	w.nc.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for ; sent < 100; sent++ {
		if _, err := w.nc.Write(b); err != nil {
			break
		}
	}
	if sent > readAhead+1 {
		t.Errorf("%d messages were read", sent)
	}
	close(f.paused)
}
