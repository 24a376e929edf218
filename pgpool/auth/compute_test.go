package auth

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/xdg-go/scram"
)

// However many want to compute, no more than half of the processors do.
func TestComputationsAreBounded(t *testing.T) {
	limit := int64(max(1, runtime.GOMAXPROCS(0)/2))
	if int64(cap(computing)) != limit {
		t.Fatalf("room for %d, want %d", cap(computing), limit)
	}
	var now, most atomic.Int64
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			err := compute(t.Context(), func() {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				runtime.Gosched()
				now.Add(-1)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most.Load() > limit {
		t.Fatalf("%d at a time, want at most %d", most.Load(), limit)
	}
}

// fillComputing takes all room until the test, or the function returned, gives it back.
func fillComputing(t *testing.T) {
	for range cap(computing) {
		computing <- struct{}{}
	}
	t.Cleanup(func() {
		for range cap(computing) {
			<-computing
		}
	})
}

// Both ways of logging in wait for room, and leave when they are told to.
func TestWaitingForRoomEnds(t *testing.T) {
	fillComputing(t)
	reason := errors.New("shutting down")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(reason)

	x, err := NewCredentials("ann", "opensesame").newExchange([]byte(mechanismSCRAM+"\x00\x00"), scram.ChannelBinding{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.answer(ctx, []byte("r=x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")); !errors.Is(err, reason) {
		t.Errorf("towards a server: %v", err)
	}

	ours, theirs := net.Pipe()
	defer ours.Close()
	done := make(chan error, 1)
	a := mustNew(t, Config{Users: mustUsers(t, `"dora" "`+verifierOfPencil+`"`)})
	go func() {
		_, err := a.Authenticate(ctx, Client{Conn: theirs, User: "dora"})
		done <- err
	}()
	readMessage(ours)
	ours.Write(initialResponse(mechanismSCRAM, "n,,n=,r=abc"))
	readMessage(ours)
	ours.Write(appendMessage(nil, 'p', []byte("c=biws,r=abc,p=AAAA")))
	if err := <-done; !errors.Is(err, reason) {
		t.Errorf("towards a client: %v", err)
	}
}

// A login with a stored verifier derives nothing, whether or not the user exists: the work is a few hashes.
func BenchmarkLogin(b *testing.B) {
	users := mustUsers(b, `"dora" "`+verifierOfPencil+`"`)
	a := mustNew(b, Config{Users: users})
	b.Run("work=derive", func(b *testing.B) {
		plain := Users{"ann": {Kind: SecretPassword, text: "opensesame"}}
		for b.Loop() {
			mustNew(b, Config{Users: plain})
		}
	})
	known := NewCredentials("dora", "pencil") // remembers its keys
	stranger := NewCredentials("stranger", "pencil")
	b.Run("work=login/user=known", func(b *testing.B) {
		for b.Loop() {
			if _, err, _ := logIn(b, a, known); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("work=login/user=stranger", func(b *testing.B) {
		for b.Loop() {
			if _, err, _ := logIn(b, a, stranger); err == nil {
				b.Fatal("let in")
			}
		}
	})
}
