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
	"os"
	"time"
)

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
	if p.IsSame() { // nobody needs to look at them
		p.Main.Body, p.Shadow.Body, held = nil, nil, 0
		if p.Probe != nil {
			p.Probe.Body = nil
		}
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
