// Package metrics tells how a Linux machine fares: processor, memory, disk and processes.
package metrics

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// The unit of /proc/stat, USER_HZ, is the same on every architecture that Linux is on here.
	msPerTick = 10
	maxBytes  = 1 << 20
)

// Sample is the machine at one moment. Times are in milliseconds since the boot, sizes in bytes.
type Sample struct {
	UptimeMs int64     `json:"uptimeMs"`
	CPU      CPU       `json:"cpu"`
	Memory   Memory    `json:"memory"`
	Disk     Disk      `json:"disk"`
	Process  Processes `json:"processes"`
}

// CPU is of all processors together.
type CPU struct {
	Count    int   `json:"count"`
	UserMs   int64 `json:"userMs"`
	SystemMs int64 `json:"systemMs"`
	IdleMs   int64 `json:"idleMs"`
	// StealMs is what the host has given to others.
	StealMs int64 `json:"stealMs"`
	// Load is of the last 1, 5 and 15 minutes.
	Load [3]float64 `json:"load"`
}

// Memory is of the machine.
type Memory struct {
	TotalBytes int64 `json:"totalBytes"`
	FreeBytes  int64 `json:"freeBytes"`
	// AvailableBytes is what programs can still have: free memory, and caches that can be given up.
	AvailableBytes int64 `json:"availableBytes"`
}

// Disk is of the root file system.
type Disk struct {
	TotalBytes int64 `json:"totalBytes"`
	FreeBytes  int64 `json:"freeBytes"`
	// AvailableBytes is what others than root can still write.
	AvailableBytes int64 `json:"availableBytes"`
}

// Processes are counted without the kernel's own threads of execution.
type Processes struct {
	Total   int `json:"total"`
	Running int `json:"running"`
}

// Read reads a sample from where proc(5) is mounted, of the file system at root.
func Read(proc, root string) (Sample, error) {
	sample := Sample{}
	var state unix.Statfs_t
	if err := unix.Statfs(root, &state); err != nil {
		return sample, &os.PathError{Op: "statfs", Path: root, Err: err}
	}
	block := int64(state.Frsize)
	sample.Disk = Disk{int64(state.Blocks) * block, int64(state.Bfree) * block, int64(state.Bavail) * block}
	for name, read := range map[string]func([]string){
		"uptime":  sample.readUptime,
		"loadavg": sample.readLoad,
		"stat":    sample.CPU.readStat,
		"meminfo": sample.Memory.readMeminfo,
	} {
		if err := eachLine(filepath.Join(proc, name), read); err != nil {
			return sample, err
		}
	}
	sample.Process.count(proc)
	return sample, nil
}

// eachLine calls read with the fields of each line that has any.
func eachLine(path string, read func([]string)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(io.LimitReader(file, maxBytes))
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 {
			read(fields)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (s *Sample) readUptime(fields []string) {
	seconds, _ := strconv.ParseFloat(fields[0], 64)
	s.UptimeMs = int64(seconds * 1000)
}

func (s *Sample) readLoad(fields []string) {
	for i := range min(len(s.CPU.Load), len(fields)) {
		s.CPU.Load[i], _ = strconv.ParseFloat(fields[i], 64)
	}
}

func (c *CPU) readStat(fields []string) {
	name, times := fields[0], fields[1:]
	if name != "cpu" {
		if strings.HasPrefix(name, "cpu") {
			c.Count++
		}
		return
	}
	var ms [8]int64
	for i := range min(len(ms), len(times)) {
		ticks, _ := strconv.ParseInt(times[i], 10, 64)
		ms[i] = ticks * msPerTick
	}
	user, nice, system, idle, iowait, irq, softirq, steal := ms[0], ms[1], ms[2], ms[3], ms[4], ms[5], ms[6], ms[7]
	c.UserMs, c.SystemMs, c.IdleMs, c.StealMs = user+nice, system+irq+softirq, idle+iowait, steal
}

func (m *Memory) readMeminfo(fields []string) {
	kilobytes, _ := strconv.ParseInt(fields[1], 10, 64)
	for name, bytes := range map[string]*int64{
		"MemTotal:": &m.TotalBytes, "MemFree:": &m.FreeBytes, "MemAvailable:": &m.AvailableBytes,
	} {
		if fields[0] == name {
			*bytes = kilobytes * 1024
		}
	}
}

func (p *Processes) count(proc string) {
	entries, _ := os.ReadDir(proc)
	for _, entry := range entries {
		if _, err := strconv.ParseUint(entry.Name(), 10, 32); err != nil {
			continue
		}
		state, kernel, ok := stateOf(filepath.Join(proc, entry.Name(), "stat"))
		if !ok || kernel {
			continue
		}
		p.Total++
		if state == "R" {
			p.Running++
		}
	}
}

// The parent of all the kernel's threads, kthreadd.
const kthreadd = "2"

func stateOf(path string) (state string, kernel, ok bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", false, false
	}
	// The name may have spaces and parentheses: the last one ends it.
	end := strings.LastIndexByte(string(data), ')')
	pid, _, _ := strings.Cut(string(data), " ")
	fields := strings.Fields(string(data[end+1:]))
	if end < 0 || len(fields) < 2 {
		return "", false, false
	}
	return fields[0], pid == kthreadd || fields[1] == kthreadd, true
}
