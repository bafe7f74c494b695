package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"weir/internal/bench/load"
)

// matrix is every measure of every proxy, by turns.
type matrix struct {
	weir   string
	beside string   // another weir; empty: none
	only   []string // measures; empty: all
	peers  []string // proxies; empty: all
	rounds int
	turns  int           // how often each load comes by in a round
	each   time.Duration // how long a load lasts

	measures []measure
	absent   map[string]string            // proxies that could not be measured, and why
	cells    map[string]map[string][]cell // by measure and proxy
}

// proxies measures weir's router beside others, and what go test tells of it.
func (b bench) proxies(ctx context.Context) error {
	if err := b.matrix.run(ctx); err != nil || len(b.matrix.only) > 0 {
		return err
	}
	return goGated(ctx)
}

// run measures weir's router beside others and says which gates hold.
func (m *matrix) run(ctx context.Context) error {
	if runtime.NumCPU() < 2 {
		fmt.Println("measuring proxies needs two processors: one for the proxy, one for the load")
		return nil
	}
	began := time.Now()
	loop, g, done, err := m.prepare()
	if err != nil {
		return err
	}
	defer done()
	idle := min(10_000, g.conns()-100)
	m.measures = slices.DeleteFunc(measures(m.each, idle), func(x measure) bool { return len(m.only) > 0 && !slices.Contains(m.only, x.name) })
	for round := range m.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d, %s\n", round+1, m.rounds, toSecond(time.Since(began)))
		if err := m.round(ctx, loop, g); err != nil {
			return err
		}
	}
	m.print(time.Since(began))
	return nil
}

// prepare makes the loop, on one processor, and the ground for proxies on
// another.
func (m *matrix) prepare() (l *load.Loop, g *ground, done func(), err error) {
	m.absent, m.cells = map[string]string{}, map[string]map[string][]cell{}
	if l, err = load.New(0); err != nil {
		return nil, nil, nil, err
	}
	if g, err = newGround(m.weir, l.Instance(), 1); err != nil {
		l.Close()
		return nil, nil, nil, err
	}
	g.beside = m.beside
	self := []int{os.Getpid()}
	hurry(self)
	return l, g, func() { calm(self); g.clear(); l.Close() }, nil
}

// stage is proxies that run, at least one, on ground of their own.
type stage struct {
	loop    *load.Loop
	ground  *ground
	running []*proxy
	clear   func()
}

func (m *matrix) stage(ctx context.Context) (*stage, error) {
	l, g, done, err := m.prepare()
	if err != nil {
		return nil, err
	}
	running, stop, err := m.start(ctx, g)
	if err == nil && len(running) == 0 {
		err = errors.New("none of the proxies is there")
	}
	if err != nil {
		done()
		return nil, err
	}
	return &stage{l, g, running, func() { stop(); done() }}, nil
}

// stand starts the proxies and answers for their instance for a while, so that
// other tools can load and watch them.
func (b bench) stand(ctx context.Context) error {
	m := b.matrix
	s, err := m.stage(ctx)
	if err != nil {
		return err
	}
	defer s.clear()
	for _, p := range s.running {
		fmt.Printf("%-13s http %s, https %s, processes %d\n", p.name, p.plain, p.secure, p.pids)
	}
	fmt.Printf("answers for %s, to targets like %s, for %s\n", load.Host, load.Target, m.each)
	for began := time.Now(); time.Since(began) < m.each && ctx.Err() == nil; {
		if _, err := s.loop.Run(load.Plan{Addr: s.running[0].plain, Conns: 1, Rate: 1, Others: true, For: time.Second}); err != nil {
			return err
		}
	}
	return nil
}

// round starts all proxies, measures each with each load, and stops them. The
// proxies take turns quickly, because other guests of the machine make it
// slower or faster from one second to the next.
func (m *matrix) round(ctx context.Context, l *load.Loop, g *ground) error {
	running, stop, err := m.start(ctx, g)
	if err != nil {
		return err
	}
	defer stop()
	for _, x := range slices.Backward(m.measures) { // idle memory first, on fresh processes
		turns := m.turns
		if x.fresh {
			turns = 1
		}
		for range turns {
			for _, p := range running {
				if ctx.Err() != nil {
					return errors.New("interrupted")
				}
				m.note(x, p, l, g)
			}
		}
	}
	return nil
}

// start starts all proxies that are wanted and there.
func (m *matrix) start(ctx context.Context, g *ground) (running []*proxy, stop func(), err error) {
	stop = func() {
		for _, p := range running {
			p.stop()
		}
	}
	for _, s := range starters {
		wanted := len(m.peers) == 0 || slices.Contains(m.peers, s.name)
		if s.name == besideName {
			wanted = m.beside != ""
		}
		if m.absent[s.name] != "" || !wanted {
			continue
		}
		p, err := s.start(ctx, g)
		if errors.Is(err, errAbsent) || err != nil && s.name != "weir" {
			m.absent[s.name] = firstLine(err)
			continue
		}
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("starting %s: %w", s.name, err)
		}
		p.name = s.name
		hurry(p.pids)
		running = append(running, p)
	}
	return running, stop, nil
}

func (m *matrix) note(x measure, p *proxy, l *load.Loop, g *ground) {
	c := cell{err: errNoTLS}
	if !x.secure || p.secure != "" {
		c = x.take(l, p, g)
	}
	if m.cells[x.name] == nil {
		m.cells[x.name] = map[string][]cell{}
	}
	m.cells[x.name][p.name] = append(m.cells[x.name][p.name], c)
	if c.err != nil {
		fmt.Fprintf(os.Stderr, "  %-9s %-13s %v\n", x.name, p.name, c.err)
		return
	}
	fmt.Fprintf(os.Stderr, "  %-9s %-13s %7.2f %s, others %.2f\n", x.name, p.name, x.cost(c), x.unit, c.others)
}

var errNoTLS = errors.New("serves no TLS yet")

func toSecond(d time.Duration) string { return d.Round(time.Second).String() }

// list splits a flag's value.
func list(v string) []string {
	if v == "" {
		return nil
	}
	return strings.Split(v, ",")
}
