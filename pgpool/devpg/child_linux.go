package devpg

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// setOwned asks the kernel to end the child when the forking thread dies, unless it has been asked already. To a
// PostgreSQL server SIGQUIT is "immediate shutdown"; other programs end by it too.
func setOwned(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if cmd.SysProcAttr.Pdeathsig == 0 {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	}
}

// ChildrenOf lists the direct children of a process.
func ChildrenOf(pid int) []int {
	id := strconv.Itoa(pid)
	b, err := os.ReadFile(filepath.Join("/proc", id, "task", id, "children"))
	if err != nil {
		return nil
	}
	var pids []int
	for f := range strings.FieldsSeq(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// removeSegment drops the System V segment that a killed postmaster leaves behind.
func removeSegment(id int) { _, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) }
