package boot

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/guestconfig"
)

const (
	// How long an interface may take to appear once its device is there, and its link to come up.
	linkTimeout = 2 * time.Second
	// Between the default routes of two interfaces, of which the first is preferred.
	metricStep = 100
)

// NetworkStatus is what has become of a configuration.
type NetworkStatus struct {
	Interfaces []InterfaceStatus `json:"interfaces"`
	Problems   []Problem         `json:"problems"`
}

// InterfaceStatus is an interface as the guest has it.
type InterfaceStatus struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac"`
	MTU       int      `json:"mtu"`
	Addresses []string `json:"addresses"`
}

// Problem is one part of a configuration that could not be brought about.
type Problem struct {
	// Interface is the configured MAC address; empty for what belongs to none.
	Interface string `json:"interface,omitempty"`
	What      string `json:"what"`
	Why       string `json:"why"`
}

func (p Problem) String() string {
	if p.Interface == "" {
		return fmt.Sprintf("network: %s: %s", p.What, p.Why)
	}
	return fmt.Sprintf("network interface %s: %s: %s", p.Interface, p.What, p.Why)
}

// Note adds what went wrong, if anything did.
func (s *NetworkStatus) Note(mac, what string, err error) {
	if err != nil {
		s.Problems = append(s.Problems, Problem{mac, what, err.Error()})
	}
}

// SetUpNetwork brings up the loopback interface and the configured ones. It does what it can, and can be done again.
func SetUpNetwork(config *guestconfig.Network) NetworkStatus {
	status := NetworkStatus{Interfaces: []InterfaceStatus{}, Problems: []Problem{}}
	links, err := awaitLinks(func(links []netlink.Link) bool {
		for i := range config.Interfaces {
			_, invalid := net.ParseMAC(config.Interfaces[i].MAC)
			if invalid == nil && findLink(&config.Interfaces[i], links) == nil {
				return false
			}
		}
		return true
	})
	status.Note("", "list of interfaces", err)
	for _, link := range links {
		if link.Attrs().Flags&net.FlagLoopback != 0 {
			status.Note("", link.Attrs().Name, netlink.LinkSetUp(link))
		}
	}
	for i := range config.Interfaces {
		setUp(&config.Interfaces[i], links, (i+1)*metricStep, &status)
	}
	awaitCarriers(config.Interfaces, &status)
	return status
}

func setUp(config *guestconfig.Interface, links []netlink.Link, metric int, status *NetworkStatus) {
	note := func(what string, err error) bool {
		status.Note(config.MAC, what, err)
		return err == nil
	}
	plan, err := planOf(config)
	if !note("configuration", err) {
		return
	}
	link := findLink(config, links)
	if link == nil {
		note("device", errors.New("there is no interface with this MAC address"))
		return
	}
	if plan.newMAC != nil {
		note("MAC address "+config.NewMAC, setMAC(link, plan.newMAC))
	}
	if config.MTU != 0 && config.MTU != link.Attrs().MTU {
		note(fmt.Sprintf("MTU %d", config.MTU), netlink.LinkSetMTU(link, config.MTU))
	}
	if len(plan.addresses) > 0 {
		note("IPv6 settings", holdStill(link.Attrs().Name, plan.hasIPv6()))
	}
	if !note("link", netlink.LinkSetUp(link)) || len(plan.addresses) == 0 {
		return
	}
	note("addresses", dropAddresses(link, plan.addresses))
	for _, prefix := range plan.addresses {
		note("address "+prefix.String(), addAddress(link, prefix))
	}
	note("routes", dropGateways(link, plan.gateways, metric))
	for _, gateway := range plan.gateways {
		note("gateway "+gateway.String(), addGateway(link, gateway, plan.isOnLink(gateway), metric))
	}
}

// awaitLinks waits until the interfaces are as they should be, and answers them as they are when they do not become so.
func awaitLinks(ready func([]netlink.Link) bool) ([]netlink.Link, error) {
	links, err := netlink.LinkList()
	if err != nil || ready(links) {
		return links, err
	}
	updates, done := make(chan netlink.LinkUpdate), make(chan struct{})
	if err := netlink.LinkSubscribe(updates, done); err != nil {
		return links, err
	}
	defer func() {
		close(done)
		go func() {
			for range updates { // what it is about to tell must not hold it back from its end
			}
		}()
	}()
	for timeout := time.After(linkTimeout); ; {
		if links, err = netlink.LinkList(); err != nil || ready(links) {
			return links, err
		}
		select {
		case _, open := <-updates:
			if !open {
				return links, errors.New("the kernel tells nothing more of its interfaces")
			}
		case <-timeout:
			return links, nil
		}
	}
}

