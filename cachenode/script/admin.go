package script

import (
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const (
	errNotBusy    = "NOTBUSY No scripts in execution right now."
	errUnkillable = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
)

// script is SCRIPT.
func (r *Runner) script(c *command.Context) {
	sub := c.Args[1]
	n := len(c.Args)
	is := func(name string, fits bool) bool {
		if !command.EqualFold(sub, name) {
			return false
		}
		if !fits {
			c.Out = command.AppendWrongArity(c.Out, "script|"+name)
		}
		return fits
	}
	start := len(c.Out)
	switch {
	case is("load", n == 3):
		p, err := r.e.load(string(c.Args[2]))
		if err != nil {
			refuse(c, err.Error())
			return
		}
		c.Out = resp.AppendBulkString(c.Out, p.sha)
	case is("exists", n >= 3):
		c.Out = resp.AppendArray(c.Out, n-2)
		for _, sha := range c.Args[2:] {
			known := int64(0)
			if r.find(sha) != nil {
				known = 1
			}
			c.Out = resp.AppendInt(c.Out, known)
		}
	case is("flush", true):
		if n > 3 || n == 3 && !command.EqualFold(c.Args[2], "sync") && !command.EqualFold(c.Args[2], "async") {
			refuse(c, "ERR SCRIPT FLUSH only support SYNC|ASYNC option")
			return
		}
		r.e.scripts.flush()
		c.Out = resp.AppendOK(c.Out)
	case is("kill", n == 2):
		r.e.kill(c)
	case is("show", n == 3):
		p := r.find(c.Args[2])
		if p == nil {
			refuse(c, errNoScript)
			return
		}
		c.Out = resp.AppendBulkString(c.Out, p.source)
	case is("debug", n == 3):
		refuse(c, "ERR SCRIPT DEBUG is not supported: there is no debugger here")
	case is("help", n == 2):
		c.Out = resp.AppendArray(c.Out, len(help))
		for _, line := range help {
			c.Out = resp.AppendSimple(c.Out, line)
		}
	case len(c.Out) == start:
		refuse(c, "ERR unknown subcommand '"+string(sub[:min(len(sub), 128)])+"'. Try SCRIPT HELP.")
	}
}

// kill stops a script that another loop runs.
func (e *Engine) kill(c *command.Context) {
	e.mu.Lock()
	runners := e.runners
	e.mu.Unlock()
	for _, r := range runners {
		if running, wrote := r.guard.kill(); wrote && running {
			refuse(c, errUnkillable)
			return
		} else if running {
			c.Out = resp.AppendOK(c.Out)
			return
		}
	}
	refuse(c, errNotBusy)
}

var help = []string{
	"SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"EXISTS <sha1> [<sha1> ...]",
	"    Return information about the existence of the scripts in the script cache.",
	"FLUSH [ASYNC|SYNC]",
	"    Flush the Lua scripts cache, on all nodes.",
	"KILL",
	"    Stop the script that another thread runs, if it has not written.",
	"LOAD <script>",
	"    Load a script into the scripts cache without executing it, on all nodes.",
	"SHOW <sha1>",
	"    Return the text of a script in the cache.",
	"HELP",
	"    Print this help (" + strconv.Itoa(6) + " subcommands).",
}
