package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/jail"
)

// withoutMountSetattr has the calling goroutine, and what it starts, find the kernel as it was before Linux 5.12.
func withoutMountSetattr(t *testing.T) {
	t.Helper()
	// Never unlocked: the filter goes with the thread.
	runtime.LockOSThread()
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_K | unix.BPF_JEQ, Jf: 1, K: unix.SYS_MOUNT_SETATTR},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&fprog)), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{}); err != unix.ENOSYS {
		t.Fatal(err)
	}
}

// shareTree makes a directory that everyone may write to, with one mounted in it.
func shareTree(b *bench, name string) string {
	b.t.Helper()
	tree := b.file(name)
	inner := filepath.Join(tree, "mounted here")
	if err := os.MkdirAll(inner, 0o777); err != nil {
		b.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", inner, "tmpfs", 0, "mode=0777"); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { unix.Unmount(inner, unix.MNT_DETACH) })
	os.Chmod(tree, 0o777)
	if err := os.WriteFile(inner+"/file", []byte("in it\n"), 0o666); err != nil {
		b.t.Fatal(err)
	}
	return tree
}

func TestAJailIsMadeByAKernelBeforeLinux5_12(t *testing.T) {
	b := newBench(t)
	tree := shareTree(b, "tree")
	for i := range b.spec.Mounts {
		b.spec.Mounts[i].Recursive = true
	}
	b.spec.Mounts = append(b.spec.Mounts, jail.Mount{Path: tree, Recursive: true})
	late, lateTree := b.write("late", "late\n", 0o644), shareTree(b, "later tree")
	withoutMountSetattr(t)
	k := b.start(`grep ' ` + b.dir + `.*tree' /proc/self/mountinfo | cut -d' ' -f6 | cut -d, -f1-3; cat ` + tree + `/*/file
		(: > ` + tree + `/new) 2>/dev/null || (: > "` + tree + `/mounted here/new") 2>/dev/null || echo refused
		read line; cat ` + late + ` "` + lateTree + `"/*/file; (: > "` + lateTree + `/mounted here/new") 2>/dev/null || echo refused`)
	k.waitLine("refused")
	k.call("PUT", "/mounts", `{"path":"`+late+`"}`, 204)
	k.call("PUT", "/mounts", `{"path":"`+lateTree+`","recursive":true}`, 204)
	k.call("PUT", "/console", "go on\n", 204)
	k.wait()
	said, err := os.ReadFile(filepath.Join(k.dir, "console.log"))
	if want := "ro,nosuid,nodev\nro,nosuid,nodev\nin it\nrefused\nlate\nin it\nrefused\n"; err != nil || string(said) != want {
		t.Fatalf("%q, want %q", said, want)
	}
}

func TestWithoutIDMappingThePathThatNeedsItIsNamed(t *testing.T) {
	b := newBench(t)
	b.bind(b.write("secret", "", 0o600), false)
	withoutMountSetattr(t)
	wantFault(t, b.failure("/bin/sh"), jail.PathUnreadable, "secret", "Linux 5.12", "jail: false")
}
