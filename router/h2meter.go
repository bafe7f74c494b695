package router

import "errors"

// h2meter watches what a client sends over HTTP/2 and ends connections that
// keep the router busy with frames that ask for nothing: net/http bounds what
// they make it hold (streams, heads, answers that wait), not how many there
// are of them.
type h2meter struct {
	head   [9]byte // of the frame at hand
	have   int     // how much of it came
	left   int     // of the payload, and of the preface at the beginning
	budget [frameKinds]bucket
}

// The frames that are counted.
const (
	framePing = iota
	frameSettings
	frameReset
	framePriority
	frameWindow
	frameEmpty // DATA or CONTINUATION with nothing in it
	frameKinds
)

// frameLimits are how many of a kind may come at once, and each second.
// Windows and pings follow the data a client takes, so they get most room.
var frameLimits = [frameKinds]struct{ burst, perSecond int64 }{
	framePing:     {10_000, 5_000},
	frameSettings: {100, 10},
	frameReset:    {2_000, 500},
	framePriority: {2_000, 200},
	frameWindow:   {50_000, 25_000},
	frameEmpty:    {1_000, 100},
}

var errFlood = errors.New("router: HTTP/2 frames that ask for nothing, too many")

// bucket holds what may still come: full at first, emptied by each, filled
// with time.
type bucket struct {
	used int64 // since full; 0 is full
	at   int64 // when used was right, in nanoseconds on the router's clock
}

func (b *bucket) take(burst, perSecond, now int64) bool {
	if b.used >= burst { // only then is it worth to look at the clock
		back := (now - b.at) / (1_000_000_000 / perSecond)
		b.at += back * (1_000_000_000 / perSecond)
		b.used = max(b.used-back, 0)
	} else if b.used == 0 {
		b.at = now
	}
	b.used++
	return b.used <= burst
}

func newH2Meter() *h2meter { return &h2meter{left: len(preface)} }

// scan counts the frames in b, which follows what came before, and reports
// whether there are not too many.
func (m *h2meter) scan(b []byte, now int64) bool {
	for len(b) > 0 {
		if m.left > 0 {
			n := min(m.left, len(b))
			m.left -= n
			b = b[n:]
			continue
		}
		n := copy(m.head[m.have:], b)
		m.have += n
		b = b[n:]
		if m.have < len(m.head) {
			return true
		}
		m.have = 0
		m.left = int(m.head[0])<<16 | int(m.head[1])<<8 | int(m.head[2])
		if kind := frameKind(m.head[3], m.head[4], m.left); kind >= 0 {
			l := &frameLimits[kind]
			if !m.budget[kind].take(l.burst, l.perSecond, now) {
				return false
			}
		}
	}
	return true
}

// frameKind returns which of the counted kinds a frame is, or -1.
func frameKind(typ, flags byte, length int) int {
	switch typ {
	case 0x0, 0x9: // DATA that does not end its stream, CONTINUATION
		if length == 0 && flags&0x1 == 0 {
			return frameEmpty
		}
	case 0x2:
		return framePriority
	case 0x3:
		return frameReset
	case 0x4:
		return frameSettings
	case 0x6:
		return framePing
	case 0x8:
		return frameWindow
	}
	return -1
}
