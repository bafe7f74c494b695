package router

import (
	"bufio"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// What a tunnel does once one side ended its half: an instance that is done
// has said all; a client may still wait for an answer.
const (
	lingerAfterInstance = time.Second
	lingerAfterClient   = 10 * time.Second
)

// tunnelSet knows the open tunnels, so that they can be cut.
type tunnelSet struct {
	mu   sync.Mutex // guards open
	open map[*tunnel]bool
}

// tunnel is an upgraded connection: bytes both ways.
type tunnel struct {
	idle     time.Duration // how long it may be silent
	r        *Router
	client   net.Conn
	instance io.ReadWriteCloser
	moved    atomic.Int64 // when bytes last moved

	b        *backend // of the instance
	farewell farewell
	polite   *politeConn // client, if it is to be told gently
	tellAt   int64       // when it is told; 0: not yet. Guarded by the set's mu
	told     bool        // likewise

	up, down int64 // bytes
}

func (s *tunnelSet) add(t *tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[*tunnel]bool)
	}
	s.open[t] = true
}

func (s *tunnelSet) remove(t *tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, t)
}

func (s *tunnelSet) closeAll() {
	s.mu.Lock()
	all := make([]*tunnel, 0, len(s.open))
	for t := range s.open {
		all = append(all, t)
	}
	s.mu.Unlock()
	for _, t := range all {
		t.close()
	}
}

func (t *tunnel) close() {
	_ = t.client.Close()
	_ = t.instance.Close()
}

// upgrader is a front whose connection can become a tunnel. What was read
// ahead of it is in the reader.
type upgrader interface {
	upgrade() (net.Conn, *bufio.Reader, error)
}

// tunnel turns the client's connection into a tunnel to the instance and
// returns when it ended. The claim is held until then.
func (x *exchange) tunnel() {
	head := x.appendSwitch(nil)
	u, r := x.up, x.r
	x.watch.letGo()
	x.watch.down.enter(phaseNone, 0)
	front, ok := x.front.(upgrader)
	if !ok {
		x.fail(reasonInternal)
		return
	}
	client, early, err := front.upgrade()
	if err != nil {
		x.why = reasonInternal
		x.front.abort()
		return
	}
	t := &tunnel{idle: time.Duration(x.watch.stream.Load()), r: r, client: client, instance: u, b: x.b}
	if x.rt.rules != nil {
		t.farewell = x.rt.rules.farewell
	}
	if t.farewell.kind == farewellGentle {
		t.polite = &politeConn{Conn: client}
		t.client = t.polite
	}
	defer t.close()
	_ = u.c.SetDeadline(time.Time{})
	_ = client.SetReadDeadline(time.Time{})
	_ = client.SetWriteDeadline(time.Now().Add(r.cfg.StallTimeout))
	if _, err := client.Write(head); err != nil {
		x.why = reasonClientGone
		return
	}
	_ = client.SetWriteDeadline(time.Time{})
	r.tunnels.add(t)
	defer r.tunnels.remove(t)
	r.metrics.tunnels.Add(1)
	defer r.metrics.tunnels.Add(-1)
	t.run(early)
	x.rec.requestBytes, x.rec.responseBytes = t.up, t.down
}

// appendSwitch appends the head of the 101.
func (x *exchange) appendSwitch(b []byte) []byte {
	b = x.res.AppendKept(x.res.AppendLine(b))
	b = appendLine(b, "Connection: Upgrade\r\nUpgrade", x.asked.upgrade)
	b = appendLine(b, "X-Vcap-Request-Id", x.rec.requestID)
	return append(b, '\r', '\n')
}

// run copies both ways until both are done, one side failed, or nothing moved
// for too long. early may hold bytes the client sent already.
func (t *tunnel) run(early *bufio.Reader) {
	t.moved.Store(t.r.now())
	defer t.watchIdle()()

	upDone := make(chan error, 1)   // one value: the goroutine below ended
	downDone := make(chan error, 1) // likewise
	go func() {
		var err error
		t.up, err = t.copy(t.instance, io.MultiReader(io.LimitReader(early, int64(early.Buffered())), t.client))
		upDone <- err
	}()
	go func() {
		var err error
		t.down, err = t.copy(t.client, t.instance)
		downDone <- err
	}()
	var err error
	other, linger := downDone, lingerAfterClient
	select {
	case err = <-upDone:
	case err = <-downDone:
		other, linger = upDone, lingerAfterInstance
	}
	if err == nil {
		timer := time.NewTimer(linger)
		select {
		case <-other:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
	t.close()
	<-other
}

// watchIdle closes the tunnel when nothing moved for too long, until the
// function it returns is called.
func (t *tunnel) watchIdle() (stop func()) {
	var mu sync.Mutex // guards timer and stopped
	var timer *time.Timer
	stopped := false
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(t.idle, func() {
		mu.Lock()
		defer mu.Unlock()
		left := t.idle - time.Duration(t.r.now()-t.moved.Load())
		switch {
		case stopped:
		case left <= 0:
			t.close()
		default:
			timer.Reset(left)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

// copy passes bytes on until the end of src, and then ends that half of dst.
func (t *tunnel) copy(dst io.Writer, src io.Reader) (n int64, err error) {
	held := takeBuffer(32 << 10)
	defer held.free()
	buf := held.b
	for {
		k, rerr := src.Read(buf)
		if k > 0 {
			t.moved.Store(t.r.now())
			m, werr := dst.Write(buf[:k])
			n += int64(m)
			if werr != nil {
				return n, werr
			}
		}
		if rerr == io.EOF {
			return n, closeWrite(dst)
		}
		if rerr != nil {
			return n, rerr
		}
	}
}
