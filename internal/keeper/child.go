package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"weir/internal/platform"
)

// child is one of the long-lived processes, through all its restarts.
//
//	supervise:  (adopted or spawned) ─→ running ─→ died ─→ pause ─→ spawned …
//	                                       │
//	                                       ├─ replace: a fresh process, then the old one ends
//	                                       └─ stop:    SIGTERM, grace, SIGKILL
type child struct {
	k   *Keeper
	cfg Child

	firstReady chan struct{} // closed when a process of it is ready
	readyOnce  sync.Once
	requests   chan replaceRequest
	stopping   chan struct{} // closed by stop
	ended      chan struct{} // closed when supervise returned

	mu      sync.Mutex // guards what follows
	sockets []socket
	current *proc   // nil before the first start and between restarts
	procs   []*proc // all that may still run: the current one, and those on their way out
	spawns  int
}

type replaceRequest struct {
	ctx   context.Context
	reply chan error // 1: whoever asked may have gone
}

func newChild(k *Keeper, cfg Child) *child {
	return &child{
		k: k, cfg: cfg, firstReady: make(chan struct{}), requests: make(chan replaceRequest),
		stopping: make(chan struct{}), ended: make(chan struct{}),
	}
}

// holds reports whether a socket for a configured address is there already.
func (c *child) holds(name, addr string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.sockets, func(s socket) bool { return s.Name == name && s.Addr == addr })
}

func (c *child) addSockets(s []socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sockets = append(c.sockets, s...)
}

func (c *child) addrs(name string) []net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	var addrs []net.Addr
	for _, s := range c.sockets {
		if s.Name == name {
			addrs = append(addrs, s.addr)
		}
	}
	return addrs
}

// release closes the sockets and lets go of the processes. Connections that
// nobody accepted are refused, unless a process that goes on has the sockets.
func (c *child) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sockets {
		s.file.Close()
	}
	c.sockets = nil
	for _, p := range c.procs {
		p.release()
	}
}

func (c *child) setCurrent(p *proc) {
	c.mu.Lock()
	c.current = p
	c.mu.Unlock()
	c.k.writeChildren()
}

func (c *child) currentProc() *proc {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// allProcs returns the processes there are at this moment: a start may add to
// them, and forget others, before they have been gone through.
func (c *child) allProcs() []*proc {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.procs)
}

// What became of a process that supervise attended to.
type fate int

const (
	died fate = iota
	replaced
	stopped
)

// supervise keeps the child running until stop is called or ctx ends.
func (c *child) supervise(ctx context.Context) {
	defer close(c.ended)
	var backoff time.Duration
	for p := c.currentProc(); ; p = c.currentProc() {
		began := time.Now()
		if p == nil {
			p = c.spawn()
		}
		what := died
		if p != nil {
			what = c.attend(ctx, p)
		}
		switch what {
		case stopped:
			return
		case replaced:
			backoff = 0
		case died:
			c.setCurrent(nil)
			if !c.pause(ctx, time.Since(began), &backoff) {
				return
			}
		}
	}
}

// attend waits until something becomes of the current process.
func (c *child) attend(ctx context.Context, p *proc) fate {
	select {
	case <-p.exited:
		c.reportDeath(p)
		return died
	case r := <-c.requests:
		err := c.exchange(r.ctx, p)
		r.reply <- err
		return replaced
	case <-c.stopping:
		c.end(p)
		return stopped
	case <-ctx.Done():
		return stopped
	}
}

// A child that lived shorter than steadyAfter is started again only after a
// pause, except for the first time; the pause doubles each time.
const (
	steadyAfter  = 5 * time.Second
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = time.Second // a listener without its process is an outage
)

