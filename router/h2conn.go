package router

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"weir/router/wire"
)

// What a client may do over one connection.
const (
	h2Streams     = 250       // requests at a time
	h2StreamRoom  = 256 << 10 // bytes of a body that nobody took yet
	h2ConnRoom    = 1 << 20   // of all bodies
	h2TableBytes  = 4096      // of its compression table
	h2ResetsKnown = 64        // streams we reset, of which frames may still come
)

// conn2 is one HTTP/2 connection. One goroutine reads it; each request has a
// goroutine of its own; whoever has something to send writes for all.
type conn2 struct {
	in    stream
	r     *Router
	a     *arrival
	watch watch // of the time between requests, and while a head comes

	peerText, peerAddr string
	gone               chan struct{} // closed when the connection ended
	// What follows belongs to the goroutine that reads.
	dec     *hpack.Decoder
	head    h2head
	greeted bool // the client's first SETTINGS came
	budget  [frameKinds]bucket

	handlers sync.WaitGroup
	shrunk   atomic.Bool // peerTable got smaller once

	mu         sync.Mutex // guards what follows, and the streams
	room       sync.Cond  // there is room in out, or the connection is dead
	out, spare []byte     // what is to be written
	writing    bool       // somebody does
	limited    time.Time  // when the deadline of writes was set
	dead       error      // why nothing can be sent any more; nil: it can
	streams    map[uint32]*stream2
	resets     [h2ResetsKnown]uint32 // streams we reset
	nReset     int
	active     int // requests whose goroutine runs
	lastStream uint32
	inHead     bool   // a head is on its way
	window     int64  // bytes of bodies the client takes
	peerWindow int64  // what it takes on a new stream
	peerFrame  int    // its largest frame
	peerTable  uint32 // its table of fields, which we do not use
	recvLeft   int64  // bytes of bodies it may send
	recvTaken  int64  // bytes that were taken and not yet allowed anew
	leaving    bool   // told to go away, politely
	over       bool   // it ends with the last request under way
	left       bool   // told so for good
}

func newConn2(r *Router, a *arrival) *conn2 {
	c := &conn2{
		in: newStream(a.Conn), r: r, a: a, gone: make(chan struct{}),
		peerText: a.peer.Addr().String(), peerAddr: a.peer.String(),
		streams: make(map[uint32]*stream2), window: h2DefaultWindow, peerWindow: h2DefaultWindow,
		peerFrame: h2DefaultFrame, peerTable: h2TableBytes, recvLeft: h2ConnRoom,
	}
	c.room.L = &c.mu
	c.watch.ends, c.watch.streams = c, true
	c.dec = hpack.NewDecoder(h2TableBytes, c.head.field)
	return c
}

// serve carries requests until the connection ends.
func (c *conn2) serve() {
	c.watch.down.enter(phaseFirst, c.r.now())
	err := c.greet()
	for err == nil {
		var f h2frame
		if f, err = c.frame(); err == nil {
			err = c.take(&f)
		}
	}
	var bad h2Error
	if !errors.As(err, &bad) {
		bad.code = h2NoError
	} else {
		c.r.cfg.Logger.Debug("connection ended", "peer", c.a.peer, "err", err)
		if bad.code == h2EnhanceYourCalm {
			c.r.metrics.floods.Add(1)
		}
	}
	c.end(bad.code)
}

// greet says what we take, and reads the client's preface.
func (c *conn2) greet() error {
	c.mu.Lock()
	b := appendFrameHead(c.out, 4*h2SettingBytes, h2Settings, 0, 0)
	b = appendSetting(b, h2MaxStreams, h2Streams)
	b = appendSetting(b, h2InitialWindow, h2StreamRoom)
	b = appendSetting(b, h2MaxFrame, h2DefaultFrame)
	b = appendSetting(b, h2MaxHeaderList, wire.MaxHead)
	c.out = appendWindow(b, 0, h2ConnRoom-h2DefaultWindow)
	c.mu.Unlock()
	for {
		b := c.in.bytes()
		if len(b) >= len(preface) {
			if !bytes.Equal(b[:len(preface)], preface) {
				return h2Error{h2ProtocolError, "no preface"}
			}
			c.in.take(len(preface))
			return nil
		}
		if err := c.fill(false); err != nil {
			return err
		}
	}
}

