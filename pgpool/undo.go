package pgpool

// undoUnit takes back what the first n of the owed changed in our books. What a later unit, sent already, has made of the
// unnamed statement stands; what was there before it is the outcome of this.
func (s *server) undoUnit(n int) {
	var laterClient, laterServer *expectation
	for i := n; i < s.owed.n && laterClient == nil; i++ {
		e := s.owed.at(i)
		if !e.unnamed && (e.kind != kindQuery || e.action != forward) {
			continue
		}
		if laterServer == nil {
			laterServer = e
		}
		if e.action == forward {
			laterClient = e
		}
	}
	c := s.client
	if c != nil && c.seat != seatNone {
		laterClient = nil // it is another client's
	}
	ofServer, ofClient := s.unnamed, (*statement)(nil)
	if laterServer != nil {
		s.unnamed = laterServer.prevOf
	}
	if c != nil && laterClient != nil {
		ofClient, c.unnamed = c.unnamed, laterClient.prev
	}
	for i := n - 1; i >= 0; i-- {
		s.undo(s.owed.at(i), i > 0)
	}
	if laterServer != nil {
		laterServer.prevOf, s.unnamed = s.unnamed, ofServer
	}
	if c != nil && laterClient != nil {
		laterClient.prev, c.unnamed = c.unnamed, ofClient
	}
}

// undo takes back what e changed in our books: it failed, or was skipped because something before it did.
func (s *server) undo(e *expectation, skipped bool) {
	c := s.client
	switch e.kind {
	case kindParse:
		switch {
		case e.again:
		case e.unnamed:
			// One that fails has dropped the old one first (exec_parse_message in postgres.c).
			s.unnamed = nil
			if skipped {
				s.unnamed = e.prevOf
			}
			if c != nil && e.action == forward {
				c.unnamed = nil
				if skipped {
					c.unnamed = e.prev
				}
			}
		default:
			if e.action != synthesise {
				s.stmts.remove(e.stmt)
			}
			if c != nil && e.action != swallow {
				delete(c.stmts, e.name)
			}
		}
	case kindQuery, kindFunction: // these fail by themselves; here they were skipped
		if c != nil {
			c.inFlight--
			if e.kind == kindQuery {
				c.unnamed, s.unnamed = e.prev, e.prevOf
				if e.stmt != nil {
					c.stmts[e.name] = e.stmt
				}
			}
		}
	case kindClose:
		switch {
		case !skipped:
		case e.action == swallow:
			s.stmts.add(e.stmt) // it is still there
		case c != nil && e.unnamed:
			c.unnamed, s.unnamed = e.prev, e.prevOf
		case c != nil && e.stmt != nil:
			c.stmts[e.name] = e.stmt
		}
	}
}
