package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	probes["x32"] = func() []attempt { return []attempt{{"getpid", call(x32 | unix.SYS_GETPID)}} }
}

const x32 = 0x40000000

func legacySetIDAttempts() []attempt {
	name := func(path string) uintptr {
		text, _ := unix.BytePtrFromString(path)
		return uintptr(unsafe.Pointer(text))
	}
	return []attempt{
		{"chmod", call(unix.SYS_CHMOD, name("plain"), 0o4755)},
		{"chmod plain", call(unix.SYS_CHMOD, name("plain"), 0o755)},
		{"open", call(unix.SYS_OPEN, name("opened"), unix.O_CREAT|unix.O_RDWR, 0o4755)},
		{"open plain", call(unix.SYS_OPEN, name("opened"), unix.O_CREAT|unix.O_RDWR, 0o755)},
		{"creat", call(unix.SYS_CREAT, name("created"), 0o4755)},
		{"mkdir", call(unix.SYS_MKDIR, name("legacy"), 0o2755)},
		{"mknod", call(unix.SYS_MKNOD, name("legacy"), unix.S_IFREG|0o4755, 0)},
	}
}

var legacySetIDAnswers = map[string]string{
	"chmod": "EPERM", "chmod plain": "done", "open": "EPERM", "open plain": "done", "creat": "EPERM", "mkdir": "EPERM",
	"mknod": "EPERM",
}

func TestSystemCallsByOtherNumbersEndAVMM(t *testing.T) {
	b := newBench(t)
	if said := b.output(b.bindProbe("x32") + "; echo $?"); said != "159\n" {
		t.Errorf("%q, want the end by SIGSYS", said)
	}
}

func TestSystemCallsOfAnotherArchitectureEndAVMM(t *testing.T) {
	program := filepath.Join(t.TempDir(), "i386")
	if err := os.WriteFile(program, i386Call(t), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(program).Run(); err != nil {
		t.Skip("the kernel has no system calls of i386:", err)
	}
	b := newBench(t)
	b.bind(program, false)
	if said := b.output(program + "; echo $?"); said != "159\n" {
		t.Errorf("%q, want the end by SIGSYS", said)
	}
}

// i386Call is a program that makes i386's getpid, and ends with 0.
func i386Call(t *testing.T) []byte {
	const origin, headers = 0x400000, 64 + 56
	code := []byte{
		0xb8, 20, 0, 0, 0, // mov eax, getpid
		0xcd, 0x80, // int 0x80
		0x31, 0xff, // xor edi, edi
		0xb8, 60, 0, 0, 0, // mov eax, exit
		0x0f, 0x05, // syscall
	}
	var image bytes.Buffer
	image.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	size := uint64(headers + len(code))
	for _, field := range []any{
		uint16(2), uint16(62), uint32(1), uint64(origin + headers), uint64(64), uint64(0), // executable, x86-64
		uint32(0), uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(origin), uint64(origin), size, size, uint64(0x1000), // loaded, r-x
	} {
		if err := binary.Write(&image, binary.LittleEndian, field); err != nil {
			t.Fatal(err)
		}
	}
	return append(image.Bytes(), code...)
}
