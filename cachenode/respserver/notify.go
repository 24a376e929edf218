package respserver

import (
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// Happened publishes events on keys, to the subscribers of all nodes, as messages on __keyspace@db__:key and
// __keyevent@db__:event.
func (srv *Server) Happened(l *netloop.Loop, classes command.Event, events []command.Happened) {
	st := srv.byLoop[l]
	for i := range events {
		e := &events[i]
		if classes&e.Class == 0 {
			continue
		}
		db, key := store.SplitKey(e.Key.Bytes)
		name := append(st.eventName[:0], e.Name...)
		start := len(name)
		if classes&command.EventKeyspace != 0 {
			name = append(appendChannel(name, "__keyspace@", db), key...)
			st.tell(name[start:], name[:start])
		}
		if classes&command.EventKeyevent != 0 {
			name = append(appendChannel(name[:start], "__keyevent@", db), e.Name...)
			st.tell(name[start:], key)
		}
		st.eventName = name
	}
}

func appendChannel(b []byte, prefix string, db int) []byte {
	b = strconv.AppendInt(append(b, prefix...), int64(db), 10)
	return append(b, "__:"...)
}

// tell publishes a message of the server's own.
func (st *loopState) tell(channel, message []byte) {
	st.publish(Message, channel, message)
	st.srv.cfg.Backend.Publish(st.loop, Message, channel, message, false)
}
