package boot

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	arpEthernet = 1
	arpRequest  = 1

	icmpNeighbourAdvertisement = 136
	// RFC 4861: what is known of the address already is to be replaced.
	overrideFlag       = 0x20
	targetLinkAddress  = 2
	neighbourHopLimit  = 255
	etherAddressLength = 6
)

// announce tells the neighbours of an interface whose its addresses are now. One that has talked to a guest which had them before
// would go on sending to that one's MAC address, for as long as the better part of a minute. Nobody is worse off than before where it
// cannot be done.
func announce(link netlink.Link) {
	addresses, _ := netlink.AddrList(link, netlink.FAMILY_ALL)
	for _, address := range addresses {
		ip, ok := netip.AddrFromSlice(address.IP)
		switch mac := link.Attrs().HardwareAddr; {
		case !ok || !isGlobal(&address) || len(mac) != etherAddressLength:
		case ip.Unmap().Is4():
			announceIPv4(link.Attrs().Index, mac, ip.Unmap())
		default:
			announceIPv6(link.Attrs().Index, mac, ip)
		}
	}
}

// announceIPv4 sends an ARP announcement (RFC 5227).
func announceIPv4(index int, mac net.HardwareAddr, ip netip.Addr) {
	protocol := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ARP))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	to := unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index, Halen: etherAddressLength}
	for i := range etherAddressLength {
		to.Addr[i] = 0xff
	}
	unix.Sendto(fd, arpAnnouncement(mac, ip), 0, &to)
}

func arpAnnouncement(mac net.HardwareAddr, ip netip.Addr) []byte {
	packet := binary.BigEndian.AppendUint16(nil, arpEthernet)
	packet = binary.BigEndian.AppendUint16(packet, unix.ETH_P_IP)
	packet = append(packet, etherAddressLength, net.IPv4len)
	packet = binary.BigEndian.AppendUint16(packet, arpRequest)
	packet = append(append(packet, mac...), ip.AsSlice()...)
	packet = append(packet, make([]byte, etherAddressLength)...)
	return append(packet, ip.AsSlice()...)
}

// announceIPv6 sends an unsolicited neighbour advertisement to all nodes of the link (RFC 4861, 7.2.6).
func announceIPv6(index int, mac net.HardwareAddr, ip netip.Addr) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, neighbourHopLimit)
	if unix.Bind(fd, &unix.SockaddrInet6{Addr: ip.As16()}) == nil {
		to := unix.SockaddrInet6{Addr: netip.IPv6LinkLocalAllNodes().As16(), ZoneId: uint32(index)}
		unix.Sendto(fd, neighbourAdvertisement(mac, ip), 0, &to)
	}
}

// neighbourAdvertisement is without its checksum, which the kernel fills in.
func neighbourAdvertisement(mac net.HardwareAddr, ip netip.Addr) []byte {
	packet := append([]byte{icmpNeighbourAdvertisement, 0, 0, 0, overrideFlag, 0, 0, 0}, ip.AsSlice()...)
	return append(append(packet, targetLinkAddress, 1), mac...)
}
