// HOT PATH

package pgpool

import (
	"sync/atomic"
	"time"
)

// waitList is a pool's queue of clients. The clients of one user are served in the order in which they came, and users in
// turn, so that one with a thousand clients does not keep another waiting for more than one unit of each.
type waitList struct {
	lines map[string]*line // of users who have clients here
	next  *line            // in a ring; whose turn it is
	spare *line            // one that is empty, for reuse
	n     int
	load  *atomic.Int32 // counts the clients of all lists to a server
}

// line is the queue of one user.
type line struct {
	user       string
	head, tail *client
	prev, next *line
}

func (l *waitList) push(c *client) {
	q := l.lines[c.user.Value()]
	if q == nil {
		q = l.open(c.user.Value())
	}
	c.prev, c.next = q.tail, nil
	if q.tail != nil {
		q.tail.next = c
	} else {
		q.head = c
	}
	q.tail = c
	l.n++
	l.load.Add(1)
}

// open adds a line whose turn comes last.
func (l *waitList) open(user string) *line {
	q := l.spare
	if l.spare = nil; q == nil {
		q = &line{}
	}
	q.user = user
	if l.lines == nil {
		l.lines = make(map[string]*line)
	}
	l.lines[user] = q
	if l.next == nil {
		q.prev, q.next = q, q
		l.next = q
		return q
	}
	q.prev, q.next = l.next.prev, l.next
	q.prev.next, q.next.prev = q, q
	return q
}

// close takes out a line that is empty.
func (l *waitList) close(q *line) {
	delete(l.lines, q.user)
	if q.next == q {
		l.next = nil
	} else {
		q.prev.next, q.next.prev = q.next, q.prev
		if l.next == q {
			l.next = q.next
		}
	}
	*q = line{}
	l.spare = q
}

// pop takes out the client that is next. The list must not be empty.
func (l *waitList) pop() *client {
	c := l.next.head
	l.next = l.next.next
	l.remove(c)
	return c
}

// first is the client that is next. The list must not be empty.
func (l *waitList) first() *client { return l.next.head }

func (l *waitList) remove(c *client) {
	q := l.lines[c.user.Value()]
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		q.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		q.tail = c.prev
	}
	c.prev, c.next = nil, nil
	l.n--
	l.load.Add(-1)
	if q.head == nil {
		l.close(q)
	}
}

// prefer takes c, who came last, to the head of its user's line: it has waited before.
func (l *waitList) prefer(c *client) {
	q := l.lines[c.user.Value()]
	if q.head == c {
		return
	}
	q.tail, c.prev.next = c.prev, nil
	c.prev, c.next = nil, q.head
	q.head.prev, q.head = c, c
}

// longest is for how long the client that came first has waited.
func (l *waitList) longest(now time.Time) time.Duration {
	var longest time.Duration
	for _, q := range l.lines {
		longest = max(longest, now.Sub(q.head.since))
	}
	return longest
}

// each calls fn for every client; fn may take it out.
func (l *waitList) each(fn func(c *client)) {
	if l.n == 0 {
		return
	}
	for _, q := range l.lines {
		for c := q.head; c != nil; {
			next := c.next
			fn(c)
			c = next
		}
	}
}
