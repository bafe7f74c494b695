package router

import "encoding/binary"

// takeHeaders begins a header block: a request, or the trailers of one.
func (c *conn2) takeHeaders(f *h2frame) error {
	if f.stream%2 == 0 {
		return h2Error{h2ProtocolError, "HEADERS of a stream a client cannot open"}
	}
	block, err := f.unpad()
	if err != nil {
		return err
	}
	h := &c.head
	h.begin(f.stream, f.has(h2EndStream))
	if f.has(h2HasWeight) {
		if len(block) < h2PriorityBytes {
			return h2Error{h2FrameSizeError, "HEADERS without their priority"}
		}
		h.bad = binary.BigEndian.Uint32(block)&h2LastStreamEver == f.stream
		block = block[h2PriorityBytes:]
	}
	c.mu.Lock()
	s, last := c.streams[f.stream], c.lastStream
	switch {
	case s != nil && s.reset:
		h.ignored = true
	case s != nil && s.ended:
		c.mu.Unlock()
		return h2Error{h2StreamClosed, "HEADERS behind the end of a stream"}
	case s != nil:
		h.of = s
		h.bad = h.bad || !h.end // trailers come last
	case f.stream > last:
		if h.ignored = c.left; !c.left { // or it can be sent again elsewhere
			c.lastStream = f.stream
		}
	case c.wasResetLocked(f.stream):
		h.ignored = true
	default:
		c.mu.Unlock()
		return h2Error{h2StreamClosed, "HEADERS of a stream that is closed"}
	}
	c.mu.Unlock()
	return c.takeBlock(block, f.has(h2EndHeaders))
}

// takeBlock takes a piece of a header block.
func (c *conn2) takeBlock(p []byte, last bool) error {
	h := &c.head
	h.frames++
	if h.bytes += len(p); h.bytes > maxBlockBytes || h.frames > maxBlockFrames {
		return h2Error{h2EnhanceYourCalm, "a header block without end"}
	}
	if _, err := c.dec.Write(p); err != nil {
		return h2Error{h2CompressionError, err.Error()}
	}
	if !last {
		return nil
	}
	if err := c.dec.Close(); err != nil {
		return h2Error{h2CompressionError, err.Error()}
	}
	id := h.stream
	h.stream = 0
	switch {
	case h.ignored:
		c.mu.Lock()
		c.restLocked()
		c.mu.Unlock()
		return nil
	case h.of != nil:
		return c.takeTrailers(id)
	}
	return c.takeRequest(id)
}

// takeTrailers ends the body of a request.
func (c *conn2) takeTrailers(id uint32) error {
	h := &c.head
	c.mu.Lock()
	s := h.of
	h.of = nil
	c.restLocked()
	if h.bad || h.large || !s.endLocked() {
		c.mu.Unlock()
		return c.reject(id, h2ProtocolError)
	}
	s.trail = append([]byte(nil), h.lines...)
	c.mu.Unlock()
	return nil
}

// takeRequest starts what a header block asks for.
func (c *conn2) takeRequest(id uint32) error {
	h := &c.head
	c.mu.Lock()
	full := c.active >= h2Streams
	c.mu.Unlock()
	code := h2NoError
	switch {
	case full:
		code = h2RefusedStream // goroutines of streams it reset count too
	case !h.large && !h.judge():
		code = h2ProtocolError
	}
	if code != h2NoError {
		c.mu.Lock()
		c.restLocked()
		c.mu.Unlock()
		return c.reject(id, code)
	}
	s := newStream2(c, id)
	switch {
	case h.large:
		s.why = reasonHeadTooLarge
	case h.method == "CONNECT":
		s.why = reasonMethod
	default:
		var ok bool
		if s.x.head, ok = h.appendHTTP1(s.x.head[:0]); !ok {
			s.why = reasonBadRequest
		}
	}
	s.ended, s.expect, s.length = h.end, h.expect && !h.end, h.length
	c.mu.Lock()
	s.window = c.peerWindow
	c.streams[id] = s
	c.active++
	c.restLocked()
	c.mu.Unlock()
	c.handlers.Add(1)
	c.r.workers.do(s)
	return nil
}

// takeData takes a piece of a body.
func (c *conn2) takeData(f *h2frame) error {
	if f.stream == 0 {
		return h2Error{h2ProtocolError, "DATA of no stream"}
	}
	data, err := f.unpad()
	if err != nil {
		return err
	}
	n := int64(len(f.payload))
	c.mu.Lock()
	if f.stream > c.lastStream {
		left := c.left
		c.mu.Unlock()
		if left {
			return nil // of a request that is not served here
		}
		return h2Error{h2ProtocolError, "DATA of a stream that was never opened"}
	}
	if c.recvLeft -= n; c.recvLeft < 0 {
		c.mu.Unlock()
		return h2Error{h2FlowControlError, "more DATA than is allowed"}
	}
	s := c.streams[f.stream]
	if s == nil || s.reset {
		c.returnLocked(n)
		known := s != nil || c.wasResetLocked(f.stream)
		c.mu.Unlock()
		if known {
			return nil
		}
		return c.reject(f.stream, h2StreamClosed)
	}
	code := s.dataLocked(data, n)
	if code == h2NoError && f.has(h2EndStream) && !s.endLocked() {
		code = h2ProtocolError
	}
	c.mu.Unlock()
	if code != h2NoError {
		return c.reject(f.stream, code)
	}
	return nil
}

