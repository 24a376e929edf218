package cachenode

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// startResponder starts a node that answers cancel requests by respond.
func startResponder(t *testing.T, respond Responder, join ...*testNode) *testNode {
	return startTuned(t, "responder", 2, func(*Config, *cluster.Config) {}, join...).answering(respond)
}

// answering is for tests: the map is written before any peer is there to ask.
func (n *testNode) answering(r Responder) *testNode {
	n.Answer(peer.Cancel, r)
	return n
}

// lineTo waits until n sees a member, and returns a line to it.
func lineTo(t *testing.T, n *testNode, member string) *Line {
	t.Helper()
	var l *Line
	waitFor(t, "a line to "+member, func() bool { l = n.Line(member); return l != nil })
	t.Cleanup(l.Close)
	return l
}

func TestQuestionsAndAnswers(t *testing.T) {
	t.Parallel()
	b := startResponder(t, func(_ context.Context, q []byte) []byte { return append([]byte("re: "), q...) })
	a := startNode(t, "asker", 1, b)
	l := lineTo(t, a, "responder")
	for _, q := range []string{"one", "", "three"} {
		answer, err := l.Ask(t.Context(), peer.Cancel, []byte(q))
		if err != nil || string(answer) != "re: "+q {
			t.Fatalf("%q was answered with %q, %v", q, answer, err)
		}
	}
	if l := a.Line("nobody"); l != nil {
		t.Error("there is a line to nobody")
	}
	back := lineTo(t, b, "asker") // which has no answer
	for range 2 {
		if _, err := back.Ask(t.Context(), peer.Cancel, nil); !errors.Is(err, ErrNobodyAnswers) {
			t.Errorf("a node without an answer says %v", err)
		}
	}
}

func TestQuestionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}, 2), make(chan struct{})
	b := startResponder(t, func(ctx context.Context, _ []byte) []byte {
		begun <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return []byte("late")
	})
	l := lineTo(t, startNode(t, "asker", 1, b), "responder")
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := l.Ask(ctx, peer.Cancel, nil); err == nil {
		t.Fatal("answered after its end")
	}
	close(release)
	if answer, err := l.Ask(t.Context(), peer.Cancel, nil); err != nil || string(answer) != "late" {
		t.Errorf("the next question was answered with %q, %v", answer, err)
	}
}

// Questions that nobody has time for are refused, not kept.
func TestQuestionsAreBounded(t *testing.T) {
	t.Parallel()
	var running atomic.Int32
	release := make(chan struct{})
	b := startResponder(t, func(ctx context.Context, _ []byte) []byte {
		running.Add(1)
		<-release
		return nil
	})
	a := startNode(t, "asker", 1, b)
	first := lineTo(t, a, "responder")
	b.asked.Store(maxAsked - 1)
	answered := make(chan error, 1)
	go func() {
		_, err := first.Ask(t.Context(), peer.Cancel, nil)
		answered <- err
	}()
	waitFor(t, "the last place to be taken", func() bool { return running.Load() == 1 })
	if _, err := lineTo(t, a, "responder").Ask(t.Context(), peer.Cancel, nil); !errors.Is(err, errTooMany) {
		t.Errorf("one question too many: %v", err)
	}
	close(release)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	waitFor(t, "the place to be free", func() bool { return b.asked.Load() == maxAsked-1 })
}

// A connection for questions carries no news: its end makes no client drop what it caches. See also inbound.Closed.
func TestLineToARestartedNode(t *testing.T) {
	t.Parallel()
	b := startResponder(t, func(context.Context, []byte) []byte { return nil })
	a := startNode(t, "asker", 1, b)
	l := lineTo(t, a, "responder")
	if _, err := l.Ask(t.Context(), peer.Cancel, nil); err != nil {
		t.Fatal(err)
	}
	b.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := l.Ask(ctx, peer.Cancel, nil); err == nil {
		t.Error("a node that has stopped has answered")
	}
	waitFor(t, "the line to end", func() bool { return !l.Alive() })
}
