package router

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// farewell is what becomes of a WebSocket whose instance leaves the routes,
// or whose router is replaced.
type farewell struct {
	kind   farewellKind
	spread time.Duration // over which those of a route are told
}

type farewellKind uint8

const (
	farewellStay   farewellKind = iota // it is kept until the drain is over
	farewellGentle                     // both sides are told to close
	farewellCut                        // it is closed at once
)

const (
	// defaultSpread fits into the default drain.
	defaultSpread = 20 * time.Second
	maxSpread     = time.Hour
	// farewellTime is how long the two sides may take to close then.
	farewellTime = 5 * time.Second
)

// parseFarewell reads an OptionWebSocketDrain.
func parseFarewell(v string) (f farewell, err error) {
	kind, spread, has := strings.Cut(v, " ")
	f.spread = defaultSpread
	switch {
	case v == "stay":
	case v == "cut":
		f.kind = farewellCut
	case kind == "close-gently":
		f.kind = farewellGentle
		if has {
			f.spread, err = duration(spread, 0, maxSpread)
		}
	default:
		err = errors.New("must be stay, cut, or close-gently and perhaps a time such as 60s")
	}
	return f, err
}

// sweep tells tunnels to end whose instance left, or all if the router drains
// for at most so long. It is called now and then.
func (s *tunnelSet) sweep(now int64, draining bool, drain time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.open {
		switch {
		case t.farewell.kind == farewellStay || t.told:
		case !draining && !t.b.gone.Load():
			t.tellAt = 0 // it is back
		case t.farewell.kind == farewellCut:
			t.told = true
			go t.close()
		case t.tellAt == 0:
			// Not all at once: they come back at once, too.
			spread := t.farewell.spread
			if draining {
				spread = min(spread, drain/2)
			}
			t.tellAt = now + rand.Int64N(int64(spread)+1)
		}
		if t.tellAt != 0 && now >= t.tellAt && !t.told {
			t.told = true
			go t.leave()
		}
	}
}

// leave asks both sides to close, and closes if they do not.
func (t *tunnel) leave() {
	t.polite.leave()
	time.AfterFunc(farewellTime, t.close)
}

// politeConn is a client's WebSocket into which a close frame can be put
// between the frames of the instance.
type politeConn struct {
	net.Conn

	mu      sync.Mutex // guards what follows, and writing
	frames  wsFrames
	leaving bool // the close frame comes as soon as it can
	said    bool // it was sent: nothing may follow
}

// goingAway is a close frame with status 1012, "service restart". The client
// answers it, the instance sees that answer, and closes.
var goingAway = []byte{0x88, 2, 1012 >> 8, 1012 & 0xff}

// leave sends the close frame, or has it sent behind the frame at hand.
func (c *politeConn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	if c.frames.isBetween() {
		_ = c.sayLocked()
	}
}

func (c *politeConn) sayLocked() error {
	if c.said {
		return nil
	}
	c.said = true
	_, err := c.Conn.Write(goingAway)
	return err
}

// Write implements net.Conn.
func (c *politeConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said {
		return len(b), nil // there is nobody to read it
	}
	n := c.frames.follow(b, c.leaving)
	if k, err := c.Conn.Write(b[:n]); err != nil {
		return k, err
	}
	if c.leaving && c.frames.isBetween() {
		return len(b), c.sayLocked()
	}
	return len(b), nil
}

// CloseWrite closes the sending half.
func (c *politeConn) CloseWrite() error { return closeWrite(c.Conn) }

// wsFrames follows WebSocket frames, RFC 6455 section 5.2.
type wsFrames struct {
	head [14]byte // of the frame at hand
	have int      // how much of it came
	left uint64   // of its payload
}

// isBetween reports whether another frame may begin now.
func (f *wsFrames) isBetween() bool { return f.have == 0 && f.left == 0 }

// follow takes b up, or, if it shall stop, as much as ends the frame at hand,
// and returns how much that is.
func (f *wsFrames) follow(b []byte, stop bool) (n int) {
	for n < len(b) {
		if stop && f.isBetween() {
			return n
		}
		if f.left > 0 {
			k := min(f.left, uint64(len(b)-n))
			f.left -= k
			n += int(k)
			continue
		}
		f.head[f.have] = b[n]
		f.have++
		n++
		if f.have >= 2 && f.have == f.headLen() {
			f.left = f.payload()
			f.have = 0
		}
	}
	return n
}

// headLen is how long the head is, by its first two bytes.
func (f *wsFrames) headLen() int {
	n := 2
	switch f.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.head[1]&0x80 != 0 {
		n += 4 // the mask, which an instance should not send
	}
	return n
}

func (f *wsFrames) payload() uint64 {
	switch n := f.head[1] & 0x7f; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		return binary.BigEndian.Uint64(f.head[2:])
	default:
		return uint64(n)
	}
}