// frame reads a frame.
func (c *conn2) frame() (f h2frame, err error) {
	for {
		b := c.in.bytes()
		if len(b) >= h2FrameHead {
			n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
			f.kind, f.flags = b[3], b[4]
			f.stream = binary.BigEndian.Uint32(b[5:]) & h2LastStreamEver
			switch {
			case n > h2DefaultFrame:
				return f, h2Error{h2FrameSizeError, "a frame over 16 KiB"}
			case len(b) >= h2FrameHead+n:
				f.payload = b[h2FrameHead : h2FrameHead+n]
				c.in.take(h2FrameHead + n)
				return f, nil
			}
		}
		inHead := c.head.stream != 0 || len(b) >= h2FrameHead && f.kind == h2Headers
		if err := c.fill(inHead); err != nil {
			return f, err
		}
	}
}

// fill reads more, after what waits was sent. When the router wants no more of
// the connection it goes on while requests are under way.
func (c *conn2) fill(inHead bool) error {
	c.push()
	c.mu.Lock()
	for len(c.out) > h2OutFull && c.dead == nil {
		c.room.Wait() // for who writes: what is asked must not pile up
	}
	over := c.dead != nil || c.over && c.active == 0
	if inHead && !c.inHead {
		c.inHead = true
		c.watch.down.enter(phaseRequest, c.r.now())
	}
	c.mu.Unlock()
	if over {
		return io.EOF
	}
	c.in.release()
	if !c.in.grow() {
		return h2Error{h2FrameSizeError, "a frame without end"}
	}
	err := c.in.fill()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.dead == nil && c.active > 0 {
			return c.in.c.SetReadDeadline(time.Time{})
		}
	}
	return err
}

// restLocked notes that no head is on its way.
func (c *conn2) restLocked() {
	c.inHead = false
	if c.active == 0 {
		c.watch.down.enter(phaseIdle, c.r.now())
	} else {
		c.watch.down.enter(phaseNone, 0)
	}
}

// take does what a frame says.
func (c *conn2) take(f *h2frame) error {
	if kind := frameKind(f.kind, f.flags, len(f.payload)); kind >= 0 {
		if err := c.spend(kind); err != nil {
			return err
		}
	}
	switch {
	case !c.greeted && f.kind != h2Settings:
		return h2Error{h2ProtocolError, "the first frame is not SETTINGS"}
	case c.head.stream != 0 && (f.kind != h2Continuation || f.stream != c.head.stream):
		return h2Error{h2ProtocolError, "a header block that is interrupted"}
	}
	switch f.kind {
	case h2Data:
		return c.takeData(f)
	case h2Headers:
		return c.takeHeaders(f)
	case h2Continuation:
		if c.head.stream == 0 {
			return h2Error{h2ProtocolError, "CONTINUATION of nothing"}
		}
		return c.takeBlock(f.payload, f.has(h2EndHeaders))
	case h2Priority:
		return c.takePriority(f)
	case h2Reset:
		return c.takeReset(f)
	case h2Settings:
		return c.takeSettings(f)
	case h2PushPromise:
		return h2Error{h2ProtocolError, "PUSH_PROMISE of a client"}
	case h2Ping:
		return c.takePing(f)
	case h2GoAway:
		if f.stream != 0 {
			return h2Error{h2ProtocolError, "GOAWAY of a stream"}
		}
	case h2Window:
		return c.takeWindow(f)
	}
	return nil
}

// spend counts a frame that costs more than it asks for.
func (c *conn2) spend(kind int) error {
	l := &frameLimits[kind]
	if !c.budget[kind].take(l.burst, l.perSecond, c.r.now()) {
		return h2Error{h2EnhanceYourCalm, tooMany}
	}
	return nil
}

