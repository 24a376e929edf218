package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// CacheLoop puts reads and writes of strings on a cache, in an open loop: so many a second whether or not earlier ones are
// answered, with latencies from when they were due. A request is what a client sends at once.
type CacheLoop struct {
	Clients  int
	Pipeline int           // commands of a request
	Rate     float64       // commands per second; 0: each client asks again as soon as it is answered
	Sets     int           // of a hundred commands, how many write
	Keys     int           // of 20 bytes each, drawn at random
	Size     int           // bytes of a value
	Tags     []string      // of four bytes each, hash tags that are given to the keys in turn; none
	Vary     int           // and up to so many more when it is written again: then it needs another allocation
	Duration time.Duration // in which requests are due
	Warm     time.Duration // latencies of its first part are not counted
}

// Workload fills the cache first; that time is not counted.
func (l CacheLoop) Workload(name string) Workload {
	return Workload{Name: name, Service: Cache, Clients: l.Clients, Run: func(ctx context.Context, addr string) (Outcome, error) {
		begin := time.Now()
		if err := l.Fill(ctx, addr); err != nil {
			return Outcome{}, err
		}
		o := Outcome{Command: fmt.Sprintf("our own loop: %+v", l), Connecting: time.Since(begin)}
		got, err := l.Run(ctx, addr)
		o.Operations, o.Failed = int64(got.Due*l.Pipeline), int64(got.Failed*l.Pipeline)
		o.Rate, o.Percentiles = got.Rate*float64(l.Pipeline), got.Percentiles
		o.Output = fmt.Sprintf("%+v\n", got)
		return o, err
	}}
}

// Run asks the cache at addr. Requests are counted, not commands; one whose key is missing has failed.
func (l CacheLoop) Run(ctx context.Context, addr string) (Opened, error) {
	lang, err := languageOf(ctx, addr)
	if err != nil {
		return Opened{}, err
	}
	conns := make([]net.Conn, l.Clients)
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close() // it may have been taken over
			}
		}
	}()
	if _, err := each(ctx, l.Clients, connectingAtOnce, func(i int) (err error) {
		conns[i], err = dial(ctx, addr)
		return err
	}); err != nil {
		return Opened{}, err
	}
	commands := &cacheCommands{loop: l, language: lang, random: rand.New(rand.NewPCG(7, 8)), value: value(l.Size + l.Vary)}
	return plan{l.Rate / float64(l.Pipeline), l.Duration, l.Warm}.run(ctx, conns, commands)
}

func dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, crowdLimit)
	defer cancel()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// fillAtOnce is how many keys are sent before their answers are read.
const fillAtOnce = 256

// Fill writes every key once.
func (l CacheLoop) Fill(ctx context.Context, addr string) error {
	lang, err := languageOf(ctx, addr)
	if err != nil {
		return err
	}
	conn, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	listener, buf, content := lang.listener(1), make([]byte, 64<<10), value(l.Size)
	var out []byte
	for first := 0; first < l.Keys; first += fillAtOnce {
		out = out[:0]
		owed := min(fillAtOnce, l.Keys-first)
		for i := range owed {
			out = lang.appendSet(out, l.key(first+i), content)
		}
		if _, err := conn.Write(out); err != nil {
			return fmt.Errorf("fill the cache: %w", errors.Join(err, context.Cause(ctx)))
		}
		for owed > 0 {
			n, err := conn.Read(buf)
			if err != nil {
				return fmt.Errorf("fill the cache: %w", errors.Join(err, context.Cause(ctx)))
			}
			ready, failed, err := listener.feed(buf[:n])
			if err != nil || failed {
				return fmt.Errorf("fill the cache: key %d of %d was refused: %w", first, l.Keys, errors.Join(err, errRefused))
			}
			owed -= ready
		}
	}
	return nil
}

var errRefused = errors.New("the server refused a command")

// key is the text of a key.
func (l CacheLoop) key(n int) (k key) {
	if len(l.Tags) > 0 {
		copy(k[:], "{....}:")
		copy(k[1:], l.Tags[n%len(l.Tags)])
		digits(k[len("{....}:"):], n)
		return k
	}
	copy(k[:], "key:")
	digits(k[len("key:"):], n)
	return k
}

// value is content of n bytes.
func value(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'x'
	}
	return b
}

// cacheCommands draws requests.
type cacheCommands struct {
	loop     CacheLoop
	language language
	random   *rand.Rand
	value    []byte
	text     []byte
}

func (c *cacheCommands) next() []byte {
	c.text = c.text[:0]
	for range c.loop.Pipeline {
		key := c.random.IntN(c.loop.Keys)
		if c.loop.Sets > 0 && c.random.IntN(100) < c.loop.Sets {
			size := c.loop.Size
			if c.loop.Vary > 0 {
				size += c.random.IntN(c.loop.Vary)
			}
			c.text = c.language.appendSet(c.text, c.loop.key(key), c.value[:size])
		} else {
			c.text = c.language.appendGet(c.text, c.loop.key(key))
		}
	}
	return c.text
}

func (c *cacheCommands) listener() listener { return c.language.listener(c.loop.Pipeline) }

// languageOf finds out what a cache speaks: to a word that only memcached knows, others answer with an error.
func languageOf(ctx context.Context, addr string) (language, error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(crowdLimit)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, "version\r\n"); err != nil {
		return nil, err
	}
	from := bufio.NewReader(conn)
	answer, err := from.ReadString('\n')
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask %s what it speaks: %w", addr, err)
	case answer[0] == 'V':
		return ascii{}, nil
	case answer[0] == '-':
		return respOf(conn, from)
	}
	return nil, fmt.Errorf("%s speaks neither RESP nor memcached's ASCII: %q", addr, answer)
}

// respOf finds out which commands a server of RESP has: Olric has its own, and no GET.
func respOf(conn io.Writer, from *bufio.Reader) (language, error) {
	if _, err := io.WriteString(conn, "*2\r\n$3\r\nGET\r\n$0\r\n\r\n"); err != nil {
		return nil, err
	}
	answer, err := from.ReadString('\n')
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask for a key: %w", err)
	case answer[0] == '-':
		return olric{}, nil
	}
	return redis{}, nil
}