// pause waits before the next start, and reports whether there is to be one.
func (c *child) pause(ctx context.Context, lived time.Duration, backoff *time.Duration) bool {
	if lived >= steadyAfter {
		*backoff = 0
	}
	timer := time.NewTimer(*backoff)
	defer timer.Stop()
	*backoff = min(max(*backoff*2, firstBackoff), maxBackoff)
	select {
	case <-c.stopping:
		return false
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// spawn starts a process and makes it the current one; nil if that failed.
func (c *child) spawn() *proc {
	p, err := c.start()
	if err != nil {
		c.k.log.Error("child cannot be started", "child", c.cfg.Name, "err", err)
		return nil
	}
	c.setCurrent(p)
	c.k.log.Info("child started", "child", c.cfg.Name, "pid", p.pid())
	return p
}

func (c *child) wasReady() bool {
	select {
	case <-c.firstReady:
		return true
	default:
		return false
	}
}

// reportDeath logs the end of a process, and ends the keeper if there is no
// point in going on.
func (c *child) reportDeath(p *proc) {
	code, how := p.outcome()
	c.k.log.Warn("child ended", "child", c.cfg.Name, "pid", p.pid(), "how", how)
	if code == ExitConfig && !c.wasReady() {
		c.k.fail(&platform.Error{
			Kind: platform.KindInvalid,
			Msg:  fmt.Sprintf("the %s cannot start", c.cfg.Name),
			Hint: "what it printed above says why",
		})
	}
}

// readyTimeout is how long a replacement may take to report ready.
const readyTimeout = 60 * time.Second

// exchange starts a fresh process and ends the old one. When the new one does
// not get ready, the old one stays the current one, if it runs beside it.
func (c *child) exchange(ctx context.Context, old *proc) error {
	if !c.cfg.Survives {
		c.end(old)
		c.setCurrent(nil)
		next, err := c.start()
		if err != nil {
			return err // supervise tries again
		}
		c.setCurrent(next)
		return c.becomesReady(ctx, next)
	}
	next, err := c.start()
	if err != nil {
		return err
	}
	if err := c.becomesReady(ctx, next); err != nil {
		c.end(next)
		return err
	}
	c.setCurrent(next)
	c.k.log.Info("child replaced", "child", c.cfg.Name, "old", old.pid(), "new", next.pid())
	c.k.wg.Go(func() { c.end(old) })
	return nil
}

func (c *child) becomesReady(ctx context.Context, p *proc) error {
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	select {
	case <-p.ready:
		return nil
	case <-p.exited:
		_, how := p.outcome()
		return fmt.Errorf("the new one ended before it was ready: %s", how)
	case <-timeout.C:
		return fmt.Errorf("the new one was not ready within %s", readyTimeout)
	case <-c.stopping:
		return errors.New("the keeper is stopping")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// replace asks supervise for an exchange and waits for the outcome.
func (c *child) replace(ctx context.Context) error {
	r := replaceRequest{ctx: ctx, reply: make(chan error, 1)}
	select {
	case c.requests <- r:
	case <-c.ended:
		return errors.New("the keeper is stopping")
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-r.reply
}

// errPutBack says what runs after a replacement that failed.
var errPutBack = errors.New("the one before goes on; weir's log says more")

// putBack brings a child back as it was, from the program file that is held
// again, after a replacement that failed. It returns an error all the same, one
// that says how it went.
func (c *child) putBack(ctx context.Context) error {
	if !c.cfg.Survives { // others were never ended
		if err := c.replace(ctx); err != nil {
			return fmt.Errorf("starting the one before again: %w", err)
		}
	}
	return errPutBack
}

// end stops a process: SIGTERM, the grace, SIGKILL.
func (c *child) end(p *proc) {
	p.signal(syscall.SIGTERM)
	grace := time.NewTimer(c.k.cfg.ChildGrace)
	defer grace.Stop()
	select {
	case <-p.watched: // it ended, or we let go of it
	case <-grace.C:
		c.k.log.Warn("child did not end, killing it", "child", c.cfg.Name, "pid", p.pid(), "grace", c.k.cfg.ChildGrace)
		p.signal(syscall.SIGKILL)
		<-p.watched
	}
}

// stop ends the child, with all its processes, and waits for that. With
// onlyOwn, a process that was adopted goes on.
func (c *child) stop(onlyOwn bool) {
	if p := c.currentProc(); onlyOwn && p != nil && p.adopted {
		return
	}
	for _, p := range c.allProcs() {
		p.sayFinal() // those on their way out need not wait either
	}
	close(c.stopping)
	<-c.ended
	for _, p := range c.allProcs() {
		<-p.watched // those that were replaced are on their way out
	}
}
