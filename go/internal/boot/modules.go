package boot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/guestconfig"
	"smartvm.dev/go/internal/kmod"
)

// modprobe is the agent as the kernel runs it, for modules that something in the guest needs: see kernel.modprobe in
// proc(5). The file is gone from every directory by then, but not from the process.
func modprobe() string { return fmt.Sprintf("/proc/%d/exe", os.Getpid()) }

// ModulesDir is where the modules of the running kernel are, in the guest's own root file system.
func ModulesDir() (string, error) {
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		return "", os.NewSyscallError("uname", err)
	}
	return "/lib/modules/" + unix.ByteSliceToString(kernel.Release[:]), nil
}

// MountModules mounts the drive with the kernel's modules, which an image made for any kernel does not have, and loads
// them on the kernel's demand where the image has nothing that does. It comes after Switch.
func MountModules(drive *guestconfig.Drive, modules *kmod.Loader) error {
	if _, err := os.Stat("/sbin/modprobe"); err != nil {
		if err := os.WriteFile("/proc/sys/kernel/modprobe", []byte(modprobe()), 0); err != nil {
			return err
		}
	}
	dir, err := ModulesDir()
	if err != nil {
		return err
	}
	if err := waitFor(drive.Device, deviceTimeout); err != nil {
		return err
	}
	if err := modules.Load(drive.FSType); err != nil {
		return err
	}
	return mount{drive.Device, dir, drive.FSType, unix.MS_RDONLY | hardened, ""}.do()
}
