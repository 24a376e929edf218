package devpg

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// Child is a process that never outlives its owner: the kernel signals it when we die (Linux), and Stop ends it by its id.
type Child struct {
	// Constant after StartChild.
	pid  int
	proc *os.Process
	done chan struct{}

	err error // of Wait; read after done
}

// StartChild starts cmd. What cmd.SysProcAttr says is kept; the process gets its own group so that a Ctrl-C at the
// terminal reaches only the owner, who decides the order in which things end.
func StartChild(cmd *exec.Cmd) (*Child, error) {
	c := &Child{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(c.done)
		// The parent-death signal follows the thread that forked, so that thread has to stay until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		setOwned(cmd)
		err := cmd.Start()
		if err == nil {
			c.proc, c.pid = cmd.Process, cmd.Process.Pid
		}
		started <- err
		if err == nil {
			c.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		<-c.done
		return nil, err
	}
	return c, nil
}

// Pid is the process id, also after the end.
func (c *Child) Pid() int { return c.pid }

// Done is closed when the process has ended and was waited for.
func (c *Child) Done() <-chan struct{} { return c.done }

// Running tells whether the process has not ended yet.
func (c *Child) Running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// Err is what Wait returned; nil while the process runs.
func (c *Child) Err() error {
	if c.Running() {
		return nil
	}
	return c.err
}

// Signal sends sig; a process that has ended is no error.
func (c *Child) Signal(sig os.Signal) error {
	if err := c.proc.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Stop sends sig, waits up to grace, then kills. It returns when the process is gone.
func (c *Child) Stop(sig os.Signal, grace time.Duration) {
	_ = c.Signal(sig) // what cannot be signalled is killed below
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
		return
	case <-timer.C:
	}
	_ = c.proc.Kill()
	<-c.done
}
