package router

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/router/wire"
)

// newShadowTransport carries copies for instances that speak HTTP/2 only.
func newShadowTransport() *http.Transport {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{
		DialContext: dialer.DialContext, Protocols: &protocols, DisableCompression: true,
		MaxConnsPerHost: shadowWorkers, MaxIdleConnsPerHost: 4, IdleConnTimeout: 4 * time.Second,
		MaxResponseHeaderBytes: wire.MaxHead,
	}
}

// said is an answer to a copy, and the room it takes.
type said struct {
	ShadowAnswer
	answerParts
}

// ask sends the copy to one instance.
func (s *shadows) ask(ctx context.Context, c *copied, p *pool, b *backend, limit time.Duration) *said {
	begun := time.Now()
	a := &said{answerParts: answerParts{kept: kept{held: &s.held}}}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	if p.http2 {
		err = a.askHTTP2(ctx, c, p, b, s.http2)
	} else {
		err = s.askHTTP1(ctx, a, c, p, b)
	}
	if a.ShadowAnswer = a.result(); err != nil {
		a.ShadowAnswer = ShadowAnswer{Error: shadowError(err)}
	}
	a.Took = time.Since(begun)
	return a
}

func (a *said) askHTTP2(ctx context.Context, c *copied, p *pool, b *backend, by *http.Transport) error {
	req, err := requestOf(c.appendHead(nil, p, b), b.addr)
	if err != nil {
		return err
	}
	if body := c.of.body; len(body) > 0 {
		req.ContentLength, req.Body = int64(len(body)), io.NopCloser(bytes.NewReader(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	res, err := by.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	a.status = res.StatusCode
	for name, values := range res.Header {
		for _, v := range values {
			a.field(name, v)
		}
	}
	buf := takeBuffer(headBuffer)
	defer buf.free()
	for a.size <= shadowRead {
		n, err := res.Body.Read(buf.b)
		a.add(buf.b[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// askHTTP1 is on the same connections as other requests to the instance, so
// that a copy costs about what its original did.
func (s *shadows) askHTTP1(ctx context.Context, a *said, c *copied, p *pool, b *backend) error {
	u := b.up.take(s.r.now(), isSafe(c.of.pair.Method))
	for {
		if u == nil {
			var err error
			if u, err = b.dial(ctx, &s.r.cfg); err != nil {
				return err
			}
		}
		stop := context.AfterFunc(ctx, func() { _ = u.c.SetDeadline(past) })
		keep, err := a.overHTTP1(c, p, b, u, s.r.cfg.BackendIdleTimeout)
		if !stop() {
			if u.discard(); err != nil {
				err = context.DeadlineExceeded
			}
			return err
		}
		if err == nil && keep {
			b.up.put(u, s.r.now())
			return nil
		}
		stale := err != nil && u.closedEarly().stale
		u.discard()
		if !stale {
			return err
		}
		u = nil
	}
}

// overHTTP1 asks over u and reads the answer. keep says that u may carry
// another request, for idle if the instance does not say how long.
func (a *said) overHTTP1(c *copied, p *pool, b *backend, u *upConn, idle time.Duration) (keep bool, err error) {
	out, late := c.appendHead(make([]byte, 0, len(c.of.head)+1<<9), p, b), c.of.body
	if len(late) <= cap(out)-len(out) {
		out, late = append(out, late...), nil
	}
	_, err = u.Write(out)
	if err == nil && len(late) > 0 {
		_, err = u.Write(late)
	}
	if err != nil && (u.sent.Load() == 0 || u.reuse) {
		return false, err // else it may have answered all the same
	}
	var res wire.Response
	if err := a.readHead(u, &res); err != nil {
		return false, err
	}
	a.status = res.Status
	for i, fs := 0, res.Fields(); i < len(fs); i++ {
		a.field(view(res.Name(&fs[i])), view(res.Value(&fs[i])))
	}
	u.keepAlive(res.KeepAlive, idle)
	switch {
	case res.Bodiless(c.of.pair.Method == http.MethodHead):
	case res.Chunked:
		err = a.readChunks(u)
	case res.Length >= 0:
		err = a.readLength(u, res.Length)
	default:
		return false, a.readToEnd(u)
	}
	return !res.Close && a.size <= shadowRead && len(u.bytes()) == 0, err
}

// readHead reads the head of an answer, which was read and not taken of u when
// it returns.
func (a *said) readHead(u *upConn, res *wire.Response) error {
	for interim := 0; interim <= maxInterim; {
		if b := u.bytes(); len(b) > 0 {
			n, v := wire.ParseResponse(b, res)
			switch {
			case v.Refused() || v != wire.Incomplete && res.Status == http.StatusSwitchingProtocols:
				return errBadAnswer
			case v == wire.Incomplete:
			case res.Status < 200:
				u.take(n)
				interim++
				continue
			default:
				u.take(n)
				return nil
			}
		}
		if err := u.more(); err != nil {
			return err
		}
	}
	return errBadAnswer
}

// more reads more behind what is there.
func (u *upConn) more() error {
	if !u.grow() {
		return errBadAnswer
	}
	return u.fill()
}

func (a *said) readLength(u *upConn, n int64) error {
	for n > 0 && a.size <= shadowRead {
		b := u.bytes()
		b = b[:min(int64(len(b)), n)]
		a.add(b)
		u.take(len(b))
		if n -= int64(len(b)); n > 0 && len(b) == 0 {
			if err := u.more(); err != nil {
				return noEOF(err)
			}
		}
	}
	return nil
}

func (a *said) readChunks(u *upConn) error {
	var chunks wire.Chunks
	for a.size <= shadowRead {
		for b := u.bytes(); len(b) > 0 && !chunks.Done(); b = u.bytes() {
			data, n, ok := chunks.Next(b)
			if !ok {
				return errBadAnswer
			}
			a.add(data)
			u.take(n)
		}
		if chunks.Done() {
			return nil
		}
		if err := u.more(); err != nil {
			return noEOF(err)
		}
	}
	return nil
}

func (a *said) readToEnd(u *upConn) error {
	for a.size <= shadowRead {
		a.add(u.bytes())
		u.take(len(u.bytes()))
		switch err := u.more(); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
	return nil
}

// appendHead appends the head of the copy for an instance: that of the
// original but for the fields by which an instance knows a copy, and those it
// gets because of what it is.
func (c *copied) appendHead(out []byte, p *pool, b *backend) []byte {
	line, rest, _ := bytes.Cut(c.of.head, lineEnd)
	out = append(append(out, line...), lineEnd...)
	hasBody := false
	for line, rest, _ = bytes.Cut(rest, lineEnd); len(line) > 0; line, rest, _ = bytes.Cut(rest, lineEnd) {
		switch name, _, _ := bytes.Cut(line, colon); {
		case isNamed(name, "Content-Length"), isNamed(name, "Transfer-Encoding"):
			hasBody = true
			continue
		case isNamed(name, "X-Cf-Instanceid"), isNamed(name, "X-Cf-Instanceindex"), isNamed(name, "X-Cf-Applicationid"), isNamed(name, "X-Route-Version"):
			continue
		case c.strip && (isNamed(name, "Authorization") || isNamed(name, "Cookie")):
			continue
		}
		out = append(append(out, line...), lineEnd...)
	}
	out = append(out, "X-Shadow: 1\r\n"...)
	out = appendLine(out, "X-Shadow-Of", c.main)
	out = appendLine(out, "X-Cf-Applicationid", p.src.AppGUID)
	out = appendLine(out, "X-Cf-Instanceid", b.guid)
	out = appendLine(out, "X-Cf-Instanceindex", strconv.Itoa(b.index))
	if p.src.Label != "" {
		out = appendLine(out, "X-Route-Version", p.src.Label)
	}
	if hasBody {
		out = appendLine(out, "Content-Length", strconv.Itoa(len(c.of.body)))
	}
	return append(out, lineEnd...)
}

var lineEnd, colon = []byte("\r\n"), []byte(":")

func isNamed(name []byte, want string) bool { return strings.EqualFold(view(name), want) }
