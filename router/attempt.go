package router

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"weir/router/wire"
)

// again judges a failed attempt and reports whether there is another one.
func (x *exchange) again(o outcome, err error) bool {
	x.dropUp(false)
	x.r.cfg.Logger.Debug("attempt failed", "instance", x.b.guid, "reason", o.why.String(), "err", err)
	q := request{
		idempotent: x.isIdempotent(),
		replayable: x.source == nil || !x.touched.Load(),
	}
	if o.why == reasonUnreachable && x.b.dialFailures.Load() == 0 {
		x.r.cfg.Logger.Warn("instance could not be reached", "app", x.dest.src.AppGUID, "instance", x.b.guid, "err", err)
	}
	return x.lost(o, q)
}

func (x *exchange) isIdempotent() bool {
	return isIdempotent(x.rec.method, x.req.First(wire.IdempotencyKey) != nil)
}

// send makes one attempt and returns once the head of the answer is here.
func (x *exchange) send() (outcome, error) {
	if x.dest.http2 && x.asked.upgrade == "" {
		return x.sendHTTP2()
	}
	var u *upConn
	if x.attempts == 1 {
		u = x.b.up.take(x.lastSent, x.isIdempotent())
	}
	if u == nil {
		var err error
		if u, err = x.b.dial(context.Background(), &x.r.cfg); err != nil {
			var dial *dialError
			return outcome{why: reasonUnreachable, local: errors.As(err, &dial) && dial.isLocal()}, err
		}
	}
	x.up = u
	w := x.watch
	w.use(u)
	w.down.enter(phaseHead, x.lastSent)
	if why := reason(w.cause.Load()); why != reasonNone {
		return outcome{why: why}, nil
	}
	x.out = x.appendRequest(x.out[:0])
	late := x.whole
	if len(late) <= cap(x.out)-len(x.out) || len(late) < 4096 {
		x.out, late = append(x.out, late...), nil
	}
	var err error
	unsent := x.out
	if len(late) == 0 && x.source == nil && u.isHot(x.lastSent) {
		if unsent, err = u.ask(unsent); err != nil && len(unsent) == 0 {
			return x.lostRead(u, err), err
		}
	}
	if err == nil && len(unsent) > 0 {
		_, err = u.Write(unsent)
	}
	if err == nil && len(late) > 0 {
		_, err = u.Write(late)
	}
	if err != nil {
		return x.lostWrite(u, err)
	}
	if x.source != nil && !x.asked.expect {
		x.startUpload(u)
	}
	return x.readHead(u)
}

// lostWrite judges an attempt whose request could not be written. An instance
// that refuses to read may have answered all the same.
func (x *exchange) lostWrite(u *upConn, err error) (outcome, error) {
	if u.sent.Load() > 0 && !u.reuse {
		if o, _ := x.readHead(u); o.why == reasonNone {
			return o, nil
		}
	}
	return u.closedEarly(), err
}

// closedEarly is what became of an attempt that u ended before the head of the
// answer was here.
func (u *upConn) closedEarly() outcome {
	answered := len(u.bytes()) > 0
	return outcome{why: reasonClosed, sent: u.sent.Load() > 0, answered: answered, stale: u.reuse && !answered}
}

// readHead reads the head of the answer.
func (x *exchange) readHead(u *upConn) (outcome, error) {
	if x.asked.expect && x.source != nil {
		_ = u.c.SetReadDeadline(time.Now().Add(expectWait))
	}
	for interim := 0; ; {
		if b := u.bytes(); len(b) > 0 {
			n, v := wire.ParseResponse(b, &x.res)
			switch {
			case v.Refused():
				return outcome{why: reasonBadResponse, sent: true, answered: true}, errBadAnswer
			case v == wire.Incomplete:
			case x.res.Status >= 200, x.res.Status == 101:
				u.take(n)
				if !x.fits(u) {
					return outcome{why: reasonBadResponse, sent: true, answered: true}, errBadAnswer
				}
				return outcome{}, nil
			default:
				if interim++; interim > maxInterim {
					return outcome{why: reasonBadResponse, sent: true, answered: true}, errBadAnswer
				}
				if err := x.interim(u); err != nil {
					return outcome{why: reasonClientGone, sent: true, answered: true}, err
				}
				u.take(n)
				continue
			}
		}
		if !u.grow() {
			return outcome{why: reasonBadResponse, sent: true, answered: true}, errBadAnswer
		}
		if err := u.fill(); err != nil {
			if x.waitedForContinue(u, err) {
				continue
			}
			return x.lostRead(u, err), err
		}
	}
}