// returnLocked lets the client send n bytes more on the connection, once it
// is worth a frame.
func (c *conn2) returnLocked(n int64) {
	if c.recvTaken += n; c.recvTaken >= h2ConnRoom/4 {
		c.out = appendWindow(c.out, 0, c.recvTaken)
		c.recvLeft += c.recvTaken
		c.recvTaken = 0
	}
}

func (c *conn2) takePriority(f *h2frame) error {
	switch {
	case f.stream == 0:
		return h2Error{h2ProtocolError, "PRIORITY of no stream"}
	case len(f.payload) != h2PriorityBytes:
		return c.reject(f.stream, h2FrameSizeError)
	case binary.BigEndian.Uint32(f.payload)&h2LastStreamEver == f.stream:
		return c.reject(f.stream, h2ProtocolError)
	}
	return nil
}

func (c *conn2) takeReset(f *h2frame) error {
	c.mu.Lock()
	s, last := c.streams[f.stream], c.lastStream
	if s != nil {
		s.resetLocked()
	}
	left := c.left
	c.mu.Unlock()
	switch {
	case len(f.payload) != 4:
		return h2Error{h2FrameSizeError, "RST_STREAM that is not 4 bytes"}
	case f.stream == 0, f.stream > last && !left:
		return h2Error{h2ProtocolError, "RST_STREAM of a stream that was never opened"}
	case s != nil:
		s.watch.cancel(reasonClientGone)
	}
	return nil
}

func (c *conn2) takePing(f *h2frame) error {
	switch {
	case f.stream != 0:
		return h2Error{h2ProtocolError, "PING of a stream"}
	case len(f.payload) != 8:
		return h2Error{h2FrameSizeError, "PING that is not 8 bytes"}
	case !f.has(h2Ack):
		c.mu.Lock()
		c.out = append(appendFrameHead(c.out, 8, h2Ping, h2Ack, 0), f.payload...)
		c.mu.Unlock()
	}
	return nil
}

// takeSettings takes what the client can do.
func (c *conn2) takeSettings(f *h2frame) error {
	switch {
	case f.stream != 0:
		return h2Error{h2ProtocolError, "SETTINGS of a stream"}
	case f.has(h2Ack) && len(f.payload) != 0, len(f.payload)%h2SettingBytes != 0:
		return h2Error{h2FrameSizeError, "SETTINGS of a strange length"}
	case f.has(h2Ack) && !c.greeted:
		return h2Error{h2ProtocolError, "the first frame is not SETTINGS"}
	case f.has(h2Ack):
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.greeted {
		c.greeted = true
		c.restLocked()
	}
	for p := f.payload; len(p) > 0; p = p[h2SettingBytes:] {
		if err := c.setLocked(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	c.out = appendFrameHead(c.out, 0, h2Settings, h2Ack, 0)
	return nil
}

func (c *conn2) setLocked(id uint16, v uint32) error {
	switch id {
	case h2TableSize:
		if v < c.peerTable {
			c.shrunk.Store(true)
		}
		c.peerTable = v
	case h2EnablePush:
		if v > 1 {
			return h2Error{h2ProtocolError, "ENABLE_PUSH that is no boolean"}
		}
	case h2MaxFrame:
		if v < h2DefaultFrame || v > h2LargestFrame {
			return h2Error{h2ProtocolError, "MAX_FRAME_SIZE out of range"}
		}
		c.peerFrame = int(min(v, 64<<10))
	case h2InitialWindow:
		if v > h2LargestWindow {
			return h2Error{h2FlowControlError, "INITIAL_WINDOW_SIZE out of range"}
		}
		change := int64(v) - c.peerWindow
		c.peerWindow = int64(v)
		for _, s := range c.streams {
			if s.window += change; s.window > h2LargestWindow {
				return h2Error{h2FlowControlError, "a window that is too large"}
			}
			s.wake.Broadcast()
		}
	}
	return nil
}

// takeWindow lets more of an answer go.
func (c *conn2) takeWindow(f *h2frame) error {
	if len(f.payload) != 4 {
		return h2Error{h2FrameSizeError, "WINDOW_UPDATE that is not 4 bytes"}
	}
	n := int64(binary.BigEndian.Uint32(f.payload) & h2LastStreamEver)
	if f.stream == 0 {
		return c.takeConnWindow(n)
	}
	c.mu.Lock()
	s, code := c.streams[f.stream], h2NoError
	unknown := f.stream > c.lastStream && !c.left
	switch {
	case s == nil:
	case n == 0:
		code = h2ProtocolError
	default:
		if s.window += n; s.window > h2LargestWindow {
			code = h2FlowControlError
		}
		s.wake.Broadcast()
	}
	c.mu.Unlock()
	switch {
	case unknown:
		return h2Error{h2ProtocolError, "WINDOW_UPDATE of a stream that was never opened"}
	case code != h2NoError:
		return c.reject(f.stream, code)
	}
	return nil
}

func (c *conn2) takeConnWindow(n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 0 {
		return h2Error{h2ProtocolError, "WINDOW_UPDATE of nothing"}
	}
	if c.window += n; c.window > h2LargestWindow {
		return h2Error{h2FlowControlError, "a window that is too large"}
	}
	for _, s := range c.streams {
		if s.waits {
			s.wake.Broadcast()
		}
	}
	return nil
}
