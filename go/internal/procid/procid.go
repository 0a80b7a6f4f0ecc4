// Package procid reads the identities of processes from /proc.
package procid

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// BootID is the kernel's id of this boot.
func BootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}

// StartTime is the process's start in clock ticks since boot, field 22 of /proc/PID/stat (proc(5)).
func StartTime(pid int) (string, error) {
	fields, err := statFields(pid)
	if err != nil {
		return "", err
	}
	return fields[22-3], nil
}

// Children lists the living and zombie processes whose parent is pid.
func Children(pid int) ([]int, error) {
	names, err := readNames("/proc")
	if err != nil {
		return nil, err
	}
	parent := strconv.Itoa(pid)
	var children []int
	for _, name := range names {
		candidate, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		// A process that has gone meanwhile is nobody's child.
		if fields, err := statFields(candidate); err == nil && fields[4-3] == parent {
			children = append(children, candidate)
		}
	}
	return children, nil
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// statFields are the fields of /proc/PID/stat from the third on: the second, the command's name, may hold spaces and
// parentheses.
func statFields(pid int) ([]string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields after the name", pid, len(fields))
	}
	return fields, nil
}
