package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/boot"
	"smartvm.dev/go/internal/guestconfig"
	"smartvm.dev/go/internal/guestlimits"
	"smartvm.dev/go/internal/handover"
	"smartvm.dev/go/internal/kmod"
	"smartvm.dev/go/internal/passwd"
	"smartvm.dev/go/internal/reaper"
	"smartvm.dev/go/internal/sshd"
	"smartvm.dev/go/internal/uevent"
)

const (
	configPath  = "/smartvm/config.json"
	modulesPath = "/smartvm/modules.json"
)

type agent struct {
	config     *guestconfig.Config
	modules    *kmod.Loader
	children   *reaper.Reaper
	transports *transports
	groups     *guestlimits.Groups
	root       *boot.Root
	network    network
	// Nil where this is PID 1.
	beside     *handover.Beside
	ctrlAltDel <-chan os.Signal
	// Takes the reboot(2) command of a shutdown.
	stop chan int
}

// start boots the machine. It serves the host as soon as the device for that is there, while the rest goes on.
func (a *agent) start() error {
	a.children, a.stop = reaper.New(), make(chan int, 1)
	a.groups = guestlimits.New("/sys/fs/cgroup")
	go a.children.Run()
	a.network.mu.Lock()
	// Before anything asks for random bytes.
	if err := boot.SeedRandom(a.config.Seed); err != nil {
		return fmt.Errorf("random seed: %w", err)
	}
	if err := boot.AdvanceClock(a.config.TimeMs); err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	if err := unix.Sethostname([]byte(a.config.Hostname)); err != nil {
		return fmt.Errorf("hostname %q: %w", a.config.Hostname, err)
	}
	return a.bring()
}

func (a *agent) bring() error {
	ready := make(chan struct{})
	server, err := sshd.New(sshd.Options{
		HostKey:        a.config.HostKey,
		AuthorizedKeys: a.config.AuthorizedKeys,
		Ready:          ready,
		Reaper:         a.children,
		Lookup:         func(name string) (passwd.User, error) { return passwd.Lookup("/etc", name) },
		Defaults:       a.config.Defaults,
		Console:        console{},
		Ended:          a.ended,
		Groups:         a.groups,
		SFTP:           []string{"/proc/self/exe", "sftp"},
		Requests:       a.requests(),
	})
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	// The initramfs's own directory: it holds the modules that are asked for later, when it is no longer the root.
	initramfs, err := os.Open("/")
	if err != nil {
		return err
	}
	if a.modules, err = kmod.Open(initramfs, modulesPath); err != nil {
		return err
	}
	if a.transports, err = newTransports(server, a.modules); err != nil {
		return err
	}
	if err := a.transports.watch(); err != nil {
		return err
	}
	if err := a.plug(); err != nil {
		return err
	}
	// What has no name yet cannot be set up, but the host can still reach the guest and look.
	status := boot.SetUpNetwork(&a.config.Network)
	if err := a.bootRoot(); err != nil {
		return err
	}
	a.network.keep(status, a.network.names.Boot(a.config.Hostname, &a.config.Network))
	a.network.mu.Unlock()
	if a.beside != nil {
		if err := a.handOver(); err != nil {
			return err
		}
	}
	close(ready)
	// Programs that are to listen on vsock must find it there, but nobody waits for it.
	go func() { warn(a.transports.loadLoopback()) }()
	return nil
}

// plug loads the drivers of the devices that are there and, from then on, of those that come.
func (a *agent) plug() error {
	events, err := uevent.Listen()
	if err != nil {
		return fmt.Errorf("device events: %w", err)
	}
	warn(a.modules.Coldplug("/sys"))
	for {
		// A driver's devices are announced by the time that it is loaded.
		event, err := events.Pending()
		if err != nil {
			return fmt.Errorf("device events: %w", err)
		}
		if event == nil {
			break
		}
		a.load(event)
	}
	go func() {
		for {
			event, err := events.Next()
			if err != nil {
				warn(err)
				return
			}
			a.load(event)
		}
	}()
	return nil
}

func (a *agent) load(event uevent.Event) {
	if modalias := event["MODALIAS"]; modalias != "" && event["ACTION"] == "add" {
		warn(a.modules.Alias(modalias))
	}
}
