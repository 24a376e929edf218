// HOT PATH

package pgpool

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// When all servers of a pool are busy, clients wait. A server that becomes free then takes the units of several of them in
// one write and with one Sync, behind the last, and each client gets its own answers: one wake-up, one transaction and one
// write of the server for many queries. The units are a batch. It must never show, so all of them are plain reads that are
// known to be short: whatever happens to a server, to the client whose turn it is, or to its unit, that and those behind it
// are run again elsewhere, and nobody can tell. A simple Query becomes a Parse, Bind, Describe and Execute of the same text:
// no text ever stands behind another client's.
//
// While its unit is in a batch a client has that server, as it would alone. The server's own client is the one whose
// answers come next: the head. Those behind it ride.

// Batching says whether units of several clients share a server.
type Batching uint8

// The ways to do so.
const (
	BatchingOff  Batching = iota
	BatchingAuto          // when clients wait, and what they wait with is known to be short
	batchingAll           // whatever may share does: for tests
)

var batchingNames = [...]string{BatchingOff: "off", BatchingAuto: "auto"}

func (b Batching) String() string {
	if int(b) < len(batchingNames) {
		return batchingNames[b]
	}
	return "all"
}

// ParseBatching reads the name of a Batching.
func ParseBatching(s string) (Batching, error) {
	for b, name := range batchingNames {
		if s == name {
			return Batching(b), nil
		}
	}
	return 0, fmt.Errorf("unknown batching %q: use auto or off", s)
}

// solo is why a unit has a server to itself.
type solo uint8

// The reasons.
const (
	soloNot         solo = iota
	soloOff              // batches are off, or servers are lent for sessions
	soloState            // its client has left something on its server, or has other settings than the server
	soloTransaction      // it is in a transaction
	soloWrite            // it is no plain read
	soloForm             // it prepares a statement, is too long, or others of its client stand behind it
	soloStatement        // the server may not have its statement
	soloAgain            // it is run again
	soloUnknown          // too little is known of its shape
	soloSlow             // that takes too long,
	soloLarge            // or has long answers,
	soloBarred           // or has surprised us
	soloAlone            // nobody else waits
	solos
)

var soloNames = [solos]string{soloNot: "shared", soloOff: "off", soloState: "session state", soloTransaction: "transaction", soloWrite: "not a plain read",
	soloForm: "form", soloStatement: "not prepared", soloAgain: "run again", soloUnknown: "unknown shape", soloSlow: "slow", soloLarge: "large answer",
	soloBarred: "barred", soloAlone: "nobody waits"}

func (w solo) String() string { return soloNames[w] }

const (
	// maxShared bounds a unit in a batch, in bytes: one write is to take them all.
	maxShared = 4 << 10
	// maxAnswers bounds what is thought to be the answers to a batch: a server sends them at once when they fill its buffer
	// (PqSendBufferSize in pqcomm.c) or at the Sync, and an answer that has gone out in part cannot be run again.
	maxAnswers = 8 << 10
	// slack is how many times batch_max_time a run may take when the server has much to do. The limit itself is for what a
	// run takes when it has not: a server with many busy connections makes all of them slow, and that batches mend.
	slack = 16
	// patienceOfRiders is how long a batch may say nothing, besides what its units are known to take when the server has much
	// to do.
	patienceOfRiders = 100 * time.Millisecond
)

// seat is whether a client's unit is in a batch.
type seat uint8

const (
	seatNone   seat = iota
	seatTaken       // it is being sent
	seatAboard      // it is sent: what the client sends next waits
)

// rider is a unit behind the head's.
type rider struct {
	client  *client // nil: it has left
	unit    []byte
	counted bool // in standing.busy
}

// batchCounts counts since the start.
type batchCounts struct {
	batches, units uint64 // that shared a server
	taken          uint64 // off, to be run elsewhere
	surprises      uint64
	alone          [solos]uint64 // units that waited for a server and had it to themselves
}

// full tells whether units ride behind the head's.
func (s *server) full() bool { return s.seated < len(s.riders) }

// rides tells whether the client's unit is behind another's.
func (c *client) rides() bool { return c.server != nil && c.server.client != c }

