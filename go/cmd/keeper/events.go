package main

import (
	"encoding/json"
	"net/http"
	"sync"
)

// maxEvents is how many events are kept for those who ask later.
const maxEvents = 256

// eventLog keeps the last events, each a line of JSON, and tells those to come to whoever follows.
type eventLog struct {
	mu sync.Mutex
	// The number of the first line that is kept.
	first  int
	lines  [][]byte
	grown  chan struct{}
	closed bool
}

func newEventLog() *eventLog { return &eventLog{grown: make(chan struct{})} }

func (l *eventLog) add(event any) {
	line := jsonLine(event)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines = append(l.lines, line); len(l.lines) > maxEvents {
		l.lines = l.lines[1:]
		l.first++
	}
	close(l.grown)
	l.grown = make(chan struct{})
}

// close says that the last event is there.
func (l *eventLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	close(l.grown)
}

// end is the number that the next event gets.
func (l *eventLog) end() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first + len(l.lines)
}

// from answers the lines from a number on, as far as they are kept; the number to go on with; and what closes when there
// are more, which is nil behind the last.
func (l *eventLog) from(next int) (lines [][]byte, end int, grown <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines = l.lines[min(max(next-l.first, 0), len(l.lines)):]
	if l.closed {
		return lines, l.first + len(l.lines), nil
	}
	return lines, l.first + len(l.lines), l.grown
}

// getEvents answers JSON lines: the events that are kept, and then each that comes, until the exit, which is the last. With
// ?from=now, one that says how it stands takes the place of those kept; with ?follow=false, those kept are all.
func (a *api) getEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/jsonl")
	flusher := http.NewResponseController(w)
	next := 0
	if r.URL.Query().Get("from") == "now" {
		var now event
		now, next = a.life.standing()
		w.Write(jsonLine(now))
	}
	for {
		lines, end, grown := a.life.events.from(next)
		next = end
		for _, line := range lines {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
		flusher.Flush()
		if grown == nil || r.URL.Query().Get("follow") == "false" {
			return
		}
		select {
		case <-grown:
		case <-r.Context().Done():
			return
		}
	}
}

func jsonLine(value any) []byte {
	line, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return append(line, '\n')
}
