package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/kmod"
	"smartvm.dev/go/internal/mmds"
	"smartvm.dev/go/internal/sshd"
	"smartvm.dev/go/internal/uevent"
	"smartvm.dev/go/internal/vport"
)

const (
	sshPort = 10022
	// The name of the virtio-serial port that stands in for vsock where the VMM has no vhost-vsock.
	portName = "dev.smartvm.vsock"
	// The name of the stream over it on which the VMM tells of its MMDS.
	mmdsName = "mmds"
	// The context id of the guest itself (vsock(7)).
	cidLocal = 1
)

// transports are the ways in which the host reaches the guest. Each serves from when its device is there.
type transports struct {
	ssh     *sshd.Server
	modules *kmod.Loader
	mmds    *mmds.Service
	// /dev, wherever it is mounted.
	dev *os.File

	mu        sync.Mutex
	port      string
	listening bool
}

func newTransports(ssh *sshd.Server, modules *kmod.Loader) (*transports, error) {
	dev, err := os.Open("/dev")
	if err != nil {
		return nil, err
	}
	return &transports{ssh: ssh, modules: modules, mmds: mmds.New(), dev: dev}, nil
}

// watch begins to serve over the devices that are there, and from then on over those that come.
func (t *transports) watch() error {
	events, err := uevent.Listen()
	if err != nil {
		return fmt.Errorf("device events: %w", err)
	}
	t.attachPort()
	t.attachVsock()
	go func() {
		for {
			event, err := events.Next()
			if err != nil {
				warn(err)
				return
			}
			// A port is announced anew when it learns its name, a virtio device when its driver has taken it. An
			// empty event stands for lost ones.
			switch subsystem := event["SUBSYSTEM"]; {
			case len(event) == 0:
				t.attachPort()
				t.attachVsock()
			case subsystem == "virtio-ports":
				t.attachPort()
			case subsystem == "virtio" && event["ACTION"] == "bind":
				t.attachVsock()
			}
		}
	}()
	return nil
}

func (t *transports) attachPort() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.port != "" {
		return
	}
	if t.port = vport.Find(portName); t.port != "" {
		go t.servePort(t.port)
	}
}

func (t *transports) attachVsock() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listening || !hasVsockDevice() {
		return
	}
	listener, err := vsock.ListenContextID(unix.VMADDR_CID_ANY, sshPort, nil)
	if err != nil {
		warn(fmt.Errorf("vsock port %d: %w", sshPort, err))
		return
	}
	t.listening = true
	go t.serveVsock(listener)
}

func (t *transports) servePort(name string) {
	server := &vport.Server{
		Handlers: map[uint32]func(net.Conn){sshPort: t.ssh.Serve},
		Named:    map[string]func(net.Conn){mmdsName: func(stream net.Conn) { warn(t.mmds.Feed(stream)) }},
		Dial:     t.dialLocal,
	}
	warn(server.Serve(t.dev, name))
	t.mu.Lock()
	t.port = ""
	t.mu.Unlock()
}

func (t *transports) serveVsock(listener *vsock.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			warn(err)
			return
		}
		go t.ssh.Serve(conn)
	}
}

// dialLocal reaches a program of the guest that listens on vsock.
func (t *transports) dialLocal(ctx context.Context, port uint32) (net.Conn, error) {
	if err := t.loadLoopback(); err != nil {
		return nil, err
	}
	return vsock.DialContext(ctx, cidLocal, port, nil)
}

// loadLoopback makes vsock sockets work in a guest without a vsock device.
func (t *transports) loadLoopback() error { return t.modules.Load("vsock_loopback") }

// hasVsockDevice asks whether the kernel knows a context id that the VMM has given this machine: the module alone, or
// its loopback, is no way in.
func hasVsockDevice() bool {
	cid, err := vsock.ContextID()
	return err == nil && cid > vsock.Host && cid != unix.VMADDR_CID_ANY
}
