package router

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"weir/router/wire"
)

func newShadowTransport(http2 bool) *http.Transport {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Transport{
		DialContext: dialer.DialContext, Protocols: &protocols, DisableCompression: true,
		MaxConnsPerHost: shadowWorkers, MaxIdleConnsPerHost: 4, IdleConnTimeout: 4 * time.Second,
		MaxResponseHeaderBytes: wire.MaxHead,
	}
}

// send asks the shadow, and perhaps the main version again, and keeps what
// they said.
func (s *shadows) send(ctx context.Context, c *copied) {
	defer c.release()
	p := c.of.pair
	p.App, p.Version = c.key.app, c.key.version
	limit := min(2*p.Main.Took+time.Second, shadowMax)
	took := p.Main.Took
	p.Main = c.of.answer.result()
	p.Main.Took = took
	// One after the other, so that main is not asked twice at once.
	said := s.ask(ctx, c, c.dest, c.dest.backends[rand.IntN(len(c.dest.backends))], limit)
	defer said.free()
	p.Shadow = said.ShadowAnswer
	held := int64(len(p.Main.Body) + len(p.Shadow.Body))
	full := said.full
	if c.probe {
		again := s.ask(ctx, c, c.of.main, c.other(), limit)
		defer again.free()
		p.Probe = &again.ShadowAnswer
		held += int64(len(again.Body))
		full = full || again.full
	}
	switch {
	case ctx.Err() != nil:
		s.drop(c.key, dropStopped)
	case full || s.held.Add(held) > shadowBudget:
		if !full {
			s.held.Add(-held)
		}
		s.drop(c.key, dropBudget)
	default:
		s.keep(c, p, held)
	}
}

// other returns an instance of the main version, if there is one another than
// the one that answered.
func (c *copied) other() *backend {
	all := c.of.main.backends
	from := rand.IntN(len(all))
	for i := range all {
		if b := all[(from+i)%len(all)]; b != c.of.served {
			return b
		}
	}
	return c.of.served
}

// asked is an answer to a copy, and the room it takes.
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
	err := a.read(ctx, c, p, b, s.http)
	if a.ShadowAnswer = a.result(); err != nil {
		a.ShadowAnswer = ShadowAnswer{Error: shadowError(err)}
	}
	a.Took = time.Since(begun)
	return a
}

// read asks and reads the answer.
func (a *said) read(ctx context.Context, c *copied, p *pool, b *backend, by [2]*http.Transport) error {
	req, err := requestOf(c.of.head, b.addr)
	if err != nil {
		return err
	}
	c.mark(req, p, b)
	if body := c.of.body; len(body) > 0 {
		req.ContentLength, req.Body = int64(len(body)), io.NopCloser(bytes.NewReader(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	t := by[0]
	if p.http2 {
		t = by[1]
	}
	res, err := t.RoundTrip(req.WithContext(ctx))
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

// mark sets the fields by which an instance knows a copy, and those it gets
// because of what it is.
func (c *copied) mark(req *http.Request, p *pool, b *backend) {
	h := req.Header
	h["X-Shadow"] = []string{"1"}
	h["X-Shadow-Of"] = []string{c.of.of}
	h["X-Cf-Instanceid"] = []string{b.guid}
	h["X-Cf-Instanceindex"] = []string{strconv.Itoa(b.index)}
	if p.src.Label != "" {
		h["X-Route-Version"] = []string{p.src.Label}
	}
	if c.strip {
		delete(h, "Authorization")
		delete(h, "Cookie")
	}
}

// shadowError names a failure in the words of X-Cf-RouterError's reasons.
func shadowError(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return reasonTimeout.String()
	case errors.As(err, &op) && op.Op == "dial":
		return reasonUnreachable.String()
	}
	return reasonClosed.String()
}

// result returns what is compared. Its body is held with a.
func (a *answerParts) result() ShadowAnswer {
	out := ShadowAnswer{
		Status: a.status, Header: a.header,
		Size: min(a.size, shadowRead), SHA256: sha256.Sum256(a.b), Truncated: a.size > shadowBody,
	}
	if !out.Truncated {
		out.Body = a.b
	}
	if a.encoding == "gzip" && !out.Truncated {
		if plain, ok := unzipped(a.b); ok {
			out.Body, out.Size, out.SHA256 = plain, int64(len(plain)), sha256.Sum256(plain)
		}
	}
	return out
}

// unzipped returns the text of a small compressed body.
func unzipped(b []byte) (plain []byte, ok bool) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, false
	}
	plain, err = io.ReadAll(io.LimitReader(r, shadowBody+1))
	return plain, err == nil && len(plain) <= shadowBody
}
