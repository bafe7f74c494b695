package stager

import (
	"context"
	"sync"
)

// queue hands GUIDs to workers in the order they came, each once until it is
// done. The rows are the truth; a queue only says which one is next.
type queue struct {
	mu      sync.Mutex // guards the following
	waiting []string
	known   map[string]bool // waiting or being worked on
	more    chan struct{}   // closed and replaced when something is added
}

func newQueue() *queue {
	return &queue{known: map[string]bool{}, more: make(chan struct{})}
}

func (q *queue) push(guid string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.known[guid] {
		return
	}
	q.known[guid] = true
	q.waiting = append(q.waiting, guid)
	close(q.more)
	q.more = make(chan struct{})
}

// pop takes the next one, or returns a channel that is closed when there may
// be one.
func (q *queue) pop() (guid string, ok bool, more <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return "", false, q.more
	}
	guid = q.waiting[0]
	q.waiting = q.waiting[1:]
	return guid, true, nil
}

func (q *queue) done(guid string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.known, guid)
}

// work calls fn for one GUID after the other until ctx ends.
func (q *queue) work(ctx context.Context, fn func(context.Context, string)) {
	for ctx.Err() == nil {
		guid, ok, more := q.pop()
		if ok {
			fn(ctx, guid)
			q.done(guid)
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
}
