package main

import (
	"fmt"
	"sync"
	"time"
)

// oracle knows what a request for each route may be answered with: the
// instances the route led to between the request's begin and its end. A
// change counts from when it is sent; what it replaces counts until it is
// acknowledged.
type oracle struct {
	mu     sync.Mutex
	routes [][]span // guarded by mu; the newest last
}

// span is a state of a route and the time during which it may be seen.
type span struct {
	state       int // an instance, or noRoute
	from, until time.Time
}

// noRoute is the state of a route that is not there.
const noRoute = -1

// spansKept is how many states of a route are remembered; far more than change
// while one request runs.
const spansKept = 16

func newOracle(n int, state func(i int) int) *oracle {
	o := &oracle{routes: make([][]span, n)}
	for i := range o.routes {
		o.routes[i] = []span{{state: state(i)}}
	}
	return o
}

// change notes that a route is about to change; the function it returns, that
// it has changed.
func (o *oracle) change(i, state int) (acknowledged func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.routes[i] = append(o.routes[i], span{state: state, from: time.Now()})
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		r := o.routes[i]
		r[len(r)-2].until = time.Now()
		if len(r) > spansKept {
			o.routes[i] = append(r[:0], r[len(r)-spansKept:]...)
		}
	}
}

// judge returns an error if an answer of that state was not right at any time
// between begin and end.
func (o *oracle) judge(i, state int, begin, end time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var allowed []int
	for _, s := range o.routes[i] {
		if s.from.After(end) || !s.until.IsZero() && s.until.Before(begin) {
			continue
		}
		if s.state == state {
			return nil
		}
		allowed = append(allowed, s.state)
	}
	return fmt.Errorf("route %d was answered by %d, allowed were %d", i, state, allowed)
}
