package respserver

import (
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// lateBackend answers GET slow and transactions when somebody asks for GET flush, in the middle of that command: as a node
// does that learns while it executes one command that nobody waits for the backup of others any more.
type lateBackend struct {
	*Local
	transactions, slow []*Slot
}

func (b *lateBackend) Execute(l *netloop.Loop, r *Request, out []byte) ([]byte, bool) {
	switch {
	case r.Spec.Name == "x.exec":
		b.transactions = append(b.transactions, r.Defer())
		return out, false
	case string(r.Args[len(r.Args)-1]) == "slow":
		b.slow = append(b.slow, r.Defer())
		return out, false
	case string(r.Args[len(r.Args)-1]) == "flush":
		for _, sl := range b.transactions {
			sl.Resolve([]byte("*1\r\n$-1\r\n"))
		}
		l.Post(func() {
			for _, sl := range b.slow {
				sl.Resolve([]byte("$4\r\nslow\r\n"))
			}
		})
	}
	return b.Local.Execute(l, r, out)
}

// A message that another session's transaction publishes while a command of the listener is executed comes behind its reply.
func TestMessagesInTheMiddleOfACommandAreNotLost(t *testing.T) {
	for _, before := range []string{"", "GET slow\r\n"} {
		n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.Backend = &lateBackend{Local: cfg.Backend.(*Local)} })
		listener, other := n.dial(t), n.dial(t)
		listener.do("HELLO", "3")
		listener.do("SUBSCRIBE", "c")
		other.send("MULTI\r\nGET k\r\nPUBLISH c hello\r\nEXEC\r\n")
		for range 3 {
			other.read()
		}
		listener.send(before + "GET flush\r\nECHO end\r\n")
		if before != "" {
			listener.gets("$4\r\nslow\r\n")
		}
		listener.gets("_\r\n")
		listener.gets(string(appendMessage(nil, 3, "message", nil, []byte("c"), []byte("hello"))))
		listener.gets(string(resp.AppendBulkString(nil, "end")))
		other.gets("*2\r\n$-1\r\n:1\r\n")
	}
}
