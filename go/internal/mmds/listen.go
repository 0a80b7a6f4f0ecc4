package mmds

import (
	"errors"
	"net"

	"github.com/vishvananda/netlink"
)

const port = 80

// listenLocal takes the address for this machine, so that no request for metadata ever leaves it, and listens there.
func listenLocal(address net.IP) (net.Listener, error) {
	link, err := loopback()
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, err
	}
	only := &net.IPNet{IP: address, Mask: net.CIDRMask(32, 32)}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: only}); err != nil {
		return nil, err
	}
	return net.ListenTCP("tcp4", &net.TCPAddr{IP: address, Port: port})
}

func loopback() (netlink.Link, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		if link.Attrs().Flags&net.FlagLoopback != 0 {
			return link, nil
		}
	}
	return nil, errors.New("there is no loopback interface")
}
