package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"weir/internal/bench/load"
)

// measure is one kind of load and what is read off it.
type measure struct {
	name   string
	what   string // printed above its rows
	plan   load.Plan
	secure bool // over TLS
	fresh  bool // on a proxy that has done nothing yet
	cost   func(cell) float64
	unit   string
}

// cell is what one proxy needed for one measure in one round.
type cell struct {
	result load.Result
	cpu    time.Duration // of the proxy, between the load's begin and end
	memory int64         // that it took more at the end than at the begin, in bytes
	others float64       // processors that others used
	err    error
}

func perRequest(c cell) float64 {
	return float64(c.cpu.Nanoseconds()) / 1e3 / float64(c.result.Requests)
}

func perGB(c cell) float64 {
	return c.cpu.Seconds() / (float64(c.result.Requests) * load.LargeBytes / 1e9)
}

// share is the part of one processor that the proxy used.
func (c cell) share() float64 { return c.cpu.Seconds() / c.result.Elapsed.Seconds() }

func (c cell) rate() float64 { return float64(c.result.Requests) / c.result.Elapsed.Seconds() }

// fixedRate is the rate at which latencies are compared, in requests/s.
const fixedRate = 4000

// measures are router.md's; cell is how long each lasts.
func measures(d time.Duration, idle int) []measure {
	warm := d / 4
	plan := func(p load.Plan) load.Plan { p.WarmUp, p.For = warm, d; return p }
	return []measure{
		{name: "h1-64", what: "HTTP/1.1, 64 connections", unit: "µs/req", cost: perRequest, plan: plan(load.Plan{Conns: 64})},
		{name: "h1-256", what: "HTTP/1.1, 256 connections", unit: "µs/req", cost: perRequest, plan: plan(load.Plan{Conns: 256})},
		{name: "h1-tls", what: "HTTP/1.1 over TLS 1.3, 64 connections", unit: "µs/req", cost: perRequest, secure: true, plan: plan(load.Plan{Proto: load.HTTP1TLS, Conns: 64})},
		{name: "h2-tls", what: "HTTP/2 over TLS 1.3, 8 connections with 8 streams", unit: "µs/req", cost: perRequest, secure: true, plan: plan(load.Plan{Proto: load.HTTP2TLS, Conns: 8, Streams: 8})},
		{name: "new-conn", what: "a connection per request, 64 at a time", unit: "µs/req", cost: perRequest, plan: plan(load.Plan{Conns: 64, Reconnect: true})},
		{name: "large", what: "answers of 1 MiB, 8 connections", unit: "s/GB", cost: perGB, plan: plan(load.Plan{Conns: 8, Large: true})},
		{name: "rate", what: fmt.Sprintf("%d requests/s, 64 connections, open loop", fixedRate), unit: "µs/req", cost: perRequest, plan: plan(load.Plan{Conns: 64, Rate: fixedRate})},
		{name: "idle", what: fmt.Sprintf("%d idle connections", idle), unit: "KB/conn", fresh: true, cost: func(c cell) float64 { return float64(c.memory) / 1e3 / float64(idle) }, plan: load.Plan{Conns: idle, Hold: true}},
	}
}

// take measures one proxy.
func (m measure) take(l *load.Loop, p *proxy, g *ground) (c cell) {
	plan := m.plan
	plan.Addr = p.plain
	if m.secure {
		plan.Addr, plan.Roots = p.secure, g.roots
	}
	p.refresh()
	var began noise
	var cpu time.Duration
	plan.Begin = func() { began, cpu = listenNoise(p.pids), p.cpu() }
	plan.End = func() {
		c.cpu, c.others = p.cpu()-cpu, began.others(p.pids)
		if m.plan.Hold {
			c.memory += p.memory()
		}
	}
	if m.plan.Hold {
		c.memory = -p.memory()
	}
	runtime.GC() // while the load runs there is none
	c.result, c.err = l.Run(plan)
	switch {
	case c.err != nil:
	case p.died():
		c.err = errDied
	case c.result.Requests == 0:
		c.err = errors.New("nothing was answered")
	case c.result.Wrong > 0:
		c.err = fmt.Errorf("%d of %d answers were wrong: %s", c.result.Wrong, c.result.Wrong+c.result.Requests, c.result.Why)
	}
	return c
}

var errDied = errors.New("the process that was measured is gone")

// died reports whether one of the proxy's processes is gone.
func (p *proxy) died() bool {
	return slices.ContainsFunc(p.pids, func(pid int) bool { return cpuOf(pid) == 0 })
}

// cpu is the time all processes of the proxy spent on processors.
func (p *proxy) cpu() (total time.Duration) {
	for _, pid := range p.pids {
		total += cpuOf(pid)
	}
	return total
}

// memory is the proportional set size of all processes of the proxy.
func (p *proxy) memory() (total int64) {
	for _, pid := range p.pids {
		n, err := pssOf(pid)
		if err == nil {
			total += n
		}
	}
	return total
}
