package main

import (
	"fmt"
	"os"
	"strings"
)

// removeTree removes a directory, but never what is mounted in it.
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
	return os.RemoveAll(dir)
}
