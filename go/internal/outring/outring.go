// Package outring keeps the newest output of a process in memory, and lets readers follow it.
package outring

import (
	"io"
	"sync"
)

const (
	// Writes are put together up to this size.
	maxChunk = 32 << 10
	// What a chunk costs besides its bytes, so that many small ones stay within the bound too.
	chunkCost = 64
)

// chunk is a piece of one of the streams.
type chunk struct {
	stream int
	data   []byte
}

func (c *chunk) cost() int { return len(c.data) + chunkCost }

// Ring keeps the newest bytes of several streams, in the order in which they were written. What an open reader has not
// read yet is never dropped: the writer waits for it.
type Ring struct {
	limit int

	mu      sync.Mutex
	chunks  []chunk
	cost    int
	closed  bool
	readers map[*Reader]struct{}
	// Positions count from the first byte of all streams: of the first byte kept, and behind the last.
	start, end int64
	// Closed when something has changed, and made anew.
	changed chan struct{}
}

// New makes a ring that takes about limit bytes of memory.
func New(limit int) *Ring {
	return &Ring{limit: limit, readers: map[*Reader]struct{}{}, changed: make(chan struct{})}
}

// Writer writes to one of the streams.
func (r *Ring) Writer(stream int) io.Writer { return &writer{r, stream} }

type writer struct {
	ring   *Ring
	stream int
}

func (w *writer) Write(data []byte) (int, error) {
	for rest := data; len(rest) > 0; {
		n := min(len(rest), maxChunk)
		w.ring.write(w.stream, rest[:n])
		rest = rest[n:]
	}
	return len(data), nil
}

func (r *Ring) write(stream int, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.fits(len(data)) {
		changed := r.changed
		r.mu.Unlock()
		<-changed
		r.mu.Lock()
	}
	if last := len(r.chunks) - 1; last >= 0 && r.chunks[last].stream == stream && len(r.chunks[last].data)+len(data) <= maxChunk {
		r.chunks[last].data = append(r.chunks[last].data, data...)
		r.cost += len(data)
	} else {
		r.chunks = append(r.chunks, chunk{stream, append([]byte(nil), data...)})
		r.cost += len(data) + chunkCost
	}
	r.end += int64(len(data))
	for r.cost > r.limit && len(r.chunks) > 1 {
		first := r.chunks[0]
		r.start += int64(len(first.data))
		r.cost -= first.cost()
		r.chunks[0] = chunk{}
		r.chunks = r.chunks[1:]
	}
	r.wake()
}

// fits is whether so many bytes more cost no reader any that it has not read.
func (r *Ring) fits(bytes int) bool {
	for reader := range r.readers {
		if cost := r.costFrom(reader.position); cost > 0 && cost+bytes+chunkCost > r.limit {
			return false
		}
	}
	return true
}

// costFrom is what the chunks cost that have bytes from a position on.
func (r *Ring) costFrom(position int64) int {
	cost, at := r.cost, r.start
	for i := range r.chunks {
		if at += int64(len(r.chunks[i].data)); at > position {
			return cost
		}
		cost -= r.chunks[i].cost()
	}
	return 0
}

func (r *Ring) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Close ends the streams: readers get what is kept, then io.EOF.
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.wake()
}

// Reader reads the streams as they were written.
type Reader struct {
	ring     *Ring
	position int64
}

// NewReader begins at the oldest byte kept, and answers how many there were before it. The writer waits for the reader
// until that is closed.
func (r *Ring) NewReader() (reader *Reader, dropped int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reader = &Reader{r, r.start}
	r.readers[reader] = struct{}{}
	return reader, r.start
}

// Next fills buffer with bytes of one stream. With nothing there it answers 0 and a channel that closes when something
// has changed, or io.EOF at the end.
func (reader *Reader) Next(buffer []byte) (stream, n int, changed <-chan struct{}, err error) {
	r := reader.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.start
	for _, chunk := range r.chunks {
		if behind := at + int64(len(chunk.data)); reader.position < behind {
			n := copy(buffer, chunk.data[reader.position-at:])
			reader.position += int64(n)
			r.wake()
			return chunk.stream, n, nil, nil
		}
		at += int64(len(chunk.data))
	}
	if r.closed {
		return 0, 0, nil, io.EOF
	}
	return 0, 0, r.changed, nil
}

// Close lets the writer go on without the reader.
func (reader *Reader) Close() {
	r := reader.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.readers, reader)
	r.wake()
}
