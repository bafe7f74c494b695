package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// The frames of RFC 9113 that a client of small answers meets.
const (
	frameData     = 0
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
	framePing     = 6
	frameGoAway   = 7
	frameWindow   = 8
	frameHead     = 9

	flagEndStream  = 1
	flagAck        = 1
	flagEndHeaders = 4
	flagPadded     = 8
	flagPriority   = 32

	settingTableSize = 1
	settingWindow    = 4
	http2Window      = 1 << 30 // never used up by small answers
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// blocks are the header blocks of requests, compressed as a browser does: the
// first one of a connection puts its fields into the table, the others refer
// to them. Both hold the digits at a fixed place.
type blocks struct {
	first, later     []byte
	firstAt, laterAt int
}

func newBlocks() blocks {
	static := map[string]byte{
		":authority": 1, "accept": 19, "accept-language": 17, "accept-encoding": 16, "cookie": 32, "referer": 51, "user-agent": 58,
	}
	var b blocks
	path := func(block []byte) []byte {
		block = append(block, 0x04, byte(len(smallTarget)+digits))
		return append(append(block, smallTarget...), strings.Repeat("0", digits)...)
	}
	b.first = path([]byte{0x82, 0x87}) // GET, https
	b.firstAt = len(b.first) - digits
	for _, f := range fields {
		name := strings.ToLower(f[0])
		if name == "host" {
			name = ":authority"
		}
		if i, ok := static[name]; ok {
			b.first = append(b.first, 0x40|i)
		} else {
			b.first = append(append(b.first, 0x40, byte(len(name))), name...)
		}
		b.first = append(append(b.first, byte(len(f[1]))), f[1]...)
	}
	b.later = path([]byte{0x82, 0x87})
	b.laterAt = len(b.later) - digits
	for i := range fields {
		b.later = append(b.later, 0x80|byte(62+len(fields)-1-i))
	}
	return b
}

// http2 is the client's side of one HTTP/2 connection, without its socket.
type http2 struct {
	blocks  *blocks
	ready   bool // the server's settings came
	started bool // the first request was sent
	lastID  uint32
	streams []stream
	out     []byte // frames to be sent
	in      []byte // the beginning of a frame that is not complete
}

// stream is one request under way.
type stream struct {
	id, number uint32
	got        int // bytes of the body
	answered   bool
}

func newHTTP2(b *blocks) *http2 {
	h := &http2{blocks: b, out: []byte(preface), lastID: ^uint32(0)}
	h.frame(frameSettings, 0, 0, 6)
	h.out = binary.BigEndian.AppendUint16(h.out, settingWindow)
	h.out = binary.BigEndian.AppendUint32(h.out, http2Window)
	h.frame(frameWindow, 0, 0, 4) // of the connection
	h.out = binary.BigEndian.AppendUint32(h.out, http2Window)
	return h
}

// frame appends the head of a frame.
func (h *http2) frame(kind, flags byte, id uint32, n int) {
	h.out = append(h.out, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	h.out = binary.BigEndian.AppendUint32(h.out, id)
}

// ask appends a request.
func (h *http2) ask(n uint32) {
	h.lastID += 2
	block, at := h.blocks.later, h.blocks.laterAt
	if !h.started {
		h.started = true
		block, at = h.blocks.first, h.blocks.firstAt
	}
	h.frame(frameHeaders, flagEndStream|flagEndHeaders, h.lastID, len(block))
	h.out = append(h.out, block...)
	number(h.out[len(h.out)-len(block)+at:], n)
	h.streams = append(h.streams, stream{id: h.lastID, number: n})
}

// feed takes what came from the server and calls done for each answer that is
// complete and right.
func (h *http2) feed(data, body []byte, done func(number uint32)) error {
	if len(h.in) > 0 {
		h.in = append(h.in, data...)
		data = h.in
	}
	for {
		if len(data) < frameHead {
			break
		}
		n := frameHead + int(data[0])<<16 + int(data[1])<<8 + int(data[2])
		if n > frameHead+1<<14 {
			return errors.New("a frame that is too long")
		}
		if len(data) < n {
			break
		}
		if err := h.take(data[3], data[4], binary.BigEndian.Uint32(data[5:]), data[frameHead:n], body, done); err != nil {
			return err
		}
		data = data[n:]
	}
	h.in = append(h.in[:0], data...)
	return nil
}

func (h *http2) take(kind, flags byte, id uint32, payload, body []byte, done func(uint32)) error {
	switch kind {
	case frameSettings:
		return h.settings(flags, payload)
	case framePing:
		if flags&flagAck == 0 {
			h.frame(framePing, flagAck, 0, len(payload))
			h.out = append(h.out, payload...)
		}
		return nil
	case frameHeaders, frameData:
		return h.answer(kind, flags, id, payload, body, done)
	case frameReset:
		return fmt.Errorf("a stream was reset with code %d", binary.BigEndian.Uint32(payload))
	case frameGoAway:
		return fmt.Errorf("the proxy said GOAWAY with code %d", binary.BigEndian.Uint32(payload[4:]))
	default:
		return nil
	}
}

func (h *http2) settings(flags byte, payload []byte) error {
	if flags&flagAck != 0 {
		return nil
	}
	for ; len(payload) >= 6; payload = payload[6:] {
		if binary.BigEndian.Uint16(payload) == settingTableSize && binary.BigEndian.Uint32(payload[2:]) < 1024 {
			return errors.New("the proxy's header table is too small for a browser's fields")
		}
	}
	h.frame(frameSettings, flagAck, 0, 0)
	h.ready = true
	return nil
}

func (h *http2) answer(kind, flags byte, id uint32, payload, body []byte, done func(uint32)) error {
	i := 0
	for ; i < len(h.streams) && h.streams[i].id != id; i++ {
	}
	if i == len(h.streams) {
		return fmt.Errorf("an answer on stream %d, which asked nothing", id)
	}
	s := &h.streams[i]
	if flags&flagPadded != 0 {
		payload = payload[1 : len(payload)-int(payload[0])]
	}
	if kind == frameHeaders {
		if flags&flagPriority != 0 {
			payload = payload[5:]
		}
		for len(payload) > 0 && payload[0]&0xe0 == 0x20 {
			payload = payload[1:] // the table shrinks
		}
		if len(payload) == 0 || payload[0] != 0x88 || s.answered {
			return errors.New("an answer whose status is not 200")
		}
		s.answered = true
	} else {
		if err := s.check(payload, body); err != nil {
			return err
		}
	}
	if flags&flagEndStream == 0 {
		return nil
	}
	if !s.answered || s.got != len(body) {
		return fmt.Errorf("an answer of %d bytes", s.got)
	}
	n := s.number
	last := len(h.streams) - 1
	h.streams[i] = h.streams[last]
	h.streams = h.streams[:last]
	done(n)
	return nil
}

// check compares a piece of the body with what the instance sent.
func (s *stream) check(piece, body []byte) error {
	if s.got+len(piece) > len(body) {
		return errors.New("an answer that is too long")
	}
	want := body[s.got : s.got+len(piece)]
	if s.got == 0 && len(piece) >= digits {
		var d [digits]byte
		number(d[:], s.number)
		if !bytes.Equal(piece[:digits], d[:]) {
			return errors.New("the answer to another request")
		}
		piece, want = piece[digits:], want[digits:]
		s.got += digits
	}
	if !bytes.Equal(piece, want) {
		return errors.New("an answer with other content")
	}
	s.got += len(piece)
	return nil
}
