package router

import "sync"

// workers are goroutines that carry connections, and the requests of HTTP/2,
// one after another, so that not each of them pays for a stack that has to
// grow. There are as many as there were of these at a time; those that nobody
// needed for a while end.
type workers struct {
	mu     sync.Mutex // guards what follows
	idle   []*worker  // the last used on top
	unused int        // the fewest that were idle since the last trim
	over   bool       // nobody idles any more
}

// idleWorkers is how many idle, at most.
const idleWorkers = 1024

// task is what a worker does.
type task interface{ run() }

// worker is an idle goroutine, which waits for what to do next; nil ends it.
type worker struct{ next chan task }

// do carries t on a goroutine of its own.
func (p *workers) do(t task) {
	p.mu.Lock()
	n := len(p.idle) - 1
	if n < 0 {
		p.mu.Unlock()
		go p.work(t)
		return
	}
	w := p.idle[n]
	p.idle[n] = nil
	p.idle = p.idle[:n]
	p.unused = min(p.unused, n)
	p.mu.Unlock()
	w.next <- t
}

func (p *workers) work(t task) {
	w := &worker{make(chan task, 1)}
	for t != nil {
		t.run()
		t = nil // nothing is kept alive by who idles
		p.mu.Lock()
		if p.over || len(p.idle) >= idleWorkers {
			p.mu.Unlock()
			return
		}
		p.idle = append(p.idle, w)
		p.mu.Unlock()
		t = <-w.next
	}
}

// trim ends those that were not needed since it was called last.
func (p *workers) trim() {
	p.mu.Lock()
	old := append([]*worker(nil), p.idle[:p.unused]...)
	n := copy(p.idle, p.idle[p.unused:])
	clear(p.idle[n:])
	p.idle = p.idle[:n]
	p.unused = n
	p.mu.Unlock()
	for _, w := range old {
		w.next <- nil
	}
}

// end ends all that are idle, and later those that are at work.
func (p *workers) end() {
	p.mu.Lock()
	p.over, p.unused = true, len(p.idle)
	p.mu.Unlock()
	p.trim()
}
