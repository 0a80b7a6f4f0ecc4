package boot

import (
	"encoding/hex"
	"net"
	"net/netip"
	"testing"
)

func TestAnnouncements(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 0x77}
	for got, want := range map[string]string{
		hex.EncodeToString(arpAnnouncement(mac, netip.MustParseAddr("172.30.0.9"))):     "0001080006040001" + "020000000077ac1e0009" + "000000000000ac1e0009",
		hex.EncodeToString(neighbourAdvertisement(mac, netip.MustParseAddr("fd00::9"))): "8800000020000000" + "fd000000000000000000000000000009" + "0201020000000077",
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}
