package vport

import (
	"os"
	"path/filepath"
	"strings"
)

// Find answers the name in /dev of the port with a name, or "". The name comes with a message of the host, a moment
// after the port itself.
func Find(name string) string {
	paths, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, path := range paths {
		if content, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(content)) == name {
			return filepath.Base(filepath.Dir(path))
		}
	}
	return ""
}
