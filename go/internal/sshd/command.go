package sshd

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/guestlimits"
	"smartvm.dev/go/internal/passwd"
)

const (
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// An exec request that starts so is an argument vector in JSON, not a command line for a shell.
	vectorPrefix = "smartvm-exec "
	// A shell's exit codes.
	exitNotFound   = 127
	exitCannotExec = 126
)

// command is a process to be.
type command struct {
	path string
	argv []string
	env  []string
	dir  string
	user passwd.User
	// Nil for one that its session ends.
	detached *detached
	// Nil for one that is its session's alone.
	spawned *spawned
	// Nil for one without limits of its own.
	limits *guestlimits.Limits
}

// vector is the JSON of smartvm-exec.
type vector struct {
	Argv []string          `json:"argv"`
	Cwd  string            `json:"cwd"`
	Env  map[string]string `json:"env"`
	User string            `json:"user"`
	// Detached is there for a process that outlives its session and cannot be reached again.
	Detached *detached `json:"detached"`
	// Spawned is there for a process that can be reached by its number.
	Spawned *spawned `json:"spawned"`
	// Login, without argv, is the user's login shell.
	Login bool `json:"login"`
	// Limits are of the process and all that descend from it.
	Limits *guestlimits.Limits `json:"limits"`
}

func (c *command) attributes() *syscall.ProcAttr {
	attr := &syscall.ProcAttr{Dir: c.dir, Env: c.env, Sys: &syscall.SysProcAttr{Setsid: true}}
	if int(c.user.UID) != os.Getuid() || int(c.user.GID) != os.Getgid() {
		attr.Sys.Credential = &syscall.Credential{Uid: c.user.UID, Gid: c.user.GID, Groups: c.user.Groups}
	}
	return attr
}

// startError is a process that did not come to be, with the exit code that a shell gives for it.
type startError struct {
	message string
	code    int
}

func (e *startError) Error() string { return e.message }

func commandError(name string, err error) error {
	code := exitCannotExec
	if errors.Is(err, unix.ENOENT) {
		code = exitNotFound
	}
	return &startError{fmt.Sprintf("%s: %s", name, describe(err)), code}
}

func describe(err error) string {
	if errors.Is(err, unix.ENOENT) {
		return "not found"
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return err.Error()
}

func exitCodeOf(err error) syscall.WaitStatus {
	code := exitCannotExec
	var failed *startError
	if errors.As(err, &failed) {
		code = failed.code
	}
	// wait(2)'s status of a process that called exit(code).
	return syscall.WaitStatus(code << 8)
}

func (s *session) command(kind, value string) (*command, error) {
	user, err := s.lookup()
	if err != nil {
		return nil, err
	}
	if kind == "subsystem" {
		c := &command{argv: s.server.options.SFTP, path: s.server.options.SFTP[0], user: user, dir: homeOf(user)}
		c.env = s.environment(user, nil)
		return c, nil
	}
	if json, ok := strings.CutPrefix(value, vectorPrefix); ok && kind == "exec" {
		return s.vectorCommand(json, user)
	}
	user.Shell = shellOf(user)
	c := &command{path: user.Shell, user: user, dir: homeOf(user), env: s.environment(user, nil), argv: loginArgv(user.Shell)}
	if kind == "exec" {
		c.argv = []string{user.Shell, "-c", value}
	}
	return c, nil
}

func shellOf(user passwd.User) string {
	if _, err := os.Stat(user.Shell); err != nil {
		return "/bin/sh"
	}
	return user.Shell
}

// loginArgv has the leading dash that makes a shell a login shell.
func loginArgv(shell string) []string {
	return []string{"-" + filepath.Base(shell)}
}

func (s *session) vectorCommand(text string, user passwd.User) (*command, error) {
	var v vector
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("smartvm-exec: %w", err)
	}
	if !v.Login && (len(v.Argv) == 0 || v.Argv[0] == "") || v.Login && len(v.Argv) > 0 {
		return nil, errors.New("smartvm-exec: there is to be either argv or login")
	}
	for name, value := range v.Env {
		if !validEnv(name, value) {
			return nil, fmt.Errorf("smartvm-exec: %.64q cannot be an environment variable", name)
		}
	}
	if v.Limits != nil {
		if err := v.Limits.Valid(); err != nil {
			return nil, fmt.Errorf("smartvm-exec: %w", err)
		}
	}
	defaults := s.server.options.Defaults
	if name := cmp.Or(v.User, defaults.User); name != "" {
		other, err := s.server.options.Lookup(name)
		if err != nil {
			return nil, err
		}
		user = other
	}
	user.Shell = shellOf(user)
	c := &command{argv: v.Argv, user: user, dir: cmp.Or(v.Cwd, defaults.Cwd), detached: v.Detached, spawned: v.Spawned, limits: v.Limits}
	c.env = s.environment(user, v.Env)
	if c.dir == "" {
		c.dir = homeOf(user)
	} else if info, err := os.Stat(c.dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s: not a directory of the guest", c.dir)
	}
	if v.Login {
		c.path, c.argv = user.Shell, loginArgv(user.Shell)
		return c, nil
	}
	path, err := lookPath(v.Argv[0], c.env)
	c.path = path
	return c, err
}

// lookPath finds a program as execvp(3) does, by the PATH that the process will have.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	result := commandError(name, unix.ENOENT)
	for _, dir := range filepath.SplitList(valueOf(env, "PATH")) {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil || info.IsDir() {
			continue
		}
		if info.Mode()&0o111 != 0 {
			return path, nil
		}
		result = commandError(name, unix.EACCES)
	}
	return "", result
}

// environment is the agent's, the VM's, what the client has set, and overrides, of which the later win.
func (s *session) environment(user passwd.User, overrides map[string]string) []string {
	env := []string{
		"PATH=" + defaultPath, "HOME=" + user.Home, "USER=" + user.Name, "LOGNAME=" + user.Name, "SHELL=" + user.Shell,
	}
	if s.window != nil && s.term != "" {
		env = append(env, "TERM="+s.term)
	}
	for name, value := range s.server.options.Defaults.Env {
		env = setEnv(env, name+"="+value)
	}
	for _, variable := range s.env {
		env = setEnv(env, variable)
	}
	for name, value := range overrides {
		env = setEnv(env, name+"="+value)
	}
	return env
}

func setEnv(env []string, variable string) []string {
	name, _, _ := strings.Cut(variable, "=")
	env = slices.DeleteFunc(env, func(old string) bool { return strings.HasPrefix(old, name+"=") })
	return append(env, variable)
}

func valueOf(env []string, name string) string {
	for _, variable := range env {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

func validEnv(name, value string) bool {
	return name != "" && !strings.ContainsAny(name, "=\x00") && !strings.Contains(value, "\x00")
}

func homeOf(user passwd.User) string {
	if info, err := os.Stat(user.Home); err == nil && info.IsDir() {
		return user.Home
	}
	return "/"
}

func signalName(signal syscall.Signal) string {
	if name := unix.SignalName(signal); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	// Real-time signals have no names of their own.
	return fmt.Sprintf("%d", int(signal))
}
