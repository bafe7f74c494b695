package router

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"

	"weir/router/wire"
)

// relay passes the answer of the instance on, whose head is in res.
func (x *exchange) relay() {
	x.answered()
	x.rec.answered = true
	x.rec.status = x.res.Status
	if x.res.Marked {
		x.mark()
	}
	if x.res.Status == 101 {
		x.tunnel()
		return
	}
	a := &x.reply
	*a = reply{res: &x.res, length: x.res.Length, lines: a.lines[:0]}
	a.bodiless = x.res.Bodiless(x.rec.method == "HEAD")
	a.lines = x.answerLines(a.lines)
	a.close = !x.upload.isComplete() || x.source != nil && x.upload == nil
	if x.other != nil {
		x.relayOther()
		return
	}
	u := x.up
	u.keepAlive(x.res.KeepAlive, x.r.cfg.BackendIdleTimeout)
	reusable := !x.res.Close && !a.close
	// That the answer came late is not held against who takes it now.
	x.watch.down.enter(phaseWrite, x.made.headAt)
	_, _, begun := x.watch.down.load()
	if err := x.front.begin(a); err != nil {
		x.broken(errClient{err})
		return
	}
	var err error
	var trailers []byte
	switch {
	case a.bodiless:
	case x.res.Chunked:
		trailers, err = x.relayChunks(u)
	case x.res.Length >= 0: // not the reply's: a front that compresses sends another
		err = x.relayLength(u, x.res.Length)
	default:
		reusable = false
		err = x.relayToEnd(u)
	}
	if err != nil {
		x.broken(err)
		return
	}
	// Bytes behind the answer are nobody's: they must not be taken for the
	// next one.
	keep := reusable && u.from == u.to && x.watch.cause.Load() == 0
	x.dropUp(keep)
	if _, _, v := x.watch.down.load(); v != begun { // not all of it came with the head
		x.watch.down.enter(phaseWrite, x.r.now())
	}
	if err := x.front.end(trailers); err != nil {
		x.broken(errClient{err})
	}
}

// answerLines appends what the router adds to an instance's answer.
func (x *exchange) answerLines(b []byte) []byte {
	if x.ask.sticky != "" || x.res.Cookies {
		b = appendPin(b, &x.res, x.b.guid, x.ask.sticky, x.from.proto)
	}
	b = appendLine(b, "X-Vcap-Request-Id", x.rec.requestID)
	if x.r.altSvc != "" && x.asked.secure && x.asked.proto != "HTTP/3.0" {
		b = appendLine(b, "Alt-Svc", x.r.altSvc)
	}
	if x.rt.rules == nil {
		return b
	}
	b = x.appendAnswerLines(b, func(name string) bool { return x.res.Get(strings.ToLower(name)) != nil })
	if x.rt.compresses() {
		b = appendVary(b, &x.res)
		if takesGzip(&x.req) {
			x.front = &gzipFront{front: x.front}
		}
	}
	if x.rt.rules.shadows != nil {
		x.front = x.mirrored()
	}
	return b
}

// errClient marks errors of writing to the client.
type errClient struct{ error }

// write passes a piece of the body on.
func (x *exchange) write(p []byte) error {
	if err := x.front.write(p); err != nil {
		return errClient{err}
	}
	x.rec.responseBytes += int64(len(p))
	return nil
}

