package handover

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/guestlimits"
	"smartvm.dev/go/internal/reaper"
)

// Signals to which systemd goes into its targets, as systemd(1) has them. The first real-time signal of programs is 34.
const (
	systemdPoweroff = syscall.Signal(34 + 4)
	systemdReboot   = syscall.Signal(34 + 5)
)

var errNoWay = errors.New("the image has no program that ends it in order")

// End asks the init to end the machine in its own order, by a command of reboot(2). A program that does so is in none of the groups. An
// error says that there is no way to ask.
func (b *Beside) End(command int, children *reaper.Reaper, groups *guestlimits.Groups) error {
	isReboot := command == unix.LINUX_REBOOT_CMD_RESTART
	if b.init == nil || b.Now().State == Failed {
		return errNoWay
	}
	if b.init.IsSystemd {
		if isReboot {
			return unix.Kill(1, systemdReboot)
		}
		return unix.Kill(1, systemdPoweroff)
	}
	program := "poweroff"
	if isReboot {
		program = "reboot"
	}
	for _, dir := range []string{"/sbin/", "/usr/sbin/", "/bin/", "/usr/bin/"} {
		// Each init comes with its own, which knows how to speak to it.
		if _, err := os.Stat(dir + program); err == nil {
			return startOutside(dir+program, children, groups)
		}
	}
	return errNoWay
}

// startOutside starts a program that outlives what is in the groups, as this process is.
func startOutside(path string, children *reaper.Reaper, groups *guestlimits.Groups) error {
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{}}
	if outside := groups.Outside(); outside != nil {
		defer outside.Close()
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, outside.FD()
	}
	_, err := children.Start(path, []string{filepath.Base(path)}, attr)
	return err
}
