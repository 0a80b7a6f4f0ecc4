// Command smartvm-launch starts a VMM and becomes its keeper. It is a program of its own, and a small one, for a VM's start
// waits for it: one with an HTTP server in it, as the keeper is, takes a millisecond longer to begin.
package main

import (
	"os"
	"runtime"

	"smartvm.dev/go/internal/spawn"
)

func init() {
	// The kernel delivers a parent-death signal when the thread that spawned the child ends. The main goroutine spawns
	// the VMM; the main thread lives as long as the process, and goes on as the keeper's.
	runtime.LockOSThread()
}

func main() {
	spawn.Main(os.Args)
}
