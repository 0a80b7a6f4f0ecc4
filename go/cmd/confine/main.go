// Command smartvm-confine shuts a VMM into its jail and becomes it. The keeper runs it, in new namespaces.
package main

import (
	"os"
	"runtime"

	"smartvm.dev/go/internal/jail"
)

func init() {
	runtime.LockOSThread()
}

func main() {
	jail.Confine(os.Args)
}