// solo says why the unit that the client waits with cannot share s, or a server like it, if that is nil.
func (c *client) solo(s *server) solo {
	st, limits := c.unit, c.policy
	switch {
	case limits.Batching == BatchingOff || limits.BatchMax < 2 || limits.Mode == SessionMode:
		return soloOff
	case c.status != pgwire.Idle || c.tx != nil:
		return soloTransaction
	case c.serializable(), c.hearsLog(): // whose reads may fail at the end of their transaction; who would hear of a batch
		return soloState
	case c.keeps() || c.midUnit || c.inFlight > 0 || c.stalled || c.conn.Congested() || s != nil && !s.set.equal(c.set):
		return soloState
	case len(c.replay) > 0:
		return soloAgain
	case st == nil || st.class.Class != classify.Read || st.class.Statements != 1 || st.class.Flags != 0 || st.token != nil || !c.onlyReads(st) || c.suspects(st):
		return soloWrite
	case !c.compact:
		return soloForm
	case st.name != "" && s != nil && s.stmts.unsettled(st):
		return soloStatement
	}
	h := c.w.shapes.of(st)
	switch {
	case h.barred:
		return soloBarred
	case limits.Batching == batchingAll:
		return soloNot
	case h.runs < learned:
		return soloUnknown
	case h.best.value > float32(limits.BatchMaxTime/time.Microsecond) || h.time > slack*high(limits.BatchMaxTime/time.Microsecond):
		return soloSlow
	case h.reply > high(limits.BatchMaxReply):
		return soloLarge
	}
	return soloNot
}

// onlyReads tells whether st is a plain read, wherever it is to run.
func (c *client) onlyReads(st *statement) bool {
	return c.plain || c.byNames(st, st.decide()) == decision{true, forRead}
}

// suspects tells whether st may, for all that is known, leave something in its session or in its transaction.
func (c *client) suspects(st *statement) bool {
	known := c.group.shared.catalog.Load()
	if !known.hasHazards() {
		return false
	}
	t := st.traced(known)
	return known.unsure() || known.hidden || t.any() || t.kinds&traceLocal != 0
}

// reread is where the unit goes that is taken off a batch: where it was to run before.
func (c *client) reread() decision {
	if c.plain {
		return decision{true, forRead}
	}
	return decision{why: forRoute}
}

// depth is how many units the server that is given out next takes. Servers come first: as long as one is free, or may
// still be had, and does some good, everybody has one to himself.
func (p *pool) depth() int {
	limits := p.group.shared.policy.Load()
	switch {
	case limits.Batching == BatchingOff:
		return 1
	case limits.Batching == batchingAll:
		return limits.BatchMax
	case p.lanes.width == 0 && int(p.slots.used.Load()) < p.size(limits):
		return 1
	}
	others := p.lanes.left(len(p.free))
	return min(limits.BatchMax, (p.waiting.n+others)/(others+1))
}

// share sends the unit of the server's client and, behind it, those of up to n-1 more who wait.
func (s *server) share(n int) {
	c, p := s.client, s.pool
	why := c.solo(s)
	if why == soloNot {
		s.takesLane()
	}
	room := budget{time: c.policy.BatchMaxTime, reply: maxAnswers}
	switch {
	case why != soloNot:
	case n < 2 || p.waiting.n == 0:
		why = soloAlone
	case !s.fresh():
		why = soloState
	case !room.takes(c) || p.waiting.first().solo(s) != soloNot:
		why = soloAlone
	}
	if why != soloNot {
		p.group.batched.alone[why]++
		c.pump()
		return
	}
	s.riders, s.seated, s.hurried = s.riders[:0], 0, false
	s.patience = patienceOfRiders + c.patience()
	s.joined, s.tentative, c.seat = true, true, seatTaken
	c.pump()
	for n--; n > 0 && p.waiting.n > 0 && c.seat == seatAboard && s.fresh() && s.takes(p.waiting.first(), &room); n-- {
		r := p.waiting.pop()
		r.pool = nil
		s.patience += r.patience()
		s.board(r)
	}
	if s.conn.Closing() {
		return
	}
	if c.seat != seatAboard { // solo has overlooked something
		s.unforeseen()
		return
	}
	s.conn.Write(syncMessage)
	s.expect(expectation{kind: kindSync, action: swallow})
	p.group.batched.batches++
	p.group.batched.units += 1 + uint64(len(s.riders))
	p.w.watchBatch(s)
}