// reject ends a stream for a fault of the client. It counts like a reset of
// its own: both make us work for nothing.
func (c *conn2) reject(stream uint32, code h2Code) error {
	c.mu.Lock()
	s := c.streams[stream]
	if s != nil {
		s.resetLocked()
	}
	c.sendResetLocked(stream, code)
	c.mu.Unlock()
	if s != nil {
		s.watch.cancel(reasonClientGone)
	}
	return c.spend(frameReset)
}

func (c *conn2) sendResetLocked(stream uint32, code h2Code) {
	c.out = appendReset(c.out, stream, code)
	c.resets[c.nReset%h2ResetsKnown] = stream
	c.nReset++
}

// wasResetLocked reports whether frames of a closed stream may have been under way
// when we reset it.
func (c *conn2) wasResetLocked(stream uint32) bool {
	for _, id := range c.resets {
		if id == stream {
			return true
		}
	}
	return false
}

// end ends everything, and the connection last.
func (c *conn2) end(code h2Code) {
	c.mu.Lock()
	c.out = appendGoAway(c.out, c.lastStream, code)
	over := c.over
	for c.writing && c.dead == nil {
		c.room.Wait() // or what others have to say would be lost
	}
	c.mu.Unlock()
	c.push()
	c.fail(io.EOF)
	c.handlers.Wait()
	c.in.drop()
	switch {
	case c.watch.tooSlow.Load():
		cut(c.in.c)
	case code != h2NoError || over:
		// Or the reset that answers what still comes would take back what
		// the client did not read yet.
		_ = c.in.c.SetDeadline(time.Now().Add(lingerTime))
		if closeWrite(c.in.c) == nil {
			_, _ = io.CopyN(io.Discard, c.in.c, lingerBytes)
		}
	}
	_ = c.in.c.Close()
}

// fail makes everything that waits for the client end.
func (c *conn2) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err)
}

func (c *conn2) failLocked(err error) {
	if c.dead != nil {
		return
	}
	c.dead = err
	close(c.gone)
	c.room.Broadcast()
	for _, s := range c.streams {
		s.wake.Broadcast()
		s.watch.cancel(reasonClientGone)
	}
	_ = c.in.c.SetReadDeadline(past)
}

// announce tells the client to go on elsewhere, if it has not asked for
// anything for so long; what it still sends here is served.
func (c *conn2) announce(idle time.Duration) {
	c.mu.Lock()
	p, since, _ := c.watch.down.load()
	if idle == 0 || c.active == 0 && p == phaseIdle && time.Duration(c.r.now()-since) >= idle {
		c.announceLocked()
	}
	c.mu.Unlock()
	c.push()
}

func (c *conn2) announceLocked() {
	if !c.leaving && c.dead == nil {
		c.leaving = true
		c.out = appendGoAway(c.out, h2LastStreamEver, h2NoError)
	}
}

// leave serves what came by now and nothing else.
func (c *conn2) leave() {
	c.mu.Lock()
	c.announceLocked()
	if !c.left && c.dead == nil {
		c.left = true
		c.out = appendGoAway(c.out, c.lastStream, h2NoError)
	}
	c.closeLocked()
	c.mu.Unlock()
	c.push()
}

// closeLocked ends the connection once no request is under way.
func (c *conn2) closeLocked() {
	c.over = true
	if c.active == 0 {
		_ = c.in.c.SetReadDeadline(past)
	}
}

// unblock implements ends, for the connection as such.
func (c *conn2) unblock(read, write bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if read {
		c.closeLocked()
	}
	if write {
		c.failLocked(os.ErrDeadlineExceeded)
		_ = c.in.c.SetWriteDeadline(past)
	}
}

// client implements ends.
func (c *conn2) client() clientState { return clientOf(c.in.c) }

// tooSlowLocked notes that a stream is ended because its client took too little
// since a moment. If the connection is being written to, the client may read
// nothing of it at all: since that moment then, as the sweeper will see.
func (c *conn2) tooSlowLocked(since int64) {
	if st := c.client(); c.writing && st.behind {
		c.watch.slowFrom.Store(st.taken)
		c.watch.slowSince.Store(since)
	}
}
