package cachenode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// Other parts of the process have something to say to their like in other nodes: the pooler passes cancel requests on, and
// tells what was written. They borrow what nodes have: a listener, a greeting that tells strangers apart, encryption. Their
// questions go over connections of their own, so that none waits behind commands, and each may take its time.

const (
	// askTimeout bounds a question and its answer.
	askTimeout = 10 * time.Second
	// maxAsked is how many questions of peers are answered at once. Those beyond are not.
	maxAsked = 256
	// maxAnswer bounds questions and answers in bytes.
	maxAnswer = 1 << 20
)

// ErrNobodyAnswers means that a node has no part that such questions are for. errTooMany means that it has no time for one.
var (
	ErrNobodyAnswers = errors.New("nobody there answers such questions")
	errTooMany       = errors.New("it answers too many other questions")
)

// Responder answers questions of one type. It may block until ctx ends; question is its own to keep. Its answer has at most
// 1 MiB; nil is an answer too.
type Responder func(ctx context.Context, question []byte) (answer []byte)

// Answer has questions of type t, of other nodes, answered by r. It must be called before Run.
func (n *Node) Answer(t peer.Type, r Responder) { n.responders[t] = r }

// Line is a connection to another node for questions, one at a time. Its methods are for one goroutine.
type Line struct {
	n    *Node
	to   *remote
	nc   *greeted // nil: none yet
	id   uint64
	sent []byte
}

// Line returns a line to the member with this name, nil if there is none in sight besides ourselves. Nothing is dialled yet.
func (n *Node) Line(member string) *Line {
	if to := n.placement.Load().find(member); to != nil {
		return &Line{n: n, to: to}
	}
	return nil
}

// Alive tells whether the node that the line leads to is still a member, and the same one.
func (l *Line) Alive() bool { return l.n.placement.Load().alive(l.to) }

// Ask sends a question, of 1 MiB at most, and waits for the answer, which is the caller's. After an error the next question
// dials again.
func (l *Line) Ask(ctx context.Context, t peer.Type, question []byte) (answer []byte, err error) {
	if t.Since() > l.to.version {
		return nil, fmt.Errorf("ask %s: %w", l.to.name, errOlder)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if l.nc == nil {
		if l.nc, err = l.n.dial(ctx, l.to); err != nil {
			return nil, err
		}
	}
	if l.nc.version < t.Since() {
		return nil, fmt.Errorf("ask %s: %w", l.to.name, errOlder)
	}
	nc := l.nc // which Close forgets
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	answer, err = l.exchange(t, question)
	if !stop() || err != nil && err != ErrNobodyAnswers && err != errTooMany { // a deadline of the past may yet be set
		l.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", l.to.name, err)
	}
	return answer, nil
}

func (l *Line) exchange(t peer.Type, question []byte) ([]byte, error) {
	l.id++
	l.sent = peer.Append(l.sent[:0], peer.Frame{Type: t, ID: l.id, Epoch: l.n.placement.Load().epoch, Body: question})
	if _, err := l.nc.Write(l.sent); err != nil {
		return nil, err
	}
	f, err := readFrame(l.nc, nil, maxAnswer)
	switch {
	case err != nil:
		return nil, err
	case f.ID != l.id || f.Type != peer.Answer:
		return nil, fmt.Errorf("frame of type %d in answer to one of type %d", f.Type, t)
	case f.Flags&peer.FlagNobody != 0:
		return nil, ErrNobodyAnswers
	case f.Flags&peer.FlagTooMany != 0:
		return nil, errTooMany
	}
	return f.Body, nil
}

// Close hangs up. It may be called again.
func (l *Line) Close() {
	if l.nc != nil {
		l.nc.Close()
		l.nc = nil
	}
}

// asked answers a question of a peer, in a goroutine of its own: it may take long.
func (w *worker) asked(in *inbound, f *peer.Frame) error {
	in.silent = true
	n := w.n
	respond := n.responders[f.Type]
	if len(f.Body) > maxAnswer {
		return peer.ErrBody
	}
	refuse := func(why uint8) { in.send(peer.Answer, why, f.ID, nil) }
	if respond == nil {
		refuse(peer.FlagNobody)
		return nil
	}
	if n.asked.Add(1) > maxAsked {
		n.asked.Add(-1)
		refuse(peer.FlagTooMany)
		return nil
	}
	id, question := f.ID, append([]byte(nil), f.Body...)
	started := n.spawn(func() {
		defer n.asked.Add(-1)
		ctx, cancel := context.WithTimeout(n.lifetime, askTimeout)
		defer cancel()
		answer := respond(ctx, question)
		w.loop.Post(func() { in.send(peer.Answer, 0, id, answer) })
	})
	if !started {
		n.asked.Add(-1)
		refuse(peer.FlagTooMany)
	}
	return nil
}
