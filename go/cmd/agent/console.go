package main

import (
	"fmt"
	"os"

	"smartvm.dev/go/internal/boot"
)

// console is where the host reads what the agent says. A program of the guest may hang up everybody else from it.
type console struct{}

func (console) Write(data []byte) (int, error) {
	n, err := os.Stderr.Write(data)
	if err == nil || boot.OpenConsole() != nil {
		return n, err
	}
	more, err := os.Stderr.Write(data[n:])
	return n + more, err
}

func warn(err error) {
	if err != nil {
		fmt.Fprintln(console{}, "smartvm-agent:", err)
	}
}
