package router

import (
	"runtime"
	"sync"
	"testing"
)

// tasks of a test note who carried them.
type noted struct {
	start, done *sync.WaitGroup
	hold        <-chan struct{}
	by          *sync.Map
}

func (n noted) run() {
	n.start.Done()
	<-n.hold
	n.by.Store(stackID(), true)
	n.done.Done()
}

// stackID names the goroutine that calls it.
func stackID() string {
	b := make([]byte, 32)
	b = b[:runtime.Stack(b, false)]
	for i, c := range b[len("goroutine "):] {
		if c == ' ' {
			return string(b[:len("goroutine ")+i])
		}
	}
	return string(b)
}

func TestWorkers_CarryOneAfterAnotherAndEndWhenUnused(t *testing.T) {
	var p workers
	idle := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.idle)
	}
	round := func(n int) (by int) {
		var start, done sync.WaitGroup
		var seen sync.Map
		hold := make(chan struct{})
		start.Add(n)
		done.Add(n)
		for range n {
			p.do(noted{&start, &done, hold, &seen})
		}
		start.Wait() // all at a time
		close(hold)
		done.Wait()
		seen.Range(func(any, any) bool { by++; return true })
		return by
	}
	if by := round(5); by != 5 {
		t.Fatalf("5 at a time were carried by %d", by)
	}
	eventually(t, "five idle workers", func() bool { return idle() == 5 })
	before := runtime.NumGoroutine()
	for range 10 {
		round(2)
		eventually(t, "all back", func() bool { return idle() == 5 })
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before: they were not used again", n, before)
	}
	p.trim() // five were needed at a time since the beginning
	p.trim() // none since
	round(1)
	eventually(t, "one worker", func() bool { return idle() == 1 })
	p.trim()
	p.trim()
	if n := idle(); n != 0 {
		t.Errorf("%d workers idle on and on", n)
	}
	round(2)
	p.end()
	eventually(t, "no worker", func() bool { return idle() == 0 })
	round(1)
	if n := idle(); n != 0 {
		t.Errorf("%d workers idle after the end", n)
	}
}