// more waits for more of the body, once the client has all there is.
func (x *exchange) more(u *upConn) error {
	if err := x.front.flush(); err != nil {
		return errClient{err}
	}
	if x.watch.down.enter(phaseBody, x.r.now()) == phaseExpired || x.watch.cause.Load() != 0 {
		return os.ErrDeadlineExceeded
	}
	if u.from == u.to && u.buf != nil {
		u.from, u.to = 0, 0
	}
	if !u.grow() {
		return io.ErrShortBuffer // not possible: everything was taken
	}
	if err := u.fill(); err != nil {
		return err
	}
	if x.watch.down.enter(phaseWrite, x.r.now()) == phaseExpired {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// roomy makes the next reads of a large body large.
func (u *upConn) roomy() {
	if u.from == u.to && (u.buf == nil || len(u.buf.b) < relayBuffer) {
		u.drop()
		u.buf = takeBuffer(relayBuffer)
	}
}

// relayLength passes on exactly n bytes.
func (x *exchange) relayLength(u *upConn, n int64) error {
	for n > 0 {
		b := u.bytes()
		if len(b) == 0 {
			if n >= spliceFrom && u.tcp != nil {
				if s, ok := x.front.(splicer); ok {
					return x.splice(s, u, n)
				}
			}
			if n > headBuffer {
				u.roomy()
			}
			if err := x.more(u); err != nil {
				return err
			}
			continue
		}
		b = b[:min(int64(len(b)), n)]
		if err := x.write(b); err != nil {
			return err
		}
		u.take(len(b))
		n -= int64(len(b))
	}
	return nil
}

// spliceFrom is from how many bytes on the kernel moves a body by itself;
// spliceAtOnce how many it is told to move at a time; takesMuch after how many
// a client is believed to read.
const (
	spliceFrom   = 64 << 10
	spliceAtOnce = 4 << 20
	takesMuch    = 512 << 10
)

// splicer is a front whose connection takes bytes from another one without
// their passing through here. It returns nil, false if it cannot.
type splicer interface {
	splice(from tcpConn, n int64) (moved int64, ok bool, err error)
}

// splice lets the kernel move n bytes.
func (x *exchange) splice(s splicer, u *upConn, n int64) error {
	u.drop()
	if err := x.front.flush(); err != nil {
		return errClient{err}
	}
	for n > 0 {
		if x.watch.down.enter(phaseSplice, x.r.now()) == phaseExpired {
			return os.ErrDeadlineExceeded
		}
		k, ok, err := s.splice(u.tcp, min(n, spliceAtOnce))
		if !ok {
			break
		}
		x.rec.responseBytes += k
		n -= k
		switch {
		case err != nil && x.isClients(err):
			return errClient{err}
		case err != nil:
			return err
		case k == 0:
			return io.ErrUnexpectedEOF
		}
	}
	for n > 0 { // not a connection that can
		u.roomy()
		if err := x.more(u); err != nil {
			return err
		}
		b := u.bytes()
		b = b[:min(int64(len(b)), n)]
		if err := x.write(b); err != nil {
			return err
		}
		u.take(len(b))
		n -= int64(len(b))
	}
	return nil
}

// isClients reports whether the client is to blame for an error of splice,
// which does not say on which side it happened.
func (x *exchange) isClients(err error) bool {
	return errors.Is(err, syscall.EPIPE) || !errors.Is(err, os.ErrDeadlineExceeded) && x.front.client().gone
}

// relayChunks passes on a chunked body: the front frames it anew.
func (x *exchange) relayChunks(u *upConn) (trailers []byte, err error) {
	var chunks wire.Chunks
	for {
		for b := u.bytes(); len(b) > 0 && !chunks.Done(); b = u.bytes() {
			data, n, ok := chunks.Next(b)
			if !ok {
				return nil, errBadAnswer
			}
			if len(data) > 0 {
				if err := x.write(data); err != nil {
					return nil, err
				}
			}
			u.take(n)
		}
		if chunks.Done() {
			return chunks.AppendTrailers(nil), nil
		}
		if x.rec.responseBytes > headBuffer {
			u.roomy()
		}
		if err := x.more(u); err != nil {
			return nil, err
		}
	}
}

// relayToEnd passes on a body that ends with the connection.
func (x *exchange) relayToEnd(u *upConn) error {
	for {
		if b := u.bytes(); len(b) > 0 {
			if err := x.write(b); err != nil {
				return err
			}
			u.take(len(b))
		}
		if x.rec.responseBytes > headBuffer {
			u.roomy()
		}
		switch err := x.more(u); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// broken ends an answer that cannot be completed. It never looks complete.
func (x *exchange) broken(err error) {
	var client errClient
	switch {
	case x.watch.cause.Load() != 0:
		x.why = reason(x.watch.cause.Load())
	case errors.As(err, &client):
		x.why = reasonClientGone
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.why = reasonTimeout
		if p, _, _ := x.watch.down.load(); p == phaseExpired && x.stalledClient() {
			x.why = reasonClientGone
		}
	default:
		x.why = reasonTruncated
		x.b.failures.Add(1)
	}
	x.dropUp(false)
	x.front.abort()
}

// stalledClient reports whether the sweeper ended a wait for the client.
func (x *exchange) stalledClient() bool {
	p := phase(x.watch.down.v.Load() >> 8 & phaseMask)
	return p == phaseWrite || p == phaseSplice && x.front.client().behind
}

// fail answers for the router.
func (x *exchange) fail(why reason) {
	x.why = why
	x.rec.status = reasons[why].status
	x.dropUp(false)
	if why == reasonClientGone {
		x.front.abort()
		return
	}
	body := x.ownAnswer(why)
	x.watch.down.enter(phaseWrite, x.r.now())
	err := x.front.begin(&x.reply)
	if err == nil && !x.reply.bodiless {
		if err = x.front.write([]byte(body)); err == nil {
			x.rec.responseBytes = int64(len(body))
		}
	}
	if err == nil {
		err = x.front.end(nil)
	}
	if err != nil {
		x.front.abort()
	}
}

// ownAnswer makes the head of the router's own answer and returns its body.
func (x *exchange) ownAnswer(why reason) (body string) {
	status, body, contentType := x.errorPage(why, view(x.req.First(wire.Accept)))
	line := append(x.line[:0], "HTTP/1.1 "...)
	line = wire.AppendUint(line, uint64(status))
	line = append(line, ' ')
	line = append(line, statusText(status)...)
	line = append(line, "\r\n\r\n"...)
	wire.ParseResponse(line, &x.res)
	lines := x.reply.lines[:0]
	if contentType != "" {
		lines = appendLine(lines, "Content-Type", contentType)
	}
	lines = append(lines, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"...)
	if code := reasons[why].code; code != "" {
		lines = appendLine(lines, "X-Cf-Routererror", code)
	}
	lines = appendLine(lines, "X-Vcap-Request-Id", x.rec.requestID)
	lines = x.appendErrorLines(lines, why)
	x.reply = reply{
		res: &x.res, lines: lines, length: int64(len(body)),
		bodiless: x.rec.method == "HEAD", own: true, close: why.closes(),
	}
	return body
}
