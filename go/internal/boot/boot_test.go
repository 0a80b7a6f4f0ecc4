package boot

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWriteMachineID(t *testing.T) {
	path := t.TempDir() + "/machine-id"
	os.WriteFile(path, nil, 0o644)
	WriteMachineID(path)
	id := read(t, path)
	if !regexp.MustCompile(`^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}\n$`).MatchString(id) {
		t.Fatalf("machine-id %q", id)
	}
	WriteMachineID(path)
	if got := read(t, path); got != id {
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