// awaitCarriers waits until what is sent gets out, says on the links whose the addresses are, and here which interfaces there are.
func awaitCarriers(configs []guestconfig.Interface, status *NetworkStatus) {
	// A link that has its carrier drops what is sent until the kernel has made it ready to run, a moment later.
	const ready = unix.IFF_LOWER_UP | unix.IFF_RUNNING
	hasCarrier := func(link netlink.Link) bool { return link.Attrs().RawFlags&ready == ready }
	links, err := awaitLinks(func(links []netlink.Link) bool {
		for i := range configs {
			if link := findLink(&configs[i], links); link != nil && !hasCarrier(link) {
				return false
			}
		}
		return true
	})
	status.Note("", "state of the links", err)
	for i := range configs {
		link := findLink(&configs[i], links)
		if link == nil {
			continue
		}
		if !hasCarrier(link) {
			status.Note(configs[i].MAC, "link", errors.New("it has no carrier: the host's side of it is down"))
		} else {
			announce(link)
		}
		status.Interfaces = append(status.Interfaces, statusOf(link))
	}
}

func statusOf(link netlink.Link) InterfaceStatus {
	attrs := link.Attrs()
	status := InterfaceStatus{Name: attrs.Name, MAC: attrs.HardwareAddr.String(), MTU: attrs.MTU, Addresses: []string{}}
	addresses, _ := netlink.AddrList(link, netlink.FAMILY_ALL)
	for _, address := range addresses {
		if isGlobal(&address) {
			status.Addresses = append(status.Addresses, address.IPNet.String())
		}
	}
	return status
}

// findLink finds an interface by the address it has, was made with, or was given by an earlier configuration.
func findLink(config *guestconfig.Interface, links []netlink.Link) netlink.Link {
	mac, _ := net.ParseMAC(config.MAC)
	newMAC, _ := net.ParseMAC(config.NewMAC)
	has := []func(*netlink.LinkAttrs) bool{
		func(a *netlink.LinkAttrs) bool { return mac != nil && bytes.Equal(a.HardwareAddr, mac) },
		func(a *netlink.LinkAttrs) bool { return mac != nil && bytes.Equal(a.PermHWAddr, mac) },
		func(a *netlink.LinkAttrs) bool { return newMAC != nil && bytes.Equal(a.HardwareAddr, newMAC) },
	}
	for _, isIt := range has {
		for _, link := range links {
			if link.Attrs().Flags&net.FlagLoopback == 0 && isIt(link.Attrs()) {
				return link
			}
		}
	}
	return nil
}

// plan is a configuration of which everything has been understood.
type plan struct {
	newMAC    net.HardwareAddr
	addresses []netip.Prefix
	gateways  []netip.Addr
}

func planOf(config *guestconfig.Interface) (plan, error) {
	var p plan
	var err error
	if _, err = net.ParseMAC(config.MAC); err != nil {
		return p, err
	}
	if config.NewMAC != "" {
		if p.newMAC, err = net.ParseMAC(config.NewMAC); err != nil {
			return p, err
		}
	}
	for _, text := range config.Addresses {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return p, err
		}
		p.addresses = append(p.addresses, prefix)
	}
	for _, text := range config.Gateways {
		gateway, err := netip.ParseAddr(text)
		if err != nil {
			return p, err
		}
		p.gateways = append(p.gateways, gateway)
	}
	return p, nil
}

func (p *plan) hasIPv6() bool {
	for _, prefix := range p.addresses {
		if prefix.Addr().Is6() {
			return true
		}
	}
	return false
}

// isOnLink says whether an address is known to be a neighbour's.
func (p *plan) isOnLink(address netip.Addr) bool {
	if address.Is6() && address.IsLinkLocalUnicast() {
		return true
	}
	for _, prefix := range p.addresses {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}
