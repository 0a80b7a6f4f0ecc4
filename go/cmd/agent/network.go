package main

import (
	"encoding/json"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/boot"
	"smartvm.dev/go/internal/guestconfig"
)

// network is how the guest's network was set up last. It is locked from the first moment until it was for the first time.
type network struct {
	mu     sync.Mutex
	status boot.NetworkStatus
	names  boot.Names
}

// keep remembers what has become of a configuration, and says on the console what went wrong.
func (n *network) keep(status boot.NetworkStatus, names error) {
	status.Note("", "names in /etc", names)
	for _, problem := range status.Problems {
		fmt.Fprintln(console{}, "smartvm-agent:", problem)
	}
	n.status = status
}

// setNetwork sets the network up anew, or answers how it is.
func (a *agent) setNetwork(payload []byte) ([]byte, func(), error) {
	var request struct {
		Hostname string               `json:"hostname"`
		Network  *guestconfig.Network `json:"network"`
	}
	if len(payload) > 0 {
		if err := json.Unmarshal(payload, &request); err != nil {
			return nil, nil, err
		}
	}
	a.network.mu.Lock()
	defer a.network.mu.Unlock()
	if request.Network != nil {
		a.changeNetwork(request.Hostname, request.Network)
	}
	reply, err := json.Marshal(a.network.status)
	return reply, nil, err
}

func (a *agent) changeNetwork(hostname string, config *guestconfig.Network) {
	status := boot.SetUpNetwork(config)
	if hostname != "" {
		status.Note("", "hostname", unix.Sethostname([]byte(hostname)))
		a.config.Hostname = hostname
	}
	a.network.keep(status, a.network.names.Change(a.config.Hostname, config))
}