// budget is what is left for a batch, by what is known of shapes: of time, because nobody has his answer before the last,
// and of bytes.
type budget struct {
	time  time.Duration
	reply high
}

// takes tells whether the client's unit fits in, and takes it off. Where everything is shared, so is what does not fit.
func (b *budget) takes(c *client) bool {
	h := c.w.shapes.of(c.unit)
	b.time -= time.Duration(h.best.value * float32(time.Microsecond))
	b.reply -= h.reply
	return b.time >= 0 && b.reply >= 0 || c.policy.Batching == batchingAll
}

// patience is how long the client's unit may take.
func (c *client) patience() time.Duration {
	return time.Duration(float32(c.w.shapes.of(c.unit).time) * float32(time.Microsecond))
}

// takes tells whether the unit of r, who waits, can go behind those that the server has.
func (s *server) takes(r *client, room *budget) bool {
	return s.conn.Queued() < maxShared*4 && r.solo(s) == soloNot && (!r.reads || r.mayReadAt(s.pool)) && room.takes(r)
}

// unforeseen gives a server up with which a batch has done what it was not thought to do.
func (s *server) unforeseen() {
	s.pool.group.batched.surprises++
	s.pool.w.pooler.log.LogAttrs(context.Background(), slog.LevelError, "a statement that was taken for a plain read is none", serverAttrs(s.pool, s, errSurprise)...)
	s.blameless = true
	s.lost(errSurprise)
}

// asPart sends a simple Query in the shape in which it can be one of many. e is what its answer would be.
func (s *server) asPart(query []byte, e expectation) {
	text := query[pgwire.HeaderLen:]
	b := s.conn.Buffer(len(text) + 64)
	b = append(pgwire.AppendHeader(b, pgwire.Parse, 1+len(text)+2), 0)
	b = append(append(b, text...), 0, 0)
	s.conn.SetBuffer(append(b, runUnnamed...))
	s.expect(expectation{kind: kindParse, action: swallow, unnamed: true, prevOf: s.unnamed})
	s.expect(expectation{kind: kindBind, action: swallow})
	s.expect(expectation{kind: kindDescribe, simple: true})
	s.expect(expectation{kind: kindExecute})
	s.expect(expectation{kind: kindSync, action: synthesise, wrote: e.wrote, tx: e.tx, leaves: e.leaves, set: e.set})
}

// runUnnamed is what a simple Query means behind its Parse ("Simple Query", PostgreSQL documentation, "Message Flow").
var runUnnamed = []byte{
	pgwire.Bind, 0, 0, 0, 4 + 8, 0, 0, 0, 0, 0, 0, 0, 0,
	pgwire.Describe, 0, 0, 0, 4 + 2, 'P', 0,
	pgwire.Execute, 0, 0, 0, 4 + 5, 0, 0, 0, 0, 0,
}

// failsBatch is called when a unit of a batch has failed: the server skips all that is left of it. That unit still ends
// here; those behind it run again elsewhere.
func (s *server) failsBatch() {
	if c := s.client; c != nil {
		h := c.w.shapes.of(c.unit)
		h.runs = 0
		s.ran = slices.DeleteFunc(s.ran, func(m measured) bool { return m.shape == h })
	}
	s.disperse()
	n, own := s.owed.n-1, 0
	for s.owed.at(own).kind != kindSync {
		own++
	}
	c := s.client
	s.client = nil // what is undone of theirs is only the server's: they send it again
	for i := n - 1; i > own; i-- {
		s.undo(s.owed.at(i), true)
		s.owed.remove(i)
	}
	s.client = c
	s.undoUnit(own)
	for range own {
		s.owed.pop()
	}
}

// fresh tells whether nothing of what was sent to the server changes what it is for the next client.
func (s *server) fresh() bool {
	return !s.due.any() && !s.leaves && !s.unproven && !s.opening && !s.restoring && len(s.inspections) == 0 && s.cancels == 0 && s.status == pgwire.Idle &&
		!s.conn.Closing() && !s.conn.Congested()
}

