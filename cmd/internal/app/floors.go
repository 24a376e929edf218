package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode"
	"github.com/outrigger-proxy/outrigger/pgpool"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

const (
	// floorBeat is how often each sibling is asked how far it has written, besides being told when something was.
	floorBeat = 250 * time.Millisecond
	// floorSilence is after how long without an answer a sibling counts as unheard: then reads go to the primary.
	floorSilence = time.Second
	// floorGlance is how often it is looked who is there and who is heard.
	floorGlance = 50 * time.Millisecond
	// floorRetry is the pause after a question that was not answered.
	floorRetry = 100 * time.Millisecond
)

// floorExchange tells siblings what was written here, and asks them: consistency cluster. It does nothing while nobody reads
// by floors.
type floorExchange struct {
	siblings *siblings
	floors   *pgpool.Floors
	log      *slog.Logger

	// Owned by run.
	tellers map[tellerKey]*teller
	running sync.WaitGroup
}

// tellerKey is one life of a member.
type tellerKey struct {
	name     string
	instance uint64
}

// teller is a goroutine that talks with one sibling.
type teller struct {
	cancel context.CancelFunc
	news   chan struct{} // one slot
	heard  atomic.Int64  // Unix nanoseconds of the last question that was answered
}

// exchange makes a floorExchange, and has siblings' questions answered.
func (s *siblings) exchange(floors *pgpool.Floors) *floorExchange {
	x := &floorExchange{siblings: s, floors: floors, log: s.log, tellers: make(map[tellerKey]*teller)}
	s.node.Answer(peer.Floors, func(_ context.Context, question []byte) []byte {
		if err := floors.Hear(question); err != nil {
			s.log.Warn("question of a sibling not understood", "error", err)
		}
		return floors.Tell()
	})
	return x
}

// run exchanges floors until ctx ends.
func (x *floorExchange) run(ctx context.Context) error {
	defer x.running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tick := time.NewTicker(floorGlance)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-x.floors.Changed():
			for _, t := range x.tellers {
				select {
				case t.news <- struct{}{}:
				default:
				}
			}
		case <-tick.C:
		}
		gone := x.meet(ctx)
		x.judge(gone)
	}
}

// meet sees to it that there is a teller for each sibling, if floors are in use. It tells whether siblings have gone.
func (x *floorExchange) meet(ctx context.Context) (gone bool) {
	there := make(map[tellerKey]bool)
	if view := x.siblings.members.View(); x.floors.Active() {
		for i := range view.Members {
			if i != view.Self {
				there[tellerKey{view.Members[i].Name, view.Members[i].Instance}] = true
			}
		}
	}
	for key, t := range x.tellers {
		if !there[key] {
			t.cancel()
			delete(x.tellers, key)
			gone = true
		}
	}
	for key := range there {
		if x.tellers[key] == nil {
			t := &teller{news: make(chan struct{}, 1)}
			telling, cancel := context.WithCancel(ctx)
			t.cancel = cancel
			x.tellers[key] = t
			x.running.Go(func() { x.tell(telling, t, key.name) })
		}
	}
	return gone
}

// judge says whether all siblings are heard. What one has written that is gone, for a crash or a farewell, is seen by a floor
// of our own.
func (x *floorExchange) judge(gone bool) {
	if !x.floors.Active() {
		return
	}
	for key, t := range x.tellers {
		if silent := time.Since(time.Unix(0, t.heard.Load())); silent > floorSilence {
			if x.floors.Seeing() {
				x.log.Warn("reads go to the primary: a member does not tell what it has written", "member", key.name)
			}
			x.floors.Blind()
			return
		}
	}
	if gone || !x.floors.Seeing() {
		x.floors.See()
	}
}

// tell talks with a sibling until ctx ends.
func (x *floorExchange) tell(ctx context.Context, t *teller, member string) {
	var line *cachenode.Line
	defer func() {
		if line != nil {
			line.Close()
		}
	}()
	for {
		wait := floorRetry
		if line != nil && !line.Alive() { // we may have seen this life of the member before the node has
			line.Close()
			line = nil
		}
		if line == nil {
			line = x.siblings.node.Line(member)
		}
		if line != nil && x.ask(ctx, line, t) {
			wait = floorBeat
		}
		select {
		case <-ctx.Done():
			return
		case <-t.news:
		case <-time.After(wait):
		}
	}
}

// ask asks a sibling once, and tells whether it was heard. One without a pooler has written nothing.
func (x *floorExchange) ask(ctx context.Context, line *cachenode.Line, t *teller) (heard bool) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, floorSilence)
	defer cancel()
	answer, err := line.Ask(ctx, peer.Floors, x.floors.Tell())
	if err == nil {
		err = x.floors.Hear(answer)
	}
	if err != nil && !errors.Is(err, cachenode.ErrNobodyAnswers) {
		x.log.Debug("sibling not heard", "error", err)
		return false
	}
	t.heard.Store(begun.UnixNano())
	return true
}
