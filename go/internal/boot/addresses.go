package boot

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// setMAC gives an interface another address, and the link-local address that goes with it.
func setMAC(link netlink.Link, mac net.HardwareAddr) error {
	if bytes.Equal(link.Attrs().HardwareAddr, mac) {
		return nil
	}
	// Some drivers take one only while they are down; and what goes up anew makes its link-local address anew.
	if err := netlink.LinkSetDown(link); err != nil {
		return err
	}
	return netlink.LinkSetHardwareAddr(link, mac)
}

// holdStill keeps an interface with static addresses from taking others that a router or a neighbour tells of, and from
// waiting whether somebody else has its own.
func holdStill(name string, needsIPv6 bool) error {
	dir := "/proc/sys/net/ipv6/conf/" + name
	if _, err := os.Stat(dir); err != nil {
		if needsIPv6 {
			return errors.New("the guest's kernel has no IPv6")
		}
		return nil
	}
	settings := [][2]string{{"accept_ra", "0"}, {"autoconf", "0"}, {"accept_dad", "0"}}
	if needsIPv6 {
		settings = append(settings, [2]string{"disable_ipv6", "0"})
	}
	for _, setting := range settings {
		if err := os.WriteFile(dir+"/"+setting[0], []byte(setting[1]), 0); err != nil {
			return err
		}
	}
	return nil
}

func addAddress(link netlink.Link, prefix netip.Prefix) error {
	address := &netlink.Addr{IPNet: ipNet(prefix)}
	if prefix.Addr().Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	return netlink.AddrReplace(link, address)
}

// dropAddresses takes away the global addresses that are not wanted: after a change of configuration, or those of a twin.
func dropAddresses(link netlink.Link, wanted []netip.Prefix) error {
	addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		isWanted := slices.ContainsFunc(wanted, func(prefix netip.Prefix) bool {
			return ipNet(prefix).String() == address.IPNet.String()
		})
		if !isWanted && isGlobal(&address) {
			if err := netlink.AddrDel(link, &address); err != nil {
				return err
			}
		}
	}
	return nil
}

func isGlobal(address *netlink.Addr) bool { return address.Scope == unix.RT_SCOPE_UNIVERSE }

func addGateway(link netlink.Link, gateway netip.Addr, onLink bool, metric int) error {
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice(), Priority: metric}
	if !onLink {
		route.Flags = int(netlink.FLAG_ONLINK)
	}
	return netlink.RouteReplace(route)
}

// dropGateways takes away the interface's default routes that are not wanted.
func dropGateways(link netlink.Link, wanted []netip.Addr, metric int) error {
	routes, err := netlink.RouteList(link, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, route := range routes {
		gateway, ok := netip.AddrFromSlice(route.Gw)
		isWanted := slices.Contains(wanted, gateway.Unmap()) && route.Priority == metric
		if ok && isDefault(route.Dst) && !isWanted {
			if err := netlink.RouteDel(&route); err != nil {
				return err
			}
		}
	}
	return nil
}

func isDefault(destination *net.IPNet) bool {
	if destination == nil {
		return true
	}
	ones, _ := destination.Mask.Size()
	return ones == 0
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   prefix.Addr().AsSlice(),
		Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
	}
}
