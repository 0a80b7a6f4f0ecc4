package boot

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"smartvm.dev/go/internal/guestconfig"
)

// SetUpNetwork brings up the loopback interface and the configured ones. It does what it can and answers all errors.
func SetUpNetwork(config *guestconfig.Network) error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("network interfaces: %w", err)
	}
	var errs []error
	for _, link := range links {
		if link.Attrs().Flags&net.FlagLoopback != 0 {
			errs = append(errs, netlink.LinkSetUp(link))
		}
	}
	for i := range config.Interfaces {
		if err := setUp(&config.Interfaces[i], links); err != nil {
			errs = append(errs, fmt.Errorf("network interface %s: %w", config.Interfaces[i].MAC, err))
		}
	}
	return errors.Join(errs...)
}

func setUp(config *guestconfig.Interface, links []netlink.Link) error {
	link, err := findLink(config.MAC, links)
	if err != nil {
		return err
	}
	if config.MTU != 0 {
		if err := netlink.LinkSetMTU(link, config.MTU); err != nil {
			return fmt.Errorf("MTU %d: %w", config.MTU, err)
		}
	}
	for _, cidr := range config.Addresses {
		address, err := netlink.ParseAddr(cidr)
		if err != nil {
			return fmt.Errorf("address %s: %w", cidr, err)
		}
		if err := netlink.AddrReplace(link, address); err != nil {
			return fmt.Errorf("address %s: %w", cidr, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	if config.Gateway == "" {
		return nil
	}
	gateway := net.ParseIP(config.Gateway)
	if gateway == nil {
		return fmt.Errorf("gateway %s is not an address", config.Gateway)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("gateway %s: %w", config.Gateway, err)
	}
	return nil
}

func findLink(mac string, links []netlink.Link) (netlink.Link, error) {
	address, err := net.ParseMAC(mac)
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		if bytes.Equal(link.Attrs().HardwareAddr, address) {
			return link, nil
		}
	}
	return nil, errors.New("there is none with this address")
}
