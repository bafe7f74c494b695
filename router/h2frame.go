package router

import (
	"encoding/binary"
	"fmt"
)

// The frames of HTTP/2, RFC 9113 section 6.
const (
	h2Data         = 0x0
	h2Headers      = 0x1
	h2Priority     = 0x2
	h2Reset        = 0x3
	h2Settings     = 0x4
	h2PushPromise  = 0x5
	h2Ping         = 0x6
	h2GoAway       = 0x7
	h2Window       = 0x8
	h2Continuation = 0x9

	h2FrameHead = 9
)

// Their flags.
const (
	h2Ack        = 0x1 // of SETTINGS and PING
	h2EndStream  = 0x1
	h2EndHeaders = 0x4
	h2Padded     = 0x8
	h2HasWeight  = 0x20
)

// Settings, RFC 9113 section 6.5.2.
const (
	h2TableSize      = 0x1
	h2EnablePush     = 0x2
	h2MaxStreams     = 0x3
	h2InitialWindow  = 0x4
	h2MaxFrame       = 0x5
	h2MaxHeaderList  = 0x6
	h2DefaultWindow  = 65535
	h2DefaultFrame   = 16 << 10
	h2LargestWindow  = 1<<31 - 1
	h2LargestFrame   = 1<<24 - 1
	h2SettingBytes   = 6
	h2PriorityBytes  = 5
	h2LastStreamEver = 1<<31 - 1
)

// h2Code says why a stream or a connection ends, RFC 9113 section 7.
type h2Code uint32

// The codes that are used here.
const (
	h2NoError          h2Code = 0x0
	h2ProtocolError    h2Code = 0x1
	h2InternalError    h2Code = 0x2
	h2FlowControlError h2Code = 0x3
	h2StreamClosed     h2Code = 0x5
	h2FrameSizeError   h2Code = 0x6
	h2RefusedStream    h2Code = 0x7
	h2Cancel           h2Code = 0x8
	h2CompressionError h2Code = 0x9
	h2EnhanceYourCalm  h2Code = 0xb
)

// h2Error ends a connection.
type h2Error struct {
	code h2Code
	why  string
}

// Error implements error.
func (e h2Error) Error() string { return fmt.Sprintf("HTTP/2 error %d: %s", e.code, e.why) }

// h2frame is a frame that was read. Its payload is valid until the next one is
// read.
type h2frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f *h2frame) has(flag byte) bool { return f.flags&flag != 0 }

// unpad returns the payload without padding.
func (f *h2frame) unpad() ([]byte, error) {
	p := f.payload
	if !f.has(h2Padded) {
		return p, nil
	}
	if len(p) == 0 || int(p[0]) >= len(p) {
		return nil, h2Error{h2ProtocolError, "padding that is longer than its frame"}
	}
	return p[1 : len(p)-int(p[0])], nil
}

// appendFrameHead appends the head of a frame with n bytes of payload.
func appendFrameHead(b []byte, n int, kind, flags byte, stream uint32) []byte {
	b = append(b, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendReset(b []byte, stream uint32, code h2Code) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHead(b, 4, h2Reset, 0, stream), uint32(code))
}

func appendWindow(b []byte, stream uint32, n int64) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHead(b, 4, h2Window, 0, stream), uint32(n))
}

func appendGoAway(b []byte, last uint32, code h2Code) []byte {
	b = appendFrameHead(b, 8, h2GoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendSetting(b []byte, id uint16, v uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, id), v)
}

// appendHeaders appends a header block as HEADERS and, if it is longer than a
// frame may be, CONTINUATION. The room for the first frame's head is already
// there, at at, with the block behind it.
func appendHeaders(b []byte, at int, flags byte, stream uint32, largest int) []byte {
	block := len(b) - at - h2FrameHead
	if block <= largest {
		appendFrameHead(b[:at], block, h2Headers, flags|h2EndHeaders, stream)
		return b
	}
	rest := append([]byte(nil), b[at+h2FrameHead+largest:]...)
	b = b[:at+h2FrameHead+largest]
	appendFrameHead(b[:at], largest, h2Headers, flags, stream)
	for len(rest) > 0 {
		n := min(len(rest), largest)
		last := byte(0)
		if n == len(rest) {
			last = h2EndHeaders
		}
		b = append(appendFrameHead(b, n, h2Continuation, last, stream), rest[:n]...)
		rest = rest[n:]
	}
	return b
}
