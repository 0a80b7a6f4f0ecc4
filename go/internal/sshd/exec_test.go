package sshd

import (
	"os"
	"strings"
	"testing"

	"smartvm.dev/go/internal/passwd"
)

func TestExecEndsWithTheCommandsOutputAndStatus(t *testing.T) {
	f := serve(t, nil)
	client := f.client()
	for _, c := range []struct {
		command, stdout, stderr string
		code                    int
		signal                  string
	}{
		{command: "echo out; echo err >&2; exit 7", stdout: "out\n", stderr: "err\n", code: 7},
		{command: "kill -KILL $$", code: -1, signal: "KILL"},
		{command: "kill -BUS $$", code: -1, signal: "BUS"},
		{command: "echo $HOME $USER $LOGNAME $SHELL", stdout: f.home + " root root /bin/sh\n"},
		{command: "pwd", stdout: f.home + "\n"},
		{command: `smartvm-exec {"argv":["printf","%s|","a b","$HOME",""]}`, stdout: "a b|$HOME||"},
		{command: `smartvm-exec {"argv":["sh","-c","echo $A $PWD"],"cwd":"/etc","env":{"A":"x=y"}}`, stdout: "x=y /etc\n"},
		{command: `smartvm-exec {"argv":["nosuch"]}`, stderr: "smartvm-agent: nosuch: not found\n", code: 127},
		{command: `smartvm-exec {"argv":["/no/such"]}`, stderr: "smartvm-agent: /no/such: not found\n", code: 127},
		{command: `smartvm-exec {"argv":["/etc/passwd"]}`, stderr: "smartvm-agent: /etc/passwd: permission denied\n", code: 126},
		{command: `smartvm-exec {"argv":["sh"],"env":{"PATH":"/nowhere"}}`, stderr: "smartvm-agent: sh: not found\n", code: 127},
		{command: `smartvm-exec {"argv":["sh"],"cwd":"/nowhere"}`,
			stderr: "smartvm-agent: /nowhere: not a directory of the guest\n", code: 126},
		{command: `smartvm-exec {"argv":["sh"],"user":"x"}`, stderr: "smartvm-agent: no such user\n", code: 126},
		{command: `smartvm-exec {"argv":[]}`, stderr: "smartvm-agent: smartvm-exec: there is to be either argv or login\n", code: 126},
		{command: `smartvm-exec {"argv":["a\u0000b"]}`, stderr: "smartvm-agent: a\x00b: not found\n", code: 127},
	} {
		stdout, stderr, code, signal := run(t, client, c.command)
		if stdout != c.stdout || stderr != c.stderr || code != c.code || signal != c.signal {
			t.Errorf("%s: %q %q %d %q", c.command, stdout, stderr, code, signal)
		}
	}
}

func TestEnvironmentOfTheClient(t *testing.T) {
	client := serve(t, nil).client()
	session := newSession(t, client)
	for name, value := range map[string]string{"HOME": "/elsewhere", "LANG": "C.UTF-8"} {
		if err := session.Setenv(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if session.Setenv("A=B", "c") == nil || session.Setenv("", "c") == nil || session.Setenv("A", "\x00") == nil {
		t.Fatal("took a variable that is none")
	}
	for i, granted := range []bool{true, true, true, false} {
		if err := session.Setenv("BIG"+string(rune('0'+i)), strings.Repeat("x", maxEnvironmentBytes*3/10)); (err == nil) != granted {
			t.Fatalf("large variable %d: %v", i, err)
		}
	}
	out, err := session.Output("echo $HOME $LANG")
	if err != nil || string(out) != "/elsewhere C.UTF-8\n" {
		t.Fatalf("%q %v", out, err)
	}
}

func TestAShellReadsCommands(t *testing.T) {
	session := newSession(t, serve(t, nil).client())
	session.Stdin = strings.NewReader("echo $0; exit 5\n")
	var out strings.Builder
	session.Stdout = &out
	if err := session.Shell(); err != nil {
		t.Fatal(err)
	}
	err := session.Wait()
	if err == nil || !strings.Contains(err.Error(), "status 5") || out.String() != "-sh\n" {
		t.Fatalf("%q %v", out.String(), err)
	}
}

func TestAUserWhoseShellIsMissingGetsSh(t *testing.T) {
	f := serve(t, func(o *Options) {
		lookup := o.Lookup
		o.Lookup = func(name string) (u passwd.User, err error) {
			u, err = lookup(name)
			u.Shell = "/no/such/shell"
			return u, err
		}
	})
	if out, _, code, _ := run(t, f.client(), "echo $SHELL"); out != "/bin/sh\n" || code != 0 {
		t.Fatalf("%q %d", out, code)
	}
}

func TestOnlyTheVMsKeyIsTaken(t *testing.T) {
	f := serve(t, nil)
	_, stranger := newKey(t)
	if _, err := f.dial(stranger); err == nil {
		t.Fatal("took a stranger's key")
	}
}

func TestCommandsWaitUntilTheGuestIsReady(t *testing.T) {
	ready := make(chan struct{})
	f := serve(t, func(o *Options) { o.Ready = ready })
	session := newSession(t, f.client())
	if err := session.Start("test -e mark"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.home+"/mark", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	close(ready)
	if err := session.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestLimitsThatTheKernelCannotSetAreNoneToRunWithout(t *testing.T) {
	client := serve(t, nil).client()
	for request, want := range map[string]string{
		`smartvm-exec {"argv":["true"],"limits":{"memoryBytes":1048576}}`: "limits need control groups",
		`smartvm-exec {"argv":["true"],"limits":{"cpus":-1}}`:             "below 0",
	} {
		if _, stderr, code, _ := run(t, client, request); code != 126 || !strings.Contains(stderr, want) {
			t.Errorf("%s: %q %d", request, stderr, code)
		}
	}
}
