package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"smartvm.dev/go/internal/spawn"
)

// maxSignalBody bounds the body of PUT /signal, in bytes.
const maxSignalBody = 1024

// api answers on keeper.sock.
type api struct {
	id     string
	vmm    *vmm
	life   *life
	ports  *ports
	owner  *owner
	server *http.Server
	// Holds a token while nobody writes to the console.
	console chan struct{}
	// Taken by whoever watches the owner.
	detach chan struct{}
	exited chan struct{}
	// exit.json's content, to be read once exited is closed.
	exit []byte
}

// listen binds the control socket, mode 0600. A socket that nobody listens on any more is replaced.
func listen(path string) (net.Listener, error) {
	if len(path) > 107 {
		return nil, fmt.Errorf("%s is longer than the 107 bytes of a Unix socket's path", path)
	}
	unix.Umask(0o177)
	// What the VMM creates stays private too.
	defer unix.Umask(0o077)
	listener, err := net.Listen("unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return listener, err
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("%s: another keeper answers there", path)
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return net.Listen("unix", path)
}

func serve(listener net.Listener, id string, vmm *vmm, life *life) *api {
	a := &api{id: id, vmm: vmm, life: life, ports: newPorts(), console: make(chan struct{}, 1), detach: make(chan struct{}), exited: make(chan struct{})}
	a.console <- struct{}{}
	a.owner = newOwner(a.hear)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.getState)
	mux.HandleFunc("GET /exit", a.getExit)
	mux.HandleFunc("GET /console", a.getConsole)
	mux.HandleFunc("PUT /console", a.putConsole)
	mux.HandleFunc("PUT /signal", a.putSignal)
	mux.HandleFunc("PUT /state", a.putState)
	mux.HandleFunc("PUT /limits", a.putLimits)
	mux.HandleFunc("PUT /ports", a.putPorts)
	mux.HandleFunc("GET /events", a.getEvents)
	mux.HandleFunc("GET /hold", a.getHold)
	mux.HandleFunc("PUT /detached", a.putDetached)
	mux.HandleFunc("PUT /mounts", a.putMount)
	mux.HandleFunc("DELETE /mounts", a.deleteMount)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fault(w, http.StatusNotFound, fmt.Sprintf("Invalid request method and/or path: %s %s", r.Method, r.URL.Path))
	})
	// Whoever asks is answered by what the owner has said before.
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.owner.catchUp()
		mux.ServeHTTP(w, r)
	})
	a.server = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	go a.server.Serve(listener)
	return a
}

// finish gives the last answers, then removes the socket.
func (a *api) finish(exit []byte) {
	a.exit = exit
	a.ports.close()
	a.life.ended(exit)
	close(a.exited)
	ctx, cancel := context.WithTimeout(context.Background(), answerGrace)
	defer cancel()
	if a.server.Shutdown(ctx) != nil {
		a.server.Close()
	}
}

func (a *api) getState(w http.ResponseWriter, r *http.Request) {
	state := struct {
		ID        string          `json:"id"`
		State     string          `json:"state"`
		StartedAt string          `json:"startedAt"`
		Exit      json.RawMessage `json:"exit"`
		Status    *status         `json:"status"`
		spawn.Identity
	}{a.id, "running", isoTime(a.vmm.startedAt), nil, a.life.status(), a.vmm.identity}
	select {
	case <-a.exited:
		state.State, state.Exit = "exited", a.exit
	default:
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(state)
}

// getExit answers at once that it has heard, so that nobody has to guess whether the end will be told, and tells it when it comes.
func (a *api) getExit(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	http.NewResponseController(w).Flush()
	select {
	case <-a.exited:
		w.Write(a.exit)
	case <-r.Context().Done():
	}
}

// getConsole answers what is kept; with ?tail=N, its last N lines; with ?follow=true, also what comes.
func (a *api) getConsole(w http.ResponseWriter, r *http.Request) {
	reader := a.vmm.console.NewReader()
	if tail := r.URL.Query().Get("tail"); tail != "" {
		lines, err := strconv.Atoi(tail)
		if err != nil || lines < 0 {
			fault(w, http.StatusBadRequest, fmt.Sprintf("tail is a number of lines, not %.64q", tail))
			return
		}
		reader = a.vmm.console.NewTailReader(lines)
	}
	follow := r.URL.Query().Get("follow") == "true"
	w.Header().Set("Content-Type", "application/octet-stream")
	// A follower learns at once that it is connected, also when the guest is silent.
	flusher := http.NewResponseController(w)
	flusher.Flush()
	for buffer := make([]byte, 32<<10); ; {
		n, grown, err := reader.Next(buffer)
		if err != nil || grown != nil && !follow {
			return
		}
		if grown != nil {
			select {
			case <-grown:
			case <-r.Context().Done():
				return
			}
			continue
		}
		if _, err := w.Write(buffer[:n]); err != nil {
			return
		}
		flusher.Flush()
	}
}

// putConsole answers when the VMM's stdin has taken the whole body.
func (a *api) putConsole(w http.ResponseWriter, r *http.Request) {
	select {
	case <-a.console:
		defer func() { a.console <- struct{}{} }()
	case <-r.Context().Done():
		return
	}
	stdin := a.vmm.stdin
	stdin.SetWriteDeadline(time.Time{})
	stop := context.AfterFunc(r.Context(), func() { stdin.SetWriteDeadline(time.Now()) })
	_, err := io.Copy(struct{ io.Writer }{stdin}, r.Body)
	if !stop() {
		return
	}
	if err != nil {
		fault(w, http.StatusConflict, "The VMM does not take console input: "+err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *api) putSignal(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Signal string `json:"signal"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSignalBody)).Decode(&body); err != nil {
		fault(w, http.StatusBadRequest, "The body is not a signal: "+err.Error())
		return
	}
	number := unix.SignalNum(body.Signal)
	if number == 0 {
		fault(w, http.StatusBadRequest, fmt.Sprintf("Unknown signal %.64q", body.Signal))
		return
	}
	if err := a.vmm.signal(number); err != nil {
		fault(w, http.StatusConflict, "The VMM takes no signal: "+err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// putDetached answers once the end of the owner is nothing to the VM any more. It takes what PUT /state does: whoever detaches
// has started the VM.
func (a *api) putDetached(w http.ResponseWriter, r *http.Request) {
	body, err := readSaid(w, r)
	if err != nil {
		fault(w, http.StatusBadRequest, "The body is not a state: "+err.Error())
		return
	}
	if body.State != "" {
		err = a.take(body)
	}
	if err != nil {
		fault(w, http.StatusInternalServerError, err.Error())
		return
	}
	select {
	case a.detach <- struct{}{}:
		w.WriteHeader(http.StatusNoContent)
	case <-a.exited:
		fault(w, http.StatusConflict, "The VMM has ended")
	case <-r.Context().Done():
	}
}

func fault(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"fault_message": message})
}
