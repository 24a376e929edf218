package respserver

import (
	"context"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// BenchmarkAgainstRedis runs redis-benchmark in turn against this server on one loop and against redis-server, and
// reports requests per second of both and their ratio:
//
//	go test -run '^$' -bench AgainstRedis -benchtime 3x ./cachenode/respserver
func BenchmarkAgainstRedis(b *testing.B) {
	for _, name := range []string{"redis-benchmark", "redis-server"} {
		if _, err := exec.LookPath(name); err != nil {
			b.Skipf("%s is not installed", name)
		}
	}
	n := start(b, 1, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	real := ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(real)
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", b.TempDir())
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { cancel(); server.Wait() }()
	eventually(b, "redis-server listens", func() bool {
		nc, err := net.Dial("tcp", real)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	for _, pipeline := range []int{1, 16} {
		for _, test := range []string{"set", "get"} {
			b.Run("op="+test+"/pipeline="+strconv.Itoa(pipeline), func(b *testing.B) {
				requests := 100_000 * min(pipeline, 10)
				var ours, theirs float64
				for b.Loop() {
					ours += redisBenchmark(b, n.addr, test, pipeline, requests)
					theirs += redisBenchmark(b, real, test, pipeline, requests)
				}
				b.ReportMetric(ours/float64(b.N), "ours/s")
				b.ReportMetric(theirs/float64(b.N), "redis/s")
				b.ReportMetric(ours/theirs, "ratio")
			})
		}
	}
}

var csvRate = regexp.MustCompile(`"(\d+\.\d+)"`)

func redisBenchmark(b *testing.B, addr, test string, pipeline, requests int) float64 {
	host, port, _ := net.SplitHostPort(addr)
	out, err := exec.Command("redis-benchmark", "-h", host, "-p", port, "-t", test, "-P", strconv.Itoa(pipeline),
		"-c", "50", "-n", strconv.Itoa(requests), "-r", "100000", "--csv").Output()
	if err != nil {
		b.Fatal(err)
	}
	m := csvRate.FindAllSubmatch(out, -1)
	if len(m) == 0 {
		b.Fatalf("no rate in %q", out)
	}
	rate, _ := strconv.ParseFloat(string(m[0][1]), 64)
	return rate
}

// TestSessionDoesNotAllocate feeds a session on its loop, as the loop does, and counts: nothing may be allocated for GET
// and SET between the bytes of the command and those of the reply.
func TestSessionDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	n := start(t, 1, nil)
	c := n.dial(t)
	c.want("+OK\r\n", "SET", "key:1", "value")
	sess := n.list()[0]
	var in []byte
	for _, args := range [][]string{{"SET", "key:1", "value"}, {"GET", "key:1"}, {"SET", "key:1", "other", "EX", "100"}, {"MGET", "key:1", "key:2"}} {
		b := make([][]byte, len(args))
		for i := range args {
			b[i] = []byte(args[i])
		}
		in = resp.AppendCommand(in, b)
	}
	result := make(chan float64)
	n.loops[0].Post(func() {
		result <- testing.AllocsPerRun(50, func() {
			if sess.Data(sess.conn, in) != len(in) {
				panic("not consumed")
			}
		})
	})
	select {
	case allocs := <-result:
		if allocs != 0 {
			t.Errorf("%v allocations for four commands", allocs)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the loop does not answer")
	}
}
