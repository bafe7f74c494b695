package router

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// relay passes an instance's answer on.
func (x *exchange) relay(res *http.Response) {
	t := &x.trip
	x.headArrived()
	if res.StatusCode == http.StatusSwitchingProtocols {
		if x.hop.upgrade == "" || !strings.EqualFold(res.Header.Get("Upgrade"), x.hop.upgrade) {
			_ = res.Body.Close()
			t.lost(outcome{why: reasonBadResponse, sent: true, answered: true}, request{})
			x.fail(reasonBadResponse)
			return
		}
		x.answeredWith(res)
		x.tunnel(res)
		return
	}
	defer res.Body.Close()
	x.answeredWith(res)
	announced := len(res.Trailer)
	x.writeHead(res)
	if err := x.copyBody(res); err != nil {
		x.broken(err)
		return
	}
	prefix := ""
	if len(res.Trailer) != announced {
		prefix = http.TrailerPrefix // some came without being announced
	}
	for name, values := range res.Trailer {
		x.w.Header()[prefix+name] = values
	}
}

func (x *exchange) answeredWith(res *http.Response) {
	x.trip.answered()
	x.trip.rec.Answered = true
	x.trip.rec.Status = res.StatusCode
}

// writeHead hands the response head to the server.
func (x *exchange) writeHead(res *http.Response) {
	t := &x.trip
	h := x.w.Header()
	stripResponse(res.Header)
	for name, values := range res.Header {
		h[name] = values
	}
	if _, has := h["Content-Type"]; !has {
		h["Content-Type"] = nil // or the server would guess one
	}
	if t.ask.sticky != "" || h["Set-Cookie"] != nil {
		pin(h, t.b.guid, t.ask.sticky, x.from.proto)
	}
	h["X-Vcap-Request-Id"] = []string{t.rec.RequestID}
	if t.r.altSvc != "" && x.conn != nil && x.conn.secure {
		h["Alt-Svc"] = []string{t.r.altSvc}
	}
	if lines := t.appendAnswerLines(nil, func(name string) bool { return h.Get(name) != "" }); lines != nil {
		setLines(h, lines)
	}
	if t.r.draining.Load() {
		h["Connection"] = []string{"close"}
	}
	if len(res.Trailer) > 0 {
		names := make([]string, 0, len(res.Trailer))
		for name := range res.Trailer {
			names = append(names, name)
		}
		h["Trailer"] = []string{strings.Join(names, ", ")}
		if x.req.ProtoMajor == 1 {
			// HTTP/1.1 has trailers only in chunks.
			delete(h, "Content-Length")
			res.ContentLength = -1
		}
	}
	if t.rt.compresses() && takesGzip(x.req) {
		x.w = &gzipWriter{ResponseWriter: x.w}
		x.rc = http.NewResponseController(x.w)
	}
	x.w.WriteHeader(res.StatusCode)
}

// errClient marks errors of writing to the client.
type errClient struct{ error }

// copyBody passes the body on as it comes: each piece is flushed at once,
// unless it is the last.
func (x *exchange) copyBody(res *http.Response) error {
	left := res.ContentLength
	if left == 0 || x.req.Method == http.MethodHead || res.Body == http.NoBody {
		x.lastWrite()
		return nil
	}
	if left < 0 {
		x.watch.enter(phaseWrite)
		if err := x.rc.Flush(); err != nil {
			return errClient{err}
		}
	}
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	for {
		x.watch.enter(phaseBody)
		n, err := res.Body.Read(buf[:])
		if n > 0 {
			x.watch.enter(phaseWrite)
			m, werr := x.w.Write(buf[:n])
			x.trip.rec.ResponseBytes += int64(m)
			if werr != nil {
				return errClient{werr}
			}
			left -= int64(n)
			// The last piece is flushed too, here where a client that does
			// not read can be given up; unless an end has yet to follow.
			if err == nil || left == 0 {
				if werr := x.rc.Flush(); werr != nil {
					return errClient{werr}
				}
			}
		}
		if errors.Is(err, io.EOF) {
			if left < 0 {
				x.lastWrite()
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// lastWrite bounds what the server writes after the handler is done, to a
// client that may not read.
func (x *exchange) lastWrite() {
	_ = x.rc.SetWriteDeadline(time.Now().Add(x.trip.r.cfg.StallTimeout))
}

// broken ends an answer that cannot be completed. It never looks complete.
func (x *exchange) broken(err error) {
	x.abort = true
	if x.conn != nil && x.req.ProtoMajor == 1 {
		x.conn.reset()
	}
	var client errClient
	switch {
	case errors.As(err, &client), x.req.Context().Err() != nil:
		x.why = reasonClientGone
	case x.up != nil && x.up.failure() != nil:
		x.why = x.clientFault(x.up.failure())
	case errors.Is(context.Cause(x.ctx), errStreamTimeout):
		x.why = reasonTimeout
	default:
		x.why = reasonTruncated
		x.trip.b.failures.Add(1)
	}
}
