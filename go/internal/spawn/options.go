package spawn

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
)

const (
	defaultConsoleLimit = 2 << 20
	minConsoleLimit     = 4 << 10
)

// Options are the command line that starts a VMM and its keeper.
type Options struct {
	ID, Dir string
	// The path of a jail.json; none: the VMM has the host's view.
	Jail         string
	ConsoleLimit int64
	Argv         []string
	// The VMM, once there is one.
	Born *Born
}

// Parse reads and checks a command line, without the program's name.
func Parse(args []string) (Options, error) {
	var o Options
	flags := flag.NewFlagSet("smartvm-launch", flag.ContinueOnError)
	flags.StringVar(&o.ID, "id", "", "the VM's id")
	flags.StringVar(&o.Dir, "dir", "", "the VM's runtime directory")
	flags.StringVar(&o.Jail, "jail", "", "a file that describes the VMM's jail")
	flags.Int64Var(&o.ConsoleLimit, "console-limit", defaultConsoleLimit, "bytes of console output kept")
	flags.Func("born", "the VMM that smartvm-launch has started", func(text string) error {
		return json.Unmarshal([]byte(text), &o.Born)
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.Argv = flags.Args()
	return o.checked()
}

func (o Options) checked() (Options, error) {
	switch {
	case o.ID == "":
		return o, errors.New("--id is missing")
	case o.Dir == "":
		return o, errors.New("--dir is missing")
	case len(o.Argv) == 0:
		return o, errors.New("the VMM's command line is missing")
	case o.ConsoleLimit < minConsoleLimit:
		return o, fmt.Errorf("--console-limit is %d, it must be at least %d", o.ConsoleLimit, minConsoleLimit)
	}
	dir, err := filepath.Abs(o.Dir)
	o.Dir = dir
	return o, err
}

// args is the command line that Parse reads as these options.
func (o Options) args() []string {
	args := []string{"--id", o.ID, "--dir", o.Dir, "--console-limit", strconv.FormatInt(o.ConsoleLimit, 10)}
	if o.Jail != "" {
		args = append(args, "--jail", o.Jail)
	}
	return append(append(args, "--"), o.Argv...)
}
