package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// output collects what a process prints while others look at it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// process is a command that runs or has run.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr output
	ended          chan struct{}
	code           int // after ended; -1 when a signal ended it
}

// start runs a program with an environment.
func start(environ []string, stdin *os.File, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = environ, &p.stdout, &p.stderr
	if stdin != nil {
		p.cmd.Stdin = stdin
	}
	// Pipes that a killed process's children still hold keep nobody waiting.
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the exit code says it
		p.code = p.cmd.ProcessState.ExitCode()
	}()
	return p, nil
}

// begin starts the program under test, and kills it when the test ends without its end.
func begin(t *testing.T, environ []string, args ...string) *process {
	t.Helper()
	p, err := start(environ, nil, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.running() {
			p.kill()
			t.Errorf("still running at the end of the test: outrigger %s", strings.Join(args, " "))
		}
	})
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails when it has ended
	<-p.ended
}

func (p *process) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal %v: %v", sig, err)
	}
}

// wait returns the exit code. A process that does not end in time is killed.
func (p *process) wait(limit time.Duration) (int, error) {
	select {
	case <-p.ended:
		return p.code, nil
	case <-time.After(limit):
		p.kill()
		return -1, fmt.Errorf("still running after %v, killed; it said:\n%s", limit, p.said())
	}
}

// exit waits for an end with the exit code want.
func (p *process) exit(t *testing.T, want int, limit time.Duration) {
	t.Helper()
	code, err := p.wait(limit)
	if err == nil && code != want {
		err = fmt.Errorf("exit code %d, want %d; it said:\n%s", code, want, p.said())
	}
	if err != nil {
		t.Error(err)
	}
}

// said is everything that it has printed.
func (p *process) said() string { return p.stdout.String() + p.stderr.String() }

// says returns nil when all texts have been printed.
func (p *process) says(texts ...string) error {
	said := p.said()
	for _, text := range texts {
		if !strings.Contains(said, text) {
			return fmt.Errorf("%q is missing from:\n%s", text, said)
		}
	}
	return nil
}

// shell runs a script in environ and returns what it printed on stdout; a status other than 0 is an error with
// everything that it said.
func shell(environ []string, limit time.Duration, script string) (string, error) {
	p, err := start(environ, nil, "sh", "-c", script)
	if err != nil {
		return "", err
	}
	code, err := p.wait(limit)
	if err == nil && code != 0 {
		err = errors.New(p.said())
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", script, err)
	}
	return p.stdout.String(), nil
}
