package router

import (
	"bufio"
	"io"
	"net"
	"net/http"
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

// tunnel turns the client's connection into a tunnel to the instance and
// returns when it ended. The claim is held until then.
func (x *exchange) tunnel(res *http.Response) {
	x.watch.stop()
	instance, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		_ = res.Body.Close()
		x.fail(reasonInternal)
		return
	}
	client, buffered, err := x.rc.Hijack()
	if err != nil {
		_ = instance.Close()
		x.why, x.abort = reasonInternal, true
		return
	}
	if c, ok := client.(*clientConn); ok {
		c.release()
	}
	r := x.trip.r
	t := &tunnel{idle: x.watch.idle, r: r, client: client, instance: instance}
	defer t.close()
	_ = client.SetReadDeadline(time.Time{})
	_ = client.SetWriteDeadline(time.Now().Add(r.cfg.StallTimeout))
	if err := x.writeSwitch(buffered.Writer, res.Header); err != nil {
		x.why = reasonClientGone
		return
	}
	_ = client.SetWriteDeadline(time.Time{})
	r.tunnels.add(t)
	defer r.tunnels.remove(t)
	r.metrics.tunnels.Add(1)
	defer r.metrics.tunnels.Add(-1)
	t.run(buffered.Reader)
	x.trip.rec.RequestBytes, x.trip.rec.ResponseBytes = t.up, t.down
}

// writeSwitch writes the 101.
func (x *exchange) writeSwitch(w *bufio.Writer, h http.Header) error {
	stripResponse(h)
	h["Connection"] = []string{"Upgrade"}
	h["Upgrade"] = []string{x.hop.upgrade}
	h["X-Vcap-Request-Id"] = []string{x.trip.rec.RequestID}
	if _, err := w.WriteString("HTTP/1.1 101 Switching Protocols\r\n"); err != nil {
		return err
	}
	if err := h.Write(w); err != nil {
		return err
	}
	if _, err := w.WriteString("\r\n"); err != nil {
		return err
	}
	return w.Flush()
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
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	for {
		k, rerr := src.Read(buf[:])
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
