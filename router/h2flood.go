package router

// Frames that ask for nothing keep the router busy: of each kind a client may
// send so many, or its connection ends.
//
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

const tooMany = "frames that ask for nothing, too many"

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
