// Package guestconfig reads the identity that the host gives a VM in its initramfs.
package guestconfig

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

const (
	// Protocol is the version of the contract between host and guest that this agent speaks.
	Protocol = 2
	maxBytes = 1 << 20
)

// Who is PID 1 once the guest is up.
const (
	AgentInit = "agent"
	ImageInit = "image"
)

// Config is /smartvm/config.json. Fields that it does not name are ignored.
type Config struct {
	Protocol int    `json:"protocol"`
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	// Init is AgentInit, which no word stands for too, or ImageInit.
	Init string `json:"init"`
	// Root is absent when the guest is to run from the initramfs itself.
	Root           *Root    `json:"root"`
	HostKey        string   `json:"hostKey"`
	AuthorizedKeys []string `json:"authorizedKeys"`
	// Seed is credited to the random pool in full.
	Seed []byte `json:"seed"`
	// TimeMs is the host's time when it started the VM, in milliseconds since 1970.
	TimeMs  int64   `json:"timeMs"`
	Network Network `json:"network"`
	// Defaults are of the commands that run in the VM.
	Defaults Defaults `json:"defaults"`
	// Container says that the root file system is of a container image: its /run and /tmp have content of their own.
	Container bool `json:"container"`
	// Modules has the kernel's modules, for a root file system without them.
	Modules *Drive `json:"modules"`
}

// Defaults hold for a command that says nothing else.
type Defaults struct {
	Env  map[string]string `json:"env"`
	User string            `json:"user"`
	Cwd  string            `json:"cwd"`
}

// Drive is a read-only file system on a block device.
type Drive struct {
	Device string `json:"device"`
	FSType string `json:"fsType"`
}

// Root says where the root file system is.
type Root struct {
	Device string `json:"device"`
	// FSType is found by magic number when empty.
	FSType   string   `json:"fsType"`
	ReadOnly bool     `json:"readOnly"`
	Overlay  *Overlay `json:"overlay"`
	// Own says that the device is this VM's alone, a copy of an image.
	Own bool `json:"own"`
	// Grow makes the file system as large as its device.
	Grow bool `json:"grow"`
}

// Overlay is the writable layer above a read-only root.
type Overlay struct {
	// Device is a block device, or "tmpfs" for a layer in memory.
	Device string `json:"device"`
	FSType string `json:"fsType"`
	// Grow makes the file system as large as its device.
	Grow bool `json:"grow"`
}

// Network is what the guest sets up at boot, and anew when it is asked to; it runs no DHCP client.
type Network struct {
	// Interfaces are in the order of precedence of their gateways.
	Interfaces []Interface `json:"interfaces"`
	DNS        []string    `json:"dns"`
}

// Interface is found by its MAC address.
type Interface struct {
	MAC string `json:"mac"`
	// NewMAC is what the address is to become: that of a machine out of a snapshot is still its twin's.
	NewMAC string `json:"newMac"`
	// Addresses are in CIDR notation. Without any, those that the interface has are left alone.
	Addresses []string `json:"addresses"`
	// Gateways are of default routes, at most one for each version of IP.
	Gateways []string `json:"gateways"`
	// MTU in bytes; 0 leaves it as it is.
	MTU int `json:"mtu"`
}

// Read reads and checks a configuration of at most 1 MiB.
func Read(path string) (*Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxBytes)
	}
	var config Config
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if config.Protocol != Protocol {
		return nil, fmt.Errorf("%s is of protocol %d, this agent speaks %d", path, config.Protocol, Protocol)
	}
	if config.Root != nil && config.Root.Device == "" {
		return nil, fmt.Errorf("%s: root has no device", path)
	}
	if config.Init != "" && config.Init != AgentInit && config.Init != ImageInit {
		return nil, fmt.Errorf("%s: there is no init %.32q", path, config.Init)
	}
	return &config, nil
}
