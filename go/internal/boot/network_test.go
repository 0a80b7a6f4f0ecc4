package boot

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/guestconfig"
)

// inNamespace gives the test's thread namespaces of its own; the thread ends with the test.
func inNamespace(t *testing.T, flags int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(flags); err != nil {
		t.Fatal(err)
	}
}

const mac = "02:00:00:00:00:01"

// cable makes an interface of the guest, eth0, and the other end of its wire.
func cable(t *testing.T, hardware string) (guest, host netlink.Link) {
	t.Helper()
	address, err := net.ParseMAC(hardware)
	if err != nil {
		t.Fatal(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = "eth0", address
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "tap0"}); err != nil {
		t.Fatal(err)
	}
	if guest, err = netlink.LinkByName("eth0"); err != nil {
		t.Fatal(err)
	}
	if host, err = netlink.LinkByName("tap0"); err != nil {
		t.Fatal(err)
	}
	return guest, host
}

func up(t *testing.T, link netlink.Link) {
	t.Helper()
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
}

func dualStack() guestconfig.Interface {
	return guestconfig.Interface{
		MAC:       mac,
		Addresses: []string{"172.30.0.2/24", "fd00:1::2/64"},
		Gateways:  []string{"172.30.0.1", "fd00:1::1"},
		MTU:       1400,
	}
}

func networkOf(interfaces ...guestconfig.Interface) *guestconfig.Network {
	return &guestconfig.Network{Interfaces: interfaces}
}

// routesOf are the default routes as `gateway metric`.
func routesOf(t *testing.T) []string {
	t.Helper()
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, route := range routes {
		if route.Gw != nil && isDefault(route.Dst) {
			found = append(found, fmt.Sprintf("%s %d", route.Gw, route.Priority))
		}
	}
	slices.Sort(found)
	return found
}

func setting(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(read(t, "/proc/thread-self/root/proc/sys/net/ipv6/conf/eth0/"+name))
}

func TestSetUpNetworkGivesAnInterfaceWhatItIsToHave(t *testing.T) {
	inNamespace(t, unix.CLONE_NEWNET)
	_, host := cable(t, mac)
	up(t, host)
	for range 2 { // once more changes nothing
		status := SetUpNetwork(networkOf(dualStack()))
		if len(status.Problems) > 0 {
			t.Fatal(status.Problems)
		}
		want := InterfaceStatus{Name: "eth0", MAC: mac, MTU: 1400, Addresses: []string{"172.30.0.2/24", "fd00:1::2/64"}}
		if got := fmt.Sprint(status.Interfaces); got != fmt.Sprint([]InterfaceStatus{want}) {
			t.Errorf("interfaces %s", got)
		}
		if got := routesOf(t); !slices.Equal(got, []string{"172.30.0.1 100", "fd00:1::1 100"}) {
			t.Errorf("routes %v", got)
		}
	}
	for _, name := range []string{"accept_ra", "autoconf", "accept_dad"} {
		if got := setting(t, name); got != "0" {
			t.Errorf("%s is %s", name, got)
		}
	}
	loopback, err := netlink.LinkByName("lo")
	if err != nil || loopback.Attrs().Flags&net.FlagUp == 0 {
		t.Errorf("loopback: %v, %v", loopback, err)
	}
}

func TestSetUpNetworkMakesATwinItself(t *testing.T) {
	inNamespace(t, unix.CLONE_NEWNET)
	_, host := cable(t, mac)
	up(t, host)
	if status := SetUpNetwork(networkOf(dualStack())); len(status.Problems) > 0 {
		t.Fatal(status.Problems)
	}
	clone := guestconfig.Interface{
		MAC:       mac,
		NewMAC:    "02:00:00:00:00:09",
		Addresses: []string{"172.30.0.9/24", "fd00:1::9/64"},
		Gateways:  []string{"172.30.0.254"},
	}
	for range 2 {
		status := SetUpNetwork(networkOf(clone))
		if len(status.Problems) > 0 {
			t.Fatal(status.Problems)
		}
		got := status.Interfaces[0]
		if got.MAC != clone.NewMAC || !slices.Equal(got.Addresses, clone.Addresses) {
			t.Errorf("%+v", got)
		}
		if got := routesOf(t); !slices.Equal(got, []string{"172.30.0.254 100"}) {
			t.Errorf("routes %v", got)
		}
	}
	link, _ := netlink.LinkByName("eth0")
	addresses, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		if address.IP.IsLinkLocalUnicast() && address.IP.String() != "fe80::ff:fe00:9" {
			t.Errorf("the twin's link-local address %s", address.IP)
		}
	}
}

func TestSetUpNetworkReachesAGatewayBesideItsPrefixes(t *testing.T) {
	inNamespace(t, unix.CLONE_NEWNET)
	_, host := cable(t, mac)
	up(t, host)
	lone := guestconfig.Interface{MAC: mac, Addresses: []string{"10.0.0.2/32"}, Gateways: []string{"169.254.1.1"}}
	if status := SetUpNetwork(networkOf(lone)); len(status.Problems) > 0 {
		t.Fatal(status.Problems)
	}
	if got := routesOf(t); !slices.Equal(got, []string{"169.254.1.1 100"}) {
		t.Errorf("routes %v", got)
	}
}

func TestSetUpNetworkWaitsForAnInterfaceThatComesLater(t *testing.T) {
	inNamespace(t, unix.CLONE_NEWNET)
	handle, err := netlink.NewHandle()
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = "eth0", net.HardwareAddr{2, 0, 0, 0, 0, 1}
	done := make(chan struct{})
	time.AfterFunc(50*time.Millisecond, func() {
		defer close(done)
		if err := handle.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "tap0"}); err != nil {
			t.Error(err)
			return
		}
		peer, err := handle.LinkByName("tap0")
		if err == nil {
			err = handle.LinkSetUp(peer)
		}
		if err != nil {
			t.Error(err)
		}
	})
	status := SetUpNetwork(networkOf(dualStack()))
	<-done
	if len(status.Problems) > 0 {
		t.Fatal(status.Problems)
	}
}

func TestSetUpNetworkSaysWhatItCouldNotDo(t *testing.T) {
	inNamespace(t, unix.CLONE_NEWNET)
	_, host := cable(t, mac)
	status := SetUpNetwork(networkOf(dualStack()))
	if got := fmt.Sprint(status.Problems); !strings.Contains(got, mac+": link: it has no carrier") {
		t.Errorf("the other end is down: %s", got)
	}
	up(t, host)
	for want, broken := range map[string]func(*guestconfig.Interface){
		"device: there is no interface": func(c *guestconfig.Interface) { c.MAC = "02:ff:ff:ff:ff:fe" },
		"configuration: address none":   func(c *guestconfig.Interface) { c.MAC = "none" },
		"172.30.0.2":                    func(c *guestconfig.Interface) { c.Addresses = []string{"172.30.0.2"} },
		"somewhere":                     func(c *guestconfig.Interface) { c.Gateways = []string{"somewhere"} },
		"MTU 20":                        func(c *guestconfig.Interface) { c.MTU = 20 },
	} {
		config := dualStack()
		broken(&config)
		status := SetUpNetwork(networkOf(config))
		if got := fmt.Sprint(status.Problems); !strings.Contains(got, want) || !strings.Contains(got, config.MAC) {
			t.Errorf("%s: %s", want, got)
		}
	}
}
