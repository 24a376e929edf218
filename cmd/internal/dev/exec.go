package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// StatusError is how the command of --exec ended, in a shell's terms: its status, or 128 and the signal that ended it.
type StatusError struct{ Code int }

func (e *StatusError) Error() string { return fmt.Sprintf("command ended with status %d", e.Code) }

// statusOf turns what Wait says into a StatusError.
func statusOf(err error) error {
	ended, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &StatusError{128 + int(status.Signal())}
	}
	return &StatusError{ended.ExitCode()}
}

// runCommand runs the command of --exec to its end and returns how it ended. Signals go on to it;
// when ctx ends, or a signal does not end it within stopGrace, it is killed.
func runCommand(ctx context.Context, opts Options, environ []string) error {
	cmd := exec.Command("sh", "-c", opts.Exec)
	cmd.Env = environ
	cmd.Stdin, cmd.Stdout, cmd.Stderr = opts.Stdin, opts.Stdout, opts.Stderr
	// In the terminal's foreground group Ctrl-C reaches the command by itself, and psql can read. Anywhere else it gets a
	// group of its own, so that a signal ends what it has started too.
	interactive := isTerminal(opts.Stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !interactive}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run command: %w", err)
	}
	target := cmd.Process.Pid
	if !interactive {
		target = -target
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	done := ctx.Done()
	var kill <-chan time.Time
	for {
		select {
		case err := <-ended:
			return statusOf(err)
		case sig := <-opts.Signals:
			if interactive && sig == os.Interrupt {
				continue // it has it already, and may well go on: psql does
			}
			if number, ok := sig.(syscall.Signal); ok {
				_ = syscall.Kill(target, number)
				kill = time.After(stopGrace)
			}
		case <-done:
			done = nil
			_ = syscall.Kill(target, syscall.SIGTERM)
			kill = time.After(stopGrace)
		case <-kill:
			kill = nil
			_ = syscall.Kill(target, syscall.SIGKILL)
		}
	}
}

// isTerminal tells whether f is a terminal rather than a file, a pipe or /dev/null.
func isTerminal(f *os.File) bool {
	if f == nil {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
