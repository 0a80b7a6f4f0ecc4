package main

import (
	"io"
	"os"
	"regexp"
	"strconv"
)

const (
	consoleLog  = "console.log"
	consoleTail = 4096
)

// What the agent prints when a VM ends with its command. It is a guest's word, as an exit code always is.
var commandEnded = regexp.MustCompile(`(?m)^smartvm-agent: the command has ended with exit code (\d{1,3})\r?$`)

// commandExitCode answers what the console's last lines say of the VM's command; nil where they say nothing.
func commandExitCode(consolePath string) *int {
	file, err := os.Open(consolePath)
	if err != nil {
		return nil
	}
	defer file.Close()
	if size, err := file.Seek(0, io.SeekEnd); err == nil {
		file.Seek(max(0, size-consoleTail), io.SeekStart)
	}
	tail, _ := io.ReadAll(io.LimitReader(file, consoleTail))
	lines := commandEnded.FindAllSubmatch(tail, -1)
	if len(lines) == 0 {
		return nil
	}
	code, err := strconv.Atoi(string(lines[len(lines)-1][1]))
	if err != nil || code > 255 {
		return nil
	}
	return &code
}
