package jail

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cgroupGrace = 2 * time.Second
	cgroupPoll  = 2 * time.Millisecond
)

// joinCgroups moves the calling thread, which is to become the VMM, into cgroups of either version.
func joinCgroups(directories []string) error {
	for _, directory := range directories {
		if err := joinCgroup(directory); err != nil {
			return faultf(CgroupUnavailable, "the VMM cannot join the cgroup: %v", err)
		}
	}
	return nil
}

// joinCgroup moves only the thread where it can (version 1): to move a process, the kernel waits until none forks, which
// takes 20 ms. Execution ends the other threads.
func joinCgroup(directory string) error {
	// No os.WriteFile, which would make an ordinary file of a path that is in no cgroup file system.
	file, err := os.OpenFile(filepath.Join(directory, "tasks"), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		procs := filepath.Join(directory, "cgroup.procs")
		// Where the keeper's clone has put it.
		if members, err := os.ReadFile(procs); err == nil && slices.Contains(strings.Fields(string(members)), "1") &&
			os.Getpid() == 1 {
			return nil
		}
		file, err = os.OpenFile(procs, os.O_WRONLY, 0)
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString("0")
	return errors.Join(err, file.Close())
}

// OpenCgroup answers the one cgroup of version 2 among directories, for a process to be cloned into; or -1.
func OpenCgroup(directories []string) int {
	for _, directory := range directories {
		fd, err := unix.Open(directory, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		var stat unix.Statfs_t
		if unix.Fstatfs(fd, &stat) == nil && stat.Type == unix.CGROUP2_SUPER_MAGIC {
			return fd
		}
		unix.Close(fd)
	}
	return -1
}

// RemoveCgroups kills what is left in cgroups and removes them. One that is absent is none to remove.
func RemoveCgroups(directories []string) error {
	var failures []error
	deadline := time.Now().Add(cgroupGrace)
	for _, directory := range directories {
		if err := removeCgroup(directory, deadline); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

func removeCgroup(directory string, deadline time.Time) error {
	for {
		// Busy while it has a process, also one that has ended and is not yet reaped.
		err := os.Remove(directory)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		killCgroup(directory)
		time.Sleep(cgroupPoll)
	}
}

// killCgroup kills every process of a cgroup: at once where the kernel can (version 2, Linux 5.14), else one by one.
func killCgroup(directory string) {
	if kill, err := os.OpenFile(filepath.Join(directory, "cgroup.kill"), os.O_WRONLY, 0); err == nil {
		kill.WriteString("1")
		kill.Close()
		return
	}
	pids, err := os.ReadFile(filepath.Join(directory, "cgroup.procs"))
	if err != nil {
		return
	}
	for _, field := range strings.Fields(string(pids)) {
		// 0 is a process of a namespace that we do not see.
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}
