package pgpool

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// randomPair is where random scripts are played.
type randomPair struct {
	direct, pooled string // databases
	pooler         *testPooler
	alike          bool // all sessions have the same settings
}

// name is the application_name of a client.
func (of randomPair) name(me int) string {
	if of.alike {
		return "anybody"
	}
	return fmt.Sprintf("c%d", me)
}

// reset returns what takes the tables of a client back to how they began, on both sides. It is to be called whenever no
// script of the client is being played.
func (of randomPair) reset(t *testing.T, me int) func() error {
	t.Helper()
	conns := []*pgx.Conn{directTo(t, of.direct), directTo(t, of.pooled)}
	sql := strings.ReplaceAll(`create schema if not exists alt@; create table if not exists alt@.t@(id int primary key, s text);
		delete from alt@.t@; insert into alt@.t@ values (1, 'c@-alt');
		delete from t@; insert into t@ select g, 'c@-' || g from generate_series(1, 9) g; delete from k@`, "@", fmt.Sprint(me))
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		for _, c := range conns {
			if _, err := c.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	}
}

// tiedToReplica is what a read-only transaction on a replica is told of what it would leave there.
var tiedToReplica = onReplicaOnly.with().Message

// refused finds the errors about statements and failed transactions, of which one may stand for another.
var refused = regexp.MustCompile(`^E ERROR (25P02|26000|42P05|08P01 bind message) .*`)

// play plays a script of client me to both sides. It returns how many steps were equal, and how the next one differs.
func (of randomPair) play(me int, script []step, cut func(int) int, patience time.Duration) (played int, diff string) {
	d, err := newDiffer(of.pooler, of.direct, of.pooled, cut, "application_name", of.name(me))
	if err != nil {
		return 0, err.Error()
	}
	defer d.close()
	d.direct.me, d.pooled.me = me, me
	d.direct.patience, d.pooled.patience = patience, patience
	for i, s := range script {
		diff := d.randomStep(s)
		if strings.Contains(diff, tiedToReplica) {
			return i, "" // known difference: it has come too late to go to the primary
		}
		if diff != "" {
			return i, diff
		}
	}
	return len(script), ""
}

// randomStep is step, but for which of several reasons a message was refused. When there are many, which one comes first
// depends on what the pooler had to send before it: in a failed transaction it cannot prepare a statement again, and it
// looks for a name in use before the text is looked at. Of a name for a text it may tell another one.
func (d *differ) randomStep(s step) string {
	endless := slices.ContainsFunc(s, func(m message) bool { return bytes.Contains(m.body, []byte("pg_sleep")) })
	side := func(w *wire, cut func(int) int) (seen, same []string) {
		if endless {
			defer w.cancelSoon()()
		}
		seen = normalise(w.play(s, cut))
		for _, line := range seen {
			if endless && line[0] != 'E' && line[0] != 'Z' {
				continue // who is cancelled while it waits for a server has not even begun
			}
			same = append(same, refused.ReplaceAllString(line, "E ERROR refused"))
		}
		return seen, same
	}
	direct, want := side(d.direct, whole)
	pooled, got := side(d.pooled, d.cut)
	if !slices.Equal(want, got) {
		return fmt.Sprintf("sent   %s\ndirect %s\npooled %s", lines(s), lines(direct), lines(pooled))
	}
	d.pooled.hear(len(d.direct.heard))
	if !slices.Equal(d.direct.heard, d.pooled.heard) {
		return fmt.Sprintf("sent   %s\nnotified directly: %v\nthrough the pooler: %v", lines(s), d.direct.heard, d.pooled.heard)
	}
	if !maps.Equal(d.direct.params, d.pooled.params) {
		return fmt.Sprintf("sent   %s\nparameters reported directly: %v\nthrough the pooler: %v", lines(s), d.direct.params, d.pooled.params)
	}
	return ""
}

// hear reads until n notifications have come, which may be later than the answers.
func (w *wire) hear(n int) {
	w.nc.SetReadDeadline(time.Now().Add(w.patience))
	for len(w.heard) < n {
		if m, err := w.read(); err != nil || w.take(m) != nil {
			return
		}
	}
}

// cancelSoon sends cancel requests again and again: one that comes before its query has no effect. The function that it
// returns ends that.
func (w *wire) cancelSoon() (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(30 * time.Millisecond):
				w.cancel()
			}
		}
	})
	return func() { close(done); running.Wait() }
}

