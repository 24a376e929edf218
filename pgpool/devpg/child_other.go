//go:build !linux

package devpg

import (
	"os/exec"
	"syscall"
)

// setOwned: without a parent-death signal, servers outlive an owner that was killed; Stop still ends them.
func setOwned(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}

// ChildrenOf knows of none.
func ChildrenOf(int) []int { return nil } // backends notice by themselves that their postmaster is gone

func removeSegment(int) {}
