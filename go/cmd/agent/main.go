// Command smartvm-agent boots the root file system of a microVM and serves SSH to the host: as PID 1, or beside the init of the
// guest's own image.
package main

import (
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/boot"
	"smartvm.dev/go/internal/guestconfig"
	"smartvm.dev/go/internal/handover"
	"smartvm.dev/go/internal/kmod"
	"smartvm.dev/go/internal/sshd"
)

// version is set by the linker.
var version = "0.0.0"

func main() {
	switch {
	case os.Getpid() == 1:
		fatal(beInit())
	case len(os.Args) == 2 && os.Args[1] == handover.Argument:
		os.Exit(beBeside())
	}
	os.Exit(runTool(os.Args[1:]))
}

// beInit is PID 1. It returns when there is no going on.
func beInit() error {
	if err := boot.MountKernel(); err != nil {
		return err
	}
	ctrlAltDel := catchSignals()
	unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
	config, err := guestconfig.Read(configPath)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if config.Init == guestconfig.ImageInit {
		return handover.Serve()
	}
	a := &agent{config: config, ctrlAltDel: ctrlAltDel}
	if err := a.start(); err != nil {
		return err
	}
	return a.await()
}

// beBeside is the agent where another is, or becomes, PID 1.
func beBeside() int {
	beside, err := handover.Attach()
	if err != nil {
		return runTool(nil) // a person has called it
	}
	catchSignals()
	a := &agent{beside: beside}
	if a.config, err = guestconfig.Read(configPath); err != nil {
		fatal(fmt.Errorf("configuration: %w", err))
	}
	if err := a.start(); err != nil {
		fatal(err)
	}
	fatal(a.await())
	return 1
}

// runTool is what the binary does for the agent, or for a person, when it is not init.
func runTool(args []string) int {
	switch {
	case len(args) == 1 && args[0] == "sftp":
		if err := sshd.ServeSFTP(); err != nil {
			fmt.Fprintln(os.Stderr, "smartvm-agent: sftp:", err)
			return 1
		}
		return 0
	case len(args) == 3 && args[0] == "-q" && args[1] == "--":
		return loadModule(args[2])
	case len(args) == 1 && args[0] == "--version":
		fmt.Println(version)
		return 0
	}
	fmt.Fprintln(os.Stderr, "smartvm-agent: this is for the init of a microVM alone")
	return 2
}

// loadModule is what the kernel runs where the guest has no modprobe(8).
func loadModule(name string) int {
	dir, err := boot.ModulesDir()
	if err != nil || kmod.Modprobe(dir, name) != nil {
		return 1
	}
	return 0
}

// fatal ends the VM with the reason on its console.
func fatal(err error) {
	warn(err)
	drainConsole()
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

// drainConsole waits until what was printed has left the serial port, which a reset of the machine would drop.
func drainConsole() {
	unix.IoctlSetInt(2, unix.TCSBRK, 1)
}

// catchSignals keeps the agent alive under signals that would end a Go program, and answers those of Ctrl-Alt-Del, which PID 1 gets.
func catchSignals() <-chan os.Signal {
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGTERM, unix.SIGQUIT, unix.SIGPIPE, unix.SIGUSR1,
		unix.SIGUSR2, unix.SIGALRM, unix.SIGABRT, unix.SIGTRAP, unix.SIGSYS, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGSTKFLT)
	ctrlAltDel := make(chan os.Signal, 1)
	signal.Notify(ctrlAltDel, unix.SIGINT)
	return ctrlAltDel
}

// bootRoot mounts the root file system, if there is one, and moves into it.
func (a *agent) bootRoot() error {
	if err := boot.MountDevices(); err != nil {
		return err
	}
	a.network.names = boot.Names{Etc: "/etc", Run: "/run/smartvm"}
	if a.config.Root != nil {
		root, err := boot.MountRoot(a.config.Root, a.modules)
		if err != nil {
			return fmt.Errorf("root file system: %w", err)
		}
		if err := root.Switch(); err != nil {
			return fmt.Errorf("root file system: %w", err)
		}
		a.root, a.network.names.Own = root, root.Own
	}
	if a.config.Modules != nil {
		// What needs no further module works all the same.
		warn(boot.MountModules(a.config.Modules, a.modules))
	}
	switch {
	case !a.config.Container:
		boot.MountVolatile()
	case a.beside != nil:
		boot.MountRun()
	}
	boot.WriteMachineID("/etc/machine-id")
	if cwd := a.config.Defaults.Cwd; cwd != "" {
		// As docker does; a command that cannot start there says so.
		os.MkdirAll(cwd, 0o755)
	}
	return nil
}
