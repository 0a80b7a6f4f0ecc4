package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"smartvm.dev/go/internal/procid"
)

// removeOrphan removes the directory of a VM whose owner is gone. One whose record names things outside it stays: who
// undoes those has to know of them.
func removeOrphan(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "vm.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return removeTree(dir)
	}
	if err != nil {
		return err
	}
	var record struct {
		Journal struct{ Taps, Sockets, Layers []string }
	}
	if err := json.Unmarshal(text, &record); err != nil {
		return fmt.Errorf("%s is left: its record: %w", dir, err)
	}
	if j := record.Journal; len(j.Taps)+len(j.Sockets)+len(j.Layers) > 0 {
		return nil
	}
	if isSnapshotUnderWay, err := hasSnapshotFolders(dir); err != nil || isSnapshotUnderWay {
		return err
	}
	return removeTree(dir)
}

// isRemovedOnExit is true for a VM whose record says that nothing of it is to stay, and whose program is not there to see to
// that: one that lives has more to give back than is written here.
func isRemovedOnExit(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "vm.json"))
	if err != nil {
		return false
	}
	var record struct {
		RemoveOnExit, Detached bool
		Owner                  struct {
			Pid       int
			StartTime string
		}
	}
	if json.Unmarshal(text, &record) != nil || !record.RemoveOnExit || !record.Detached {
		return false
	}
	startTime, err := procid.StartTime(record.Owner.Pid)
	return err != nil || startTime != record.Owner.StartTime
}

// hasSnapshotFolders says whether there are entries that name the folders in which a snapshot is being written.
func hasSnapshotFolders(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	return slices.ContainsFunc(entries, func(entry fs.DirEntry) bool {
		return strings.HasPrefix(entry.Name(), ".smartvm-")
	}), err
}

// removeTree removes a directory, but never what is mounted in it. Nobody sees a part of it under its name.
func removeTree(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		// Field 5 is the mount point (proc(5)).
		fields := strings.Fields(line)
		if len(fields) > 4 && (fields[4] == dir || strings.HasPrefix(fields[4], dir+"/")) {
			return fmt.Errorf("%s is left: something is mounted on %s", dir, fields[4])
		}
	}
	startTime, err := procid.StartTime(os.Getpid())
	if err != nil {
		return err
	}
	// What a process that is dead by then has left under such a name, the next program removes.
	gone := filepath.Join(filepath.Dir(dir), fmt.Sprintf(".gone-%d-%s-%x", os.Getpid(), startTime, os.Getppid()))
	if err := os.Rename(dir, gone); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}