// cancel sends a cancel request and waits until it is through.
func (w *wire) cancel() {
	nc, err := net.Dial("tcp", w.nc.RemoteAddr().String())
	if err != nil {
		return
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	nc.Write(pgwire.AppendCancelRequest(nil, w.pid, w.key))
	io.Copy(io.Discard, nc)
}

// whose finds the clients' identities in rows.
var whose = regexp.MustCompile(`\bc(\d+)\b`)

// stranger reports what in m is another client's.
func (w *wire) stranger(m message) string {
	if w.me < 0 {
		return ""
	}
	for _, id := range whose.FindAllSubmatch(m.body, -1) {
		if n, _ := strconv.Atoi(string(id[1])); n != w.me {
			return fmt.Sprintf("client %d is sent %v", w.me, m)
		}
	}
	return ""
}

// vandalise sends some of a script and leaves, without a word or in the middle of one, perhaps cancelling something. All
// that can be said of what it is sent is that nothing of it is anybody else's.
func (r randomScript) vandalise(t *testing.T, of randomPair) (sent int) {
	w, err := wireTo(of.pooler.addr, of.pooled, "application_name", of.name(r.me))
	if err != nil {
		t.Errorf("vandal %d: %v", r.me, err)
		return 0
	}
	defer w.nc.Close()
	if r.IntN(2) == 0 {
		w.nc.(*net.TCPConn).SetLinger(0)
	}
	w.me = r.me
	script := r.script()[:1+r.IntN(4)]
	if r.IntN(4) == 0 {
		script[0] = r.endless()
	}
	var b []byte
	for _, s := range script {
		for _, m := range s {
			b = append(b, m.encode()...)
		}
	}
	w.nc.SetDeadline(time.Now().Add(patience))
	if _, err := w.nc.Write(b[:r.IntN(len(b)+1)]); err != nil {
		return 0 // ended for what it sent
	}
	var cancelling sync.WaitGroup
	if r.IntN(3) == 0 {
		later := time.Duration(r.IntN(5)) * time.Millisecond
		cancelling.Go(func() { time.Sleep(later); w.cancel() })
	}
	w.nc.SetReadDeadline(time.Now().Add(time.Duration(r.IntN(15)) * time.Millisecond))
	for {
		m, err := w.read()
		if err != nil {
			break
		}
		if other := w.stranger(m); other != "" {
			t.Errorf("vandal: %s", other)
		}
	}
	if r.IntN(2) == 0 {
		cancelling.Wait()
	}
	w.nc.Close()
	cancelling.Wait()
	return len(script)
}

// randomFailure is the first difference that was found.
type randomFailure struct {
	happened atomic.Bool

	// written by whoever set happened
	me     int
	round  uint64
	script []step // up to the step that differs
	cut    func(int) int
	diff   string
}

func (f *randomFailure) note(me int, round uint64, script []step, cut func(int) int, diff string) {
	if f.happened.CompareAndSwap(false, true) {
		f.me, f.round, f.script, f.cut, f.diff = me, round, script, cut, diff
	}
}

// shrinkFor bounds the search for a shorter script.
const shrinkFor = time.Minute

// shrunk describes the failure, by a shorter script if the client fails alone.
func (f *randomFailure) shrunk(t *testing.T, of randomPair) string {
	own := of.reset(t, f.me)
	end := time.Now().Add(shrinkFor)
	fails := func(script []step) string {
		for range 3 {
			if err := own(); err != nil {
				t.Log(err)
				return ""
			}
			_, diff := of.play(f.me, script, f.cut, time.Second)
			if direct, _, _ := strings.Cut(diff, "\npooled "); strings.Contains(direct, "\n\t! ") {
				return "" // what is left is no script
			}
			if diff != "" || time.Now().After(end) {
				return diff
			}
		}
		return ""
	}
	report := fmt.Sprintf("client %d, round %d, step %d: %s", f.me, f.round, len(f.script)-1, f.diff)
	script := f.script
	diff := fails(script)
	if diff == "" {
		return report + "\nnot repeated by the client alone; before it: " + lines(script[:len(script)-1])
	}
	for shorter := true; shorter && time.Now().Before(end); {
		shorter = false
		for _, candidate := range shorterScripts(script) {
			if d := fails(candidate); d != "" {
				script, diff, shorter = candidate, d, true
				break
			}
		}
	}
	return report + "\nthe client alone fails with " + lines(script) + "\nwhere it " + diff
}

// shorterScripts are what is left of a script when a step, or a message that no other needs, is taken out.
func shorterScripts(script []step) (shorter [][]step) {
	for i := range script {
		shorter = append(shorter, slices.Delete(slices.Clone(script), i, i+1))
	}
	for i, s := range script {
		for j, m := range s {
			switch {
			case m.typ == pgwire.Bind || m.typ == pgwire.CopyData || m.typ == pgwire.CopyDone || m.typ == pgwire.CopyFail:
				continue
			case (m.typ == pgwire.Execute || m.typ == pgwire.Query) && j+1 < len(s) && s[j+1].typ == pgwire.CopyData:
				continue
			case j == len(s)-1: // what has the rest answered
				continue
			}
			next := slices.Clone(script)
			next[i] = slices.Delete(slices.Clone(s), j, j+1)
			shorter = append(shorter, next)
		}
	}
	return shorter
}
