package pgpool

import (
	"context"
	"errors"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// consoleControl is what the console does to the pooler.
type consoleControl struct{ p *Pooler }

var _ admin.Control = consoleControl{}

func (c consoleControl) Reload() error {
	if c.p.cfg.Reload == nil {
		return errors.New("there is nothing to read again")
	}
	return c.p.cfg.Reload()
}

func (c consoleControl) Set(name, value string) error {
	if c.p.cfg.Set == nil {
		return unsupported("SET")
	}
	return c.p.cfg.Set(name, value)
}

func (c consoleControl) Pause(context.Context, string) error     { return unsupported("PAUSE") }
func (c consoleControl) Resume(string) error                     { return unsupported("RESUME") }
func (c consoleControl) Disable(string) error                    { return unsupported("DISABLE") }
func (c consoleControl) Enable(string) error                     { return unsupported("ENABLE") }
func (c consoleControl) Reconnect(string) error                  { return unsupported("RECONNECT") }
func (c consoleControl) Kill(string) error                       { return unsupported("KILL") }
func (c consoleControl) KillClient(uint64) error                 { return unsupported("KILL_CLIENT") }
func (c consoleControl) Suspend(context.Context) error           { return unsupported("SUSPEND") }
func (c consoleControl) Shutdown(admin.ShutdownMode) error       { return unsupported("SHUTDOWN") }
func (c consoleControl) WaitClose(context.Context, string) error { return unsupported("WAIT_CLOSE") }

func unsupported(command string) error {
	return &pgwire.Error{Code: "0A000", Message: command + " is not supported yet"}
}
