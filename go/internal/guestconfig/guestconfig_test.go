package guestconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func read(t *testing.T, content string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return Read(path)
}

func TestRead(t *testing.T) {
	config, err := read(t, `{"protocol":2,"id":"a","hostname":"web","later":{"x":[1]},
		"root":{"device":"/dev/vda","readOnly":true,"overlay":{"device":"tmpfs"}},"seed":"AAEC","timeMs":1790000000000,
		"network":{"interfaces":[{"mac":"02:00:00:00:00:01","addresses":["172.30.0.2/24"],"gateways":["172.30.0.1"]}]}}`)
	if err != nil {
		t.Fatal(err)
	}
	if config.Root.Overlay.Device != "tmpfs" || string(config.Seed) != "\x00\x01\x02" || config.TimeMs != 1790000000000 ||
		config.Network.Interfaces[0].Gateways[0] != "172.30.0.1" {
		t.Fatalf("%+v", config)
	}
}

func TestReadRefuses(t *testing.T) {
	for content, why := range map[string]string{
		`{"protocol":1}`:           "protocol 1",
		`{}`:                       "protocol 0",
		`{"protocol":2,"root":{}}`: "no device",
		`{"protocol":2,"seed":"?"`: "config.json",
		`{"protocol":2,"id":"` + strings.Repeat("x", maxBytes) + `"}`: "larger than",
	} {
		if _, err := read(t, content); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.40s: %v, want %q", content, err, why)
		}
	}
}
