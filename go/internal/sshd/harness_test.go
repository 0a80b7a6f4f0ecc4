package sshd

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
	"smartvm.dev/go/internal/guestlimits"
	"smartvm.dev/go/internal/passwd"
	"smartvm.dev/go/internal/reaper"
)

// One for all tests: it waits for every child of the test binary, which is the SFTP server too.
var children = reaper.New()

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "sftp" {
		if ServeSFTP() != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	go children.Run()
	os.Exit(m.Run())
}

func newKey(t *testing.T) (string, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), signer
}

type fixture struct {
	t      *testing.T
	home   string
	server *Server
	key    ssh.Signer
	path   string
}

// serve runs a server for the user who runs the test.
func serve(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	hostKey, _ := newKey(t)
	_, key := newKey(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	close(ready)
	f := &fixture{t: t, home: t.TempDir(), key: key, path: filepath.Join(t.TempDir(), "ssh.sock")}
	user := passwd.User{Name: "root", UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Home: f.home, Shell: "/bin/sh"}
	options := Options{
		HostKey:        hostKey,
		AuthorizedKeys: []string{string(ssh.MarshalAuthorizedKey(key.PublicKey()))},
		Ready:          ready,
		Reaper:         children,
		Groups:         guestlimits.New(t.TempDir()),
		SFTP:           []string{self, "sftp"},
		Lookup: func(name string) (passwd.User, error) {
			if name != "root" {
				return passwd.User{}, errors.New("no such user")
			}
			return user, nil
		},
	}
	if change != nil {
		change(&options)
	}
	if f.server, err = New(options); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", f.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go f.server.Serve(conn)
		}
	}()
	return f
}

func (f *fixture) dial(key ssh.Signer) (*ssh.Client, error) {
	conn, err := net.Dial("unix", f.path)
	if err != nil {
		return nil, err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, "guest", &ssh.ClientConfig{
		User: "anyone", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

func (f *fixture) client() *ssh.Client {
	f.t.Helper()
	client, err := f.dial(f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { client.Close() })
	return client
}

func newSession(t *testing.T, client *ssh.Client) *ssh.Session {
	t.Helper()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// run answers what a command wrote and how it ended: an exit code, or -1 and a signal's name.
func run(t *testing.T, client *ssh.Client, command string) (stdout, stderr string, code int, signal string) {
	t.Helper()
	session := newSession(t, client)
	var out, errs bytes.Buffer
	session.Stdout, session.Stderr = &out, &errs
	err := session.Run(command)
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return out.String(), errs.String(), 0, ""
	case !errors.As(err, &exit):
		t.Fatalf("%s: %v", command, err)
	case exit.Signal() != "":
		return out.String(), errs.String(), -1, exit.Signal()
	}
	return out.String(), errs.String(), exit.ExitStatus(), ""
}
