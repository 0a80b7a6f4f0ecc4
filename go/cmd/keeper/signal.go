package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// signal sends one to the VMM. The first process of a namespace, which a jailed VMM is, never gets one that would end
// it and for which it has no handler (pid_namespaces(7)): it gets SIGKILL then, which comes to the same.
func (v *vmm) signal(sig syscall.Signal) error {
	if v.jail != nil && isFatal(sig) {
		// One that cannot be asked is gone, which Signal says.
		if handled, err := handles(v.process.Pid, sig); err == nil && !handled {
			sig = unix.SIGKILL
		}
	}
	return v.process.Signal(sig)
}

// isFatal is true for a signal that ends a process by default (signal(7)).
func isFatal(sig syscall.Signal) bool {
	switch sig {
	case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		return false
	}
	return true
}

// handles is true where a process catches or ignores a signal (proc_pid_status(5)). One that it blocks for a moment, as
// around a fork, would be lost all the same.
func handles(pid int, sig syscall.Signal) (bool, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != "SigIgn" && name != "SigCgt" {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return false, err
		}
		if set>>(uint(sig)-1)&1 == 1 {
			return true, nil
		}
	}
	return false, lines.Err()
}
