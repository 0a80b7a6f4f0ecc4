package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// How long the VMM has for an answer.
	machineAnswer = 2 * time.Second
	// A VMM that its guest has taken over may answer anything.
	maxMachineAnswer = 64 << 10
)

// machine is the VMM by its API: Firecracker's, whichever VMM it is.
type machine struct {
	dir    string
	client http.Client
}

func newMachine(dir string) *machine {
	m := &machine{dir: dir}
	m.client = http.Client{Timeout: machineAnswer, Transport: &http.Transport{
		// A VMM serves few connections, and others want theirs.
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxMachineAnswer,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			path, err := m.socketPath()
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	return m
}

// socketPath is where the VM's record says.
func (m *machine) socketPath() (string, error) {
	text, err := os.ReadFile(filepath.Join(m.dir, "vm.json"))
	if err != nil {
		return "", err
	}
	var record struct{ SocketPath string }
	err = json.Unmarshal(text, &record)
	return record.SocketPath, err
}

// state is running or paused.
func (m *machine) state() (string, error) {
	answer, err := m.call("GET", "/", "")
	if err != nil {
		return "", err
	}
	var info struct{ State string }
	if err := json.Unmarshal(answer, &info); err != nil {
		return "", err
	}
	switch info.State {
	case "Running":
		return running, nil
	case "Paused":
		return paused, nil
	}
	return "", fmt.Errorf("the VMM says that it is %.64q", info.State)
}

func (m *machine) pause() error {
	_, err := m.call("PATCH", "/vm", `{"state":"Paused"}`)
	return err
}

// ctrlAltDel asks the guest to end, where there is a keyboard.
func (m *machine) ctrlAltDel() error {
	_, err := m.call("PUT", "/actions", `{"action_type":"SendCtrlAltDel"}`)
	return err
}

func (m *machine) call(method, path, body string) ([]byte, error) {
	request, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := m.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxMachineAnswer))
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %d %.256q", method, path, response.StatusCode, answer)
	}
	return answer, err
}
