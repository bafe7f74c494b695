package router

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"weir/router/wire"
)

// Who sends or takes less than this in a second, on average over
// Config.SlowTimeout, is there to keep us busy, and cut off.
const (
	slowBodyRate = 240  // bytes of a request
	slowReadRate = 1024 // bytes of an answer
)

// upload is a request's body on its way to an instance while the answer may
// already be coming back.
type upload struct {
	x    *exchange
	u    *upConn
	done chan struct{}
	last atomic.Bool // the last of it is being sent
	// What follows may be read after done was closed.
	complete bool // all of it was sent
}

// startUpload begins to send the body to u.
func (x *exchange) startUpload(u *upConn) {
	p := &upload{x: x, u: u, done: make(chan struct{})}
	x.upload = p
	x.touched.Store(true)
	go p.run()
}

// chunkRoom is the room kept before a piece for the size of its chunk.
const chunkRoom = 16

func (p *upload) run() {
	defer close(p.done)
	x, w := p.x, p.x.watch
	buf := takeBuffer(relayBuffer)
	defer buf.free()
	defer w.up.enter(phaseNone, 0)
	left := x.req.Length
	for left != 0 {
		room := buf.b[chunkRoom : len(buf.b)-2]
		if left > 0 {
			room = room[:min(int64(len(room)), left)]
		}
		w.up.enter(phaseUpRead, x.r.now())
		n, err := x.source.Read(room)
		if got := w.got.Add(int64(n)); x.maxBody > 0 && got > x.maxBody {
			n, err = 0, errBodyTooLarge
		}
		if err == io.EOF || left == int64(n) {
			p.last.Store(true)
		}
		if n > 0 {
			if w.up.enter(phaseUpWrite, x.r.now()); !p.send(buf, n) {
				return
			}
			w.down.again(phaseHead, x.r.now()) // the instance has its time from now
		}
		if left > 0 {
			left -= int64(n)
		}
		switch {
		case err == nil, err == io.EOF && left == 0:
		case errors.Is(err, io.EOF) && left < 0:
			left = 0
		default:
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			w.cancel(bodyFault(err))
			return
		}
	}
	if x.req.Length < 0 {
		if _, err := p.u.Write(wire.AppendLastChunk(buf.b[:0], x.source.trailers())); err != nil {
			return
		}
	}
	p.complete = true
}

// send writes the n bytes behind the room of buf.
func (p *upload) send(buf *buffer, n int) bool {
	b := buf.b[chunkRoom : chunkRoom+n]
	if p.x.req.Length < 0 {
		var size [chunkRoom]byte
		head := wire.AppendChunkHead(size[:0], n)
		b = buf.b[chunkRoom-len(head) : chunkRoom+n+2]
		copy(b, head)
		copy(b[len(b)-2:], "\r\n")
	}
	_, err := p.u.Write(b)
	return err == nil
}

// endUpload ends an upload that is still under way.
func (x *exchange) endUpload() {
	p := x.upload
	if p == nil {
		return
	}
	select {
	case <-p.done:
	default:
		x.front.unblock(true, false)
		_ = p.u.c.SetWriteDeadline(past)
		<-p.done
	}
	x.rec.requestBytes = x.watch.got.Load()
}

// lastMoment is what the last of a body gets to be sent when the answer is
// here already, which may be because the instance has it.
const lastMoment = 20 * time.Millisecond

// isComplete reports whether the whole body was sent.
func (p *upload) isComplete() bool {
	if p == nil {
		return true
	}
	if p.last.Load() {
		timer := time.NewTimer(lastMoment)
		defer timer.Stop()
		select {
		case <-p.done:
		case <-timer.C:
		}
	}
	select {
	case <-p.done:
		return p.complete
	default:
		return false
	}
}
