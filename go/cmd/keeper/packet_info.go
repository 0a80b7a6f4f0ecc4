package main

import (
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// packetInfoSpace has room for what the kernel says of one datagram.
var packetInfoSpace = unix.CmsgSpace(unix.SizeofInet6Pktinfo)

// tellPacketInfo has the kernel say with each datagram to which address of the host it was sent.
func tellPacketInfo(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = raw.Control(func(fd uintptr) {
		level, option := unix.SOL_IPV6, unix.IPV6_RECVPKTINFO
		if conn.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
			level, option = unix.SOL_IP, unix.IP_PKTINFO
		}
		failure = unix.SetsockoptInt(int(fd), level, option, 1)
	})
	if err != nil {
		return err
	}
	return failure
}

// sentTo is the address of the host to which a datagram was sent, by what the kernel says of it; of a dual-stack socket, IPv4 is
// mapped. Invalid where that is nobody's own.
func sentTo(control []byte) netip.Addr {
	messages, _ := unix.ParseSocketControlMessage(control)
	for _, message := range messages {
		switch {
		case message.Header.Level == unix.SOL_IP && message.Header.Type == unix.IP_PKTINFO && len(message.Data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4((*unix.Inet4Pktinfo)(unsafe.Pointer(&message.Data[0])).Spec_dst)
		case message.Header.Level == unix.SOL_IPV6 && message.Header.Type == unix.IPV6_PKTINFO && len(message.Data) >= unix.SizeofInet6Pktinfo:
			if address := netip.AddrFrom16((*unix.Inet6Pktinfo)(unsafe.Pointer(&message.Data[0])).Addr); !address.IsMulticast() {
				return address
			}
		}
	}
	return netip.Addr{}
}

// sendFrom is what tells the kernel which address of the host a datagram is to come from; empty: whichever the route says.
func sendFrom(address netip.Addr) []byte {
	switch {
	case address.Is4():
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: address.As4()})
	case address.Is6():
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: address.As16()})
	}
	return nil
}
