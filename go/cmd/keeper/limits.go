package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// stopping is said by a program that ends the VM.
const stopping = "stopping"

const (
	maxLifeBody = 4096
	// A year, in milliseconds.
	maxLimitMs = 366 * 24 * 3600 * 1000
)

// limits are those of a VM's life, as a body says them: what it does not name stays as it is.
type limits struct {
	TimeoutMs     milliseconds `json:"timeoutMs"`
	IdleTimeoutMs milliseconds `json:"idleTimeoutMs"`
	// What is done at the end of either.
	OnTimeout string `json:"onTimeout"`
}

// milliseconds are a field that may be absent, null (no limit) or a number.
type milliseconds struct {
	said  bool
	after time.Duration
}

func (m *milliseconds) UnmarshalJSON(text []byte) error {
	var number *int64
	if err := json.Unmarshal(text, &number); err != nil {
		return err
	}
	m.said, m.after = true, 0
	if number == nil {
		return nil
	}
	if *number < 1 || *number > maxLimitMs {
		return fmt.Errorf("a limit is 1 to %d milliseconds, not %d", int64(maxLimitMs), *number)
	}
	m.after = time.Duration(*number) * time.Millisecond
	return nil
}

func (l limits) check() error {
	switch l.OnTimeout {
	case "", "stop", "pause":
		return nil
	}
	return fmt.Errorf("onTimeout is stop or pause, not %.64q", l.OnTimeout)
}

// said is what a program says of its VM.
type said struct {
	State string `json:"state"`
	// It runs only because it did before a snapshot.
	AfterSnapshot bool `json:"afterSnapshot"`
	limits
}

func (a *api) putState(w http.ResponseWriter, r *http.Request) {
	body, err := readSaid(w, r)
	if err == nil && body.State == "" {
		err = errors.New("state is missing")
	}
	if err != nil {
		fault(w, http.StatusBadRequest, "The body is not a state: "+err.Error())
		return
	}
	if err := a.take(body); err != nil {
		fault(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// take notes what a program says.
func (a *api) take(body said) error {
	if body.State == stopping {
		a.life.stopping()
		return nil
	}
	return a.life.told(body)
}

// readSaid reads a body, which may be empty.
func readSaid(w http.ResponseWriter, r *http.Request) (said, error) {
	var body said
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLifeBody)).Decode(&body); err != nil && err != io.EOF {
		return body, err
	}
	return body, body.check()
}

func (s said) check() error {
	switch s.State {
	case "", running, paused, stopping:
		return s.limits.check()
	}
	return fmt.Errorf("unknown state %.64q", s.State)
}

func (a *api) putLimits(w http.ResponseWriter, r *http.Request) {
	body, err := readSaid(w, r)
	if err != nil {
		fault(w, http.StatusBadRequest, "The body is not of limits: "+err.Error())
		return
	}
	err = a.life.limit(body.limits)
	if errors.Is(err, errStarting) || errors.Is(err, errEnding) {
		fault(w, http.StatusConflict, err.Error())
	} else if err != nil {
		fault(w, http.StatusInternalServerError, err.Error())
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
}

// getHold answers at once and then has no end: while the connection is there, somebody uses the guest. The kernel says when
// the program behind it is gone.
func (a *api) getHold(w http.ResponseWriter, r *http.Request) {
	release, err := a.life.hold()
	if err != nil {
		fault(w, http.StatusConflict, err.Error())
		return
	}
	defer release()
	w.WriteHeader(http.StatusOK)
	http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case <-a.exited:
	}
}
