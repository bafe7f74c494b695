package router

import (
	"compress/gzip"
	"strings"
	"sync"

	"weir/router/wire"
)

// minGzip is below which size compressing an answer is not worth it.
const minGzip = 1024

var gzipWriters = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return w
}}

// gzipFront compresses an answer on its way to a front, if it is text.
type gzipFront struct {
	front
	out *gzip.Writer // nil: not compressed
}

// begin implements front.
func (g *gzipFront) begin(a *reply) error {
	if !a.bodiless && isCompressible(a.res) {
		g.out = gzipWriters.Get().(*gzip.Writer)
		g.out.Reset(bodyWriter{g.front})
		a.length = -1
		a.lines = append(a.lines, "Content-Encoding: gzip\r\n"...)
		a.res.Drop("accept-ranges")
		if tag := a.res.Get("etag"); len(tag) > 0 && tag[0] == '"' {
			a.lines = appendLine(a.lines, "Etag", "W/"+string(tag))
			a.res.Drop("etag")
		}
	}
	return g.front.begin(a)
}

// bodyWriter is a front as an io.Writer.
type bodyWriter struct{ front }

// Write implements io.Writer.
func (p bodyWriter) Write(b []byte) (int, error) {
	if err := p.write(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// write implements front.
func (g *gzipFront) write(p []byte) error {
	if g.out == nil {
		return g.front.write(p)
	}
	_, err := g.out.Write(p)
	return err
}

// flush sends what was written so far.
func (g *gzipFront) flush() error {
	if g.out != nil {
		if err := g.out.Flush(); err != nil {
			return err
		}
	}
	return g.front.flush()
}

// end implements front.
func (g *gzipFront) end(trailers []byte) error {
	if g.out != nil {
		if err := g.out.Close(); err != nil {
			return err
		}
		g.release()
	}
	return g.front.end(trailers)
}

// abort implements front: the answer must not look complete.
func (g *gzipFront) abort() {
	g.release()
	g.front.abort()
}

func (g *gzipFront) release() {
	if g.out != nil {
		g.out.Reset(nil)
		gzipWriters.Put(g.out)
		g.out = nil
	}
}

// takesGzip reports whether a request may be answered compressed.
func takesGzip(req *wire.Request) bool {
	for part := range strings.SplitSeq(view(req.Get("accept-encoding")), ",") {
		coding, params, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			return quality(params) > 0
		}
	}
	return false
}

// appendVary tells caches that a route's answers differ by what the client
// takes, those included that went out plain.
func appendVary(b []byte, res *wire.Response) []byte {
	if hasTokenIn(res.Get("vary"), "accept-encoding") {
		return b
	}
	return append(b, "Vary: Accept-Encoding\r\n"...)
}

func hasTokenIn(list []byte, want string) (has bool) {
	wire.EachToken(list, func(token []byte) { has = has || strings.EqualFold(view(token), want) })
	return has
}

// isCompressible reports whether an answer is text, whole and large enough.
func isCompressible(res *wire.Response) bool {
	switch {
	case res.Status == 206, res.Get("content-encoding") != nil,
		hasTokenIn(res.Get("cache-control"), "no-transform"), res.Get("content-range") != nil:
		return false
	case res.Length >= 0 && res.Length < minGzip:
		return false
	}
	typ, _, _ := strings.Cut(view(res.Get("content-type")), ";")
	switch typ = strings.ToLower(strings.TrimSpace(typ)); typ {
	case "text/event-stream":
		return false
	case "application/json", "application/javascript", "application/xml", "application/manifest+json", "image/svg+xml", "application/wasm":
		return true
	}
	return strings.HasPrefix(typ, "text/") || strings.HasSuffix(typ, "+json") || strings.HasSuffix(typ, "+xml")
}