// board sends the unit of r behind those that the server has.
func (s *server) board(r *client) {
	p, head, unit, tentative := s.pool, s.client, s.unit, s.tentative
	if n := len(s.riders); n < cap(s.riders) {
		s.riders = s.riders[:n+1]
	} else {
		s.riders = append(s.riders, rider{})
	}
	slot := &s.riders[len(s.riders)-1]
	p.stats.assigned++
	p.stats.waitTime += uint64(p.w.loop.Now().Sub(r.since).Microseconds())
	s.client, s.unit, s.tentative = r, slot.unit[:0], true // so that the unit is kept
	r.server, r.last = s, s
	r.granted, r.notified, r.renewable, r.seat = true, false, false, seatTaken
	r.pump()
	slot.client, slot.unit, slot.counted = r, s.unit, s.readOnly
	if slot.counted {
		p.standing.busy.Add(1)
	}
	s.client, s.unit, s.tentative = head, unit, tentative
	if r.seat != seatAboard && !s.conn.Closing() { // solo has overlooked something
		s.unforeseen()
	}
}

// alight is called when a unit of a batch is answered: the server goes over to the next client.
func (s *server) alight() {
	c, unit, again := s.client, s.unit, s.repeat
	if c != nil && !again && (c.keeps() || s.due.any()) {
		s.surprise(c)
		return
	}
	if c != nil {
		s.pool.account(s)
		c.seat, c.server = seatNone, nil
		c.runsOn.Store(nil)
	}
	s.repeat, s.tentative, s.wrote = false, false, false
	s.early = s.early[:0]
	s.next()
	switch {
	case c == nil:
	case again:
		if old := s.outdated; old != nil {
			s.outdated = nil
			c.renew(old)
		}
		if c.repeat(unit, c.reread()); c.pool != nil {
			c.pool.waiting.prefer(c)
		}
	default:
		c.released()
	}
}

// next makes the next rider the server's client. Who has left leaves an orphan.
func (s *server) next() {
	s.client = nil
	if s.full() {
		r := s.nextSeat()
		s.client, r.client = r.client, nil
		s.unit, r.unit = r.unit, s.unit[:0]
	}
	s.readOn() // it was the other's fault
	c := s.client
	if s.orphan = c == nil; s.orphan {
		s.uncount()
		return
	}
	if s.readOnly {
		s.count()
	}
	s.leftover = 0
	s.tentative, s.alone = true, c.plain && !s.readOnly
	s.lentAt = s.pool.w.loop.Now()
	c.runsOn.Store(&s.process)
	s.served.Store(c.pid)
}

// nextSeat returns the next of those who ride. There must be one.
func (s *server) nextSeat() *rider {
	r := &s.riders[s.seated]
	s.seated++
	s.uncountRider(r)
	return r
}

func (s *server) uncountRider(r *rider) {
	if r.counted {
		s.pool.standing.busy.Add(-1)
	}
}

// surprise is called when a unit has left more than its answer: those behind it may have run with that. They run again
// elsewhere, and what it has left ends with the connection.
func (s *server) surprise(c *client) {
	if c.unit != nil {
		s.pool.w.shapes.of(c.unit).barred = true
	}
	s.disperse()
	s.owed.n = 0 // what is left of it was theirs
	s.unforeseen()
}

// disperse takes those behind the head off the server, the last first: each goes to the head of its queue. What the server
// has been sent of theirs it answers for nobody.
func (s *server) disperse() {
	for s.full() {
		last := len(s.riders) - 1
		r := &s.riders[last]
		s.riders = s.riders[:last]
		s.uncountRider(r)
		c := r.client
		if r.client = nil; c == nil {
			continue
		}
		c.seat, c.server = seatNone, nil
		s.pool.group.batched.taken++
		if !c.closing {
			if c.repeat(r.unit, c.reread()); c.pool != nil {
				c.pool.waiting.prefer(c)
			}
		}
	}
}

