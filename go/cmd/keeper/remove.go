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

// record is what a keeper reads of the record of its VM.
type record struct {
	Detached, RemoveOnExit bool
	Owner                  struct {
		Pid       int
		StartTime string
	}
	Journal struct{ Taps, Sockets, Layers []string }
}

func readRecord(dir string) (record, error) {
	var r record
	text, err := os.ReadFile(filepath.Join(dir, "vm.json"))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

// clearUp removes what nobody needs of a VM that has ended. What its record names outside its directory is the programs' to undo.
// isLeft waits for whether the owner, which lives by what can be seen, has ended behind its last word.
func clearUp(dir string, isOrphan bool, isLeft func() bool) error {
	r, err := readRecord(dir)
	switch {
	case isOrphan && errors.Is(err, fs.ErrNotExist):
		return removeTree(dir)
	case errors.Is(err, fs.ErrNotExist):
		return nil // a program has removed it
	case err != nil:
		return fmt.Errorf("%s is left: its record: %w", dir, err)
	case isOrphan || r.isRemovedOnExit(isLeft):
		return removeOrphan(dir, r)
	case r.Detached:
		return giveBack(dir)
	}
	return nil
}

// removeOrphan removes the directory of a VM whose owner is gone. One whose record names things outside it stays: who
// undoes those has to know of them.
func removeOrphan(dir string, r record) error {
	if len(r.Journal.Taps)+len(r.Journal.Sockets)+len(r.Journal.Layers) > 0 {
		return nil
	}
	if isSnapshotUnderWay, err := hasSnapshotFolders(dir); err != nil || isSnapshotUnderWay {
		return err
	}
	return removeTree(dir)
}

// isRemovedOnExit is true for a VM whose record says that nothing of it is to stay, and whose program is not there to see to
// that: one that lives has more to give back than is written here.
func (r record) isRemovedOnExit(isLeft func() bool) bool {
	if !r.RemoveOnExit || !r.Detached {
		return false
	}
	startTime, err := procid.StartTime(r.Owner.Pid)
	return err != nil || startTime != r.Owner.StartTime || isLeft()
}

// giveBack empties the folder of the VMM: what the guest wrote may be big, and of a VM that is detached nobody may come for long.
// That the folder itself is there tells the next program that there may be more to give back.
func giveBack(dir string) error {
	folder := filepath.Join(dir, "vmm")
	if err := refuseMounts(folder); err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(folder, entry.Name())))
	}
	return err
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
	if err := refuseMounts(dir); err != nil {
		return err
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

func refuseMounts(dir string) error {
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
	return nil
}
