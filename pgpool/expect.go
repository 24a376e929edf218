// HOT PATH

package pgpool

// The kinds of message that a server answers.
const (
	kindQuery byte = iota
	kindParse
	kindBind
	kindDescribe
	kindExecute
	kindClose
	kindSync
	kindFunction
	// kindCopyEnd marks a CopyDone or CopyFail that went out before the server said that it wants data. It has no answer.
	kindCopyEnd
)

// What to do with the answer.
const (
	// forward hands it to the client.
	forward byte = iota
	// swallow drops it: the message was ours. An error in its place still goes to the client, whose own message cannot
	// succeed without ours.
	swallow
	// synthesise means that nothing was sent: the answer is made here when its turn comes.
	synthesise
	// inspect means that a query of ours asks about the session.
	inspect
)

// expectation is one answer that a server owes, or that is made here in its place in the order. What the message changes
// in our books is written there when it is sent; the fields below undo that if the server never gets to it.
type expectation struct {
	kind    byte
	action  byte
	unnamed bool       // parse, close: of the unnamed statement
	again   bool       // parse: changes nothing in our books, because the server will refuse it or we do not know it
	opens   bool       // query of ours: the BEGIN of a transaction that began here
	wrote   bool       // query, function, sync: the unit may have written
	shows   bool       // query, execute: the answer to SHOW outrigger.token, which the server knows as something else
	tx      byte       // query, sync: what the unit does to its transaction (lost.go)
	leaves  bool       // query, function, sync: the unit may leave what the server is asked for
	simple  bool       // describe of ours, for a client that has sent a Query and knows no NoData
	stmt    *statement // parse, close: the statement; bind, describe: the one they name; query: what it deallocates
	name    string     // parse, close, bind, describe of the client's, query: its name for the statement
	prev    *statement // what the client's unnamed statement was before
	prevOf  *statement // what the server's was
	set     *setChange // query, sync: what the session's settings are if the unit succeeds
}

// endsUnit tells whether the answer ends with ReadyForQuery.
func (e *expectation) endsUnit() bool {
	return e.kind == kindQuery || e.kind == kindSync || e.kind == kindFunction
}

// expectations is a queue in a ring that grows and is bounded by maxOwed.
type expectations struct {
	ring []expectation // length a power of two
	head int
	n    int
}

// maxOwed bounds the answers owed by one server. A client that sends on without reading is not read beyond it.
const maxOwed = 1 << 16

func (q *expectations) push(e expectation) {
	if q.n == len(q.ring) {
		bigger := make([]expectation, max(16, 2*len(q.ring)))
		for i := range q.n {
			bigger[i] = *q.at(i)
		}
		q.ring, q.head = bigger, 0
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = e
	q.n++
}

// first is the answer due next. The queue must not be empty.
func (q *expectations) first() *expectation { return &q.ring[q.head] }

// at is the i-th answer due.
func (q *expectations) at(i int) *expectation { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

func (q *expectations) pop() {
	q.ring[q.head] = expectation{} // let go of what it points to
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
}

// remove takes out the i-th answer due.
func (q *expectations) remove(i int) {
	for ; i > 0; i-- {
		*q.at(i) = *q.at(i - 1)
	}
	q.pop()
}
