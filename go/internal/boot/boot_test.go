package boot

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"smartvm.dev/go/internal/guestconfig"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWriteIdentity(t *testing.T) {
	etc := t.TempDir()
	os.Symlink("/nonexistent/stub-resolv.conf", etc+"/resolv.conf")
	os.WriteFile(etc+"/hosts", []byte("image's\n"), 0o644)
	os.WriteFile(etc+"/machine-id", nil, 0o644)
	config := &guestconfig.Config{Hostname: "web", Network: guestconfig.Network{DNS: []string{"1.1.1.1", "::1"}}}

	WriteIdentity(etc, config, false)
	if got := read(t, etc+"/hosts"); got != "image's\n" {
		t.Fatalf("replaced what is not ours: %q", got)
	}
	id := read(t, etc+"/machine-id")
	if !regexp.MustCompile(`^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}\n$`).MatchString(id) {
		t.Fatalf("machine-id %q", id)
	}

	WriteIdentity(etc, config, true)
	if got := read(t, etc+"/hosts"); !strings.Contains(got, "127.0.1.1\tweb\n") {
		t.Fatalf("hosts %q", got)
	}
	if got := read(t, etc+"/resolv.conf"); got != "nameserver 1.1.1.1\nnameserver ::1\n" {
		t.Fatalf("resolv.conf %q", got)
	}
	if got := read(t, etc+"/machine-id"); got != id {
		t.Fatalf("machine-id changed to %q", got)
	}
}

func TestProbe(t *testing.T) {
	images := map[string]func([]byte){
		"squashfs": func(b []byte) { copy(b, "hsqs") },
		"erofs":    func(b []byte) { copy(b[1024:], "\xe2\xe1\xf5\xe0") },
		"ext4":     func(b []byte) { copy(b[1024+56:], "\x53\xef") },
		"":         func([]byte) {},
	}
	for want, mark := range images {
		image := make([]byte, 4096)
		mark(image)
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, image, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := probe(path); got != want || (err == nil) != (want != "") {
			t.Errorf("probe: %q (%v), want %q", got, err, want)
		}
	}
}

func TestWaitForSeesAFileThatComesLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vda")
	created := make(chan error, 1)
	time.AfterFunc(20*time.Millisecond, func() { created <- os.WriteFile(path, nil, 0o600) })
	if err := waitFor(path, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := <-created; err != nil {
		t.Fatal(err)
	}
}

func TestWaitForGivesUp(t *testing.T) {
	err := waitFor(filepath.Join(t.TempDir(), "vdz"), 10*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "does not appear") {
		t.Fatal(err)
	}
}

func TestNetworkErrorsNameTheInterface(t *testing.T) {
	for mac, why := range map[string]string{"02:ff:ff:ff:ff:fe": "there is none", "nonsense": "invalid MAC"} {
		err := setUp(&guestconfig.Interface{MAC: mac}, nil)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", mac, err)
		}
	}
}