const (
	maxInterim = 8
	// expectWait is how long an instance may take to ask for the body.
	expectWait = time.Second
)

var errBadAnswer = errors.New("router: the answer is not valid HTTP")

// fits reports whether the answer may stand where it is.
func (x *exchange) fits(u *upConn) bool {
	switch x.res.Status {
	case 101:
		return x.asked.upgrade != "" && bytes.EqualFold(x.res.Get("upgrade"), []byte(x.asked.upgrade))
	case 205:
		return x.res.Length <= 0
	}
	return true
}

// interim takes an interim answer: 103 is passed on, 100 lets the body go.
func (x *exchange) interim(u *upConn) error {
	switch x.res.Status {
	case 100:
		x.letBodyGo(u)
	case 103:
		x.watch.down.enter(phaseWrite, x.r.now())
		err := x.front.interim(&x.res)
		x.watch.down.enter(phaseHead, x.r.now())
		return err
	}
	return nil
}

// waitedForContinue reports whether err only ends the wait for a 100.
func (x *exchange) waitedForContinue(u *upConn, err error) bool {
	p, _, _ := x.watch.down.load()
	if !x.asked.expect || x.upload != nil || x.source == nil || p == phaseExpired || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	x.letBodyGo(u)
	return true
}

// letBodyGo starts the upload of a body that waited for a 100.
func (x *exchange) letBodyGo(u *upConn) {
	if x.asked.expect && x.upload == nil && x.source != nil {
		_ = u.c.SetReadDeadline(time.Time{})
		x.startUpload(u)
	}
}

// lostRead judges an attempt whose answer did not come.
func (x *exchange) lostRead(u *upConn, err error) outcome {
	if why := reason(x.watch.cause.Load()); why != reasonNone {
		return outcome{why: why, sent: true}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return outcome{why: reasonTimeout, sent: true}
	}
	o := u.closedEarly()
	if o.answered {
		o.why = reasonBadResponse
	}
	return o
}

// dropUp ends the use of the connection to the instance. It is kept if it can
// carry another request.
func (x *exchange) dropUp(keep bool) {
	x.dropOther()
	u := x.up
	if u == nil {
		return
	}
	x.up = nil
	if x.upload != nil {
		x.rec.requestBytes = x.watch.got.Load()
	}
	if x.watch.letGo() && keep {
		x.b.up.put(u, x.r.now())
		return
	}
	x.endUpload()
	u.discard()
}

// appendRequest appends the head that is sent to the instance.
func (x *exchange) appendRequest(b []byte) []byte {
	b = x.req.AppendLine(b, x.strip())
	b = x.req.AppendKept(b)
	b = x.from.appendLines(b, x.rec.requestID, x.rec.start.UnixMilli())
	b = appendLine(b, "X-Cf-Applicationid", x.dest.src.AppGUID)
	b = appendLine(b, "X-Cf-Instanceid", x.b.guid)
	b = append(b, "X-Cf-Instanceindex: "...)
	b = strconv.AppendInt(b, int64(x.b.index), 10)
	b = append(b, '\r', '\n')
	b = x.appendRequestLines(b)
	if x.req.Trailers {
		b = append(b, "Te: trailers\r\n"...)
	}
	if x.asked.upgrade != "" {
		b = appendLine(b, "Connection: Upgrade\r\nUpgrade", x.asked.upgrade)
	}
	switch {
	case x.source == nil && (len(x.whole) > 0 || x.req.Count(wire.ContentLength) > 0 || x.req.Chunked):
		b = append(b, "Content-Length: "...)
		b = wire.AppendUint(b, uint64(len(x.whole)))
		b = append(b, '\r', '\n')
	case x.source == nil:
	case x.req.Length >= 0:
		b = append(b, "Content-Length: "...)
		b = wire.AppendUint(b, uint64(x.req.Length))
		b = append(b, '\r', '\n')
	default:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if x.asked.expect && x.source != nil {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	return append(b, '\r', '\n')
}