// lastUnit cuts what the server owed, which is gone, down to its own client's unit.
func (s *server) lastUnit() {
	for i := range s.owed.n {
		if e := s.owed.at(i); e.endsUnit() && e.action != swallow {
			s.owed.n = i + 1
			return
		}
	}
}

// unseat takes one rider off.
func (s *server) unseat(c *client) {
	c.seat, c.server = seatNone, nil
	for i := s.seated; i < len(s.riders); i++ {
		if s.riders[i].client == c {
			s.riders[i].client = nil
		}
	}
}

// watchBatch has the worker look after a batch whose head may not end.
func (w *worker) watchBatch(s *server) {
	if !s.watched {
		s.watched = true
		w.batches = append(w.batches, s)
	}
	w.lookSoon()
}

// watchLanes has it look after clients who wait for lanes that may be stuck.
func (w *worker) watchLanes(p *pool) {
	if !p.gathering {
		p.gathering = true
		w.gathering = append(w.gathering, p)
	}
	w.lookSoon()
}

func (w *worker) lookSoon() {
	if w.impatience == nil {
		w.impatience = w.loop.NewTimer(w.lookAtBatches)
	}
	if !w.impatience.Active() {
		w.impatience.Reset(stuck)
	}
}

// lookAtBatches takes those off who have waited too long behind another's unit, ends what runs long for who has left, and
// has waiting clients looked at.
func (w *worker) lookAtBatches() {
	for i := 0; i < len(w.batches); {
		s := w.batches[i]
		if w.loop.Now().Sub(s.since) > s.patience && !s.conn.Closing() {
			s.disperse()
			if s.unheard() && s.cancels == 0 && !s.hurried { // what it runs may be theirs, and the head's answer stands behind it
				s.hurried = true
				w.pooler.cancelServer(s, func() {})
			}
		}
		if (s.full() || s.unheard()) && !s.conn.Closing() {
			i++
			continue
		}
		w.unwatch(s)
	}
	if len(w.batches) > 0 {
		w.lookSoon()
	}
	for i, p := range w.gathering {
		w.gathering[i], p.gathering = nil, false
		if p.waiting.n > 0 {
			w.markDirty(p)
		}
	}
	w.gathering = w.gathering[:0]
}

// unheard tells whether nobody has heard anything of what the server still runs of its batch.
func (s *server) unheard() bool {
	return s.joined && s.owed.n > 0 && (s.client == nil || s.tentative)
}

// unwatch is for a server whose batch is over.
func (w *worker) unwatch(s *server) {
	if s.watched {
		s.watched = false
		i := slices.Index(w.batches, s)
		w.batches = slices.Delete(w.batches, i, i+1)
	}
}

// measured notes how the unit of the server's client has run.
type measured struct {
	shape *shape
	reply int
}

// note remembers the run that has just ended, if it matters: clients wait, or it was in a batch.
func (s *server) note() {
	reply := s.replied
	s.replied = 0
	c := s.client
	if c == nil || c.unit == nil || c.unit.class.Class != classify.Read || s.repeat || s.pool.waiting.n == 0 && c.seat == seatNone && !s.short || c.policy.Batching == BatchingOff || len(s.ran) == cap(s.ran) && cap(s.ran) >= maxMeasured {
		return
	}
	if s.erred {
		s.pool.w.shapes.of(c.unit).runs = 0 // in a batch, those behind it would have to run twice
		return
	}
	s.ran = append(s.ran, measured{s.pool.w.shapes.of(c.unit), reply})
}

// maxMeasured bounds the runs that are noted at once.
const maxMeasured = 64

// noted books the runs that have ended when the server has answered all that it was sent at s.sent: nobody knows which of
// them took how long.
func (s *server) noted(now time.Time) {
	took := now.Sub(s.sent) / time.Duration(len(s.ran))
	surprise := s.joined && s.status != pgwire.Idle // one of them has begun a transaction
	for i, m := range s.ran {
		m.shape.ran(took, m.reply, now)
		m.shape.barred = m.shape.barred || surprise
		if s.short {
			s.pool.lanes.felt(m.shape.stretch(took), int(s.pool.slots.used.Load()))
		}
		s.ran[i] = measured{}
	}
	s.ran = s.ran[:0]
}
