package handover

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Paths are where an image has its init: where the kernel looks for it, where programs are that have no link there, and those of
// systemd and OpenRC. There is no shell among them: a guest that is meant to have an init is not to go on without.
var Paths = []string{
	"/sbin/init", "/etc/init", "/bin/init", "/usr/sbin/init",
	"/lib/systemd/systemd", "/usr/lib/systemd/systemd", "/sbin/openrc-init",
}

// Init is the program to which PID 1 goes.
type Init struct {
	// Path is where it was found, by which programs of many names know what they are to be.
	Path string
	// IsSystemd says that it tells when it is up, and knows systemd's signals.
	IsSystemd bool
}

// Find answers the init of the root file system of this process, or nil.
func Find() *Init {
	for _, path := range Paths {
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && unix.Access(path, unix.X_OK) == nil {
			program, _ := filepath.EvalSymlinks(path)
			return &Init{Path: path, IsSystemd: filepath.Base(program) == "systemd"}
		}
	}
	return nil
}

// Missing says what was looked for.
func Missing() string {
	return "the image has no init: none of " + strings.Join(Paths, ", ") + " is a program"
}
