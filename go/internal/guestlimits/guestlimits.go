// Package guestlimits holds processes of the guest to limits, by control groups (cgroups(7), version 2).
package guestlimits

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Limits are of one process with all that descend from it. Zero is no limit.
type Limits struct {
	MemoryBytes int64 `json:"memoryBytes"`
	// CPUs is how many may be busy with it, in sum.
	CPUs      float64 `json:"cpus"`
	Processes int64   `json:"processes"`
}

// The period over which CPU time is counted, in microseconds, and the least that the kernel lets a group have of it.
const (
	cpuPeriod   = 100_000
	minCPUQuota = 1_000
)

// Groups makes control groups under a directory of their own, root/smartvm.
type Groups struct {
	root string
	last atomic.Int64
}

// New makes none yet. The root is where the kernel's control groups are mounted.
func New(root string) *Groups { return &Groups{root: root} }

// Group is one control group.
type Group struct{ dir *os.File }

// Make makes a group with these limits. One without processes left is removed when the next is made.
func (g *Groups) Make(limits Limits) (*Group, error) {
	parent := filepath.Join(g.root, "smartvm")
	if err := g.prepare(parent); err != nil {
		return nil, fmt.Errorf("limits need control groups, version 2, with memory, cpu and pids, in the guest's kernel: %w", err)
	}
	g.sweep(parent)
	path := filepath.Join(parent, strconv.FormatInt(g.last.Add(1), 10))
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err == nil {
		err = limits.write(path)
	}
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return &Group{dir}, nil
}

// Enter puts this process into a group of its own, with all that it starts from then on: an init takes over the root's processes and
// those of its own groups, and gives controllers to nobody else.
func (g *Groups) Enter() error {
	parent := filepath.Join(g.root, "smartvm")
	if err := g.prepare(parent); err != nil {
		return err
	}
	own := filepath.Join(parent, "agent")
	if err := os.Mkdir(own, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return put(filepath.Join(own, "cgroup.procs"), strconv.Itoa(os.Getpid()))
}

// Outside is the group around these: what begins in it is none that Signal reaches. Nil where there are none.
func (g *Groups) Outside() *Group {
	if _, err := os.Stat(filepath.Join(g.root, "smartvm", "cgroup.procs")); err != nil {
		return nil
	}
	dir, err := os.Open(g.root)
	if err != nil {
		return nil
	}
	return &Group{dir}
}

// Signal signals every process of these groups but this one.
func (g *Groups) Signal(signal unix.Signal) {
	filepath.WalkDir(filepath.Join(g.root, "smartvm"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Name() != "cgroup.procs" {
			return nil // a group may have gone meanwhile
		}
		processes, _ := os.ReadFile(path)
		for _, text := range strings.Fields(string(processes)) {
			if pid, err := strconv.Atoi(text); err == nil && pid > 1 && pid != os.Getpid() {
				unix.Kill(pid, signal)
			}
		}
		return nil
	})
}

func (g *Groups) prepare(parent string) error {
	if _, err := os.Stat(filepath.Join(g.root, "cgroup.controllers")); err != nil {
		return err
	}
	if err := os.Mkdir(parent, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for _, dir := range []string{g.root, parent} {
		if err := put(filepath.Join(dir, "cgroup.subtree_control"), "+memory +cpu +pids"); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes the groups that nobody is in any more.
func (g *Groups) sweep(parent string) {
	groups, _ := os.ReadDir(parent)
	for _, group := range groups {
		if group.IsDir() {
			unix.Rmdir(filepath.Join(parent, group.Name()))
		}
	}
}

func (l Limits) write(path string) error {
	files := map[string]string{}
	if l.MemoryBytes > 0 {
		files["memory.max"] = strconv.FormatInt(l.MemoryBytes, 10)
		// The one process that is killed otherwise may not be the one that takes the memory.
		files["memory.oom.group"] = "1"
	}
	if l.CPUs > 0 {
		files["cpu.max"] = fmt.Sprintf("%d %d", max(int64(l.CPUs*cpuPeriod), minCPUQuota), cpuPeriod)
	}
	if l.Processes > 0 {
		files["pids.max"] = strconv.FormatInt(l.Processes, 10)
	}
	for name, value := range files {
		if err := put(filepath.Join(path, name), value); err != nil {
			return err
		}
	}
	if l.MemoryBytes > 0 {
		// A kernel without swap has no such file.
		put(filepath.Join(path, "memory.swap.max"), "0")
	}
	return nil
}

func put(path, value string) error {
	return os.WriteFile(path, []byte(value), 0)
}

// FD is for clone(2) to begin a process in the group.
func (g *Group) FD() int { return int(g.dir.Fd()) }

// Close lets go of the group once the process has begun, or could not begin.
func (g *Group) Close() { g.dir.Close() }

// Valid is what is wrong with limits, or nil.
func (l Limits) Valid() error {
	if l.MemoryBytes < 0 || l.CPUs < 0 || l.Processes < 0 {
		return fmt.Errorf("a limit is below 0: %+v", l)
	}
	return nil
}
