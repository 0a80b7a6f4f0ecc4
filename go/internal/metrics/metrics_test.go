package metrics

import (
	"os"
	"path/filepath"
	"testing"
)

func TestASampleIsReadFromProc(t *testing.T) {
	proc := t.TempDir()
	for name, content := range map[string]string{
		"uptime":     "12.34 20.00\n",
		"loadavg":    "0.50 0.25 0.12 1/80 999\n",
		"stat":       "cpu  100 1 20 3000 4 5 6 7 0 0\ncpu0 50 0 10 1500 2 2 3 3 0 0\ncpu1 50 1 10 1500 2 3 3 4 0 0\nintr 1 2\n",
		"meminfo":    "MemTotal:  1000 kB\nMemFree:  400 kB\nMemAvailable:  700 kB\nHugePages_Total:  0\n",
		"1/stat":     "1 (init) S 0 1 1\n",
		"2/stat":     "2 (kthreadd) S 0 0 0\n",
		"3/stat":     "3 (kworker) R 2 0 0\n",
		"40/stat":    "40 (a) b) R 1 40 40\n",
		"self/stat":  "40 (x) R 1 40 40\n",
		"41/nothing": "",
	} {
		path := filepath.Join(proc, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(proc, proc)
	if err != nil {
		t.Fatal(err)
	}
	disk := got.Disk
	got.Disk = Disk{}
	want := Sample{
		UptimeMs: 12340,
		CPU:      CPU{Count: 2, UserMs: 1010, SystemMs: 310, IdleMs: 30040, StealMs: 70, Load: [3]float64{0.5, 0.25, 0.12}},
		Memory:   Memory{1000 << 10, 400 << 10, 700 << 10},
		Process:  Processes{Total: 2, Running: 1},
	}
	if got != want {
		t.Errorf("%+v", got)
	}
	if disk.TotalBytes < disk.FreeBytes || disk.FreeBytes < disk.AvailableBytes || disk.TotalBytes == 0 {
		t.Errorf("%+v", disk)
	}
	if _, err := Read(filepath.Join(proc, "nosuch"), proc); err == nil {
		t.Error("a machine without /proc")
	}
}
