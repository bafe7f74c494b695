package router

import (
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// minGzip is below which size compressing an answer is not worth it.
const minGzip = 1024

var gzipWriters = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return w
}}

// gzipWriter compresses an answer on its way to the client, if it is text.
// Without a head it passes everything on as it is.
type gzipWriter struct {
	http.ResponseWriter
	out *gzip.Writer // nil: not compressed
}

// WriteHeader implements http.ResponseWriter.
func (g *gzipWriter) WriteHeader(status int) {
	h := g.Header()
	if status >= 200 && isCompressible(status, h) {
		g.out = gzipWriters.Get().(*gzip.Writer)
		g.out.Reset(g.ResponseWriter)
		h.Set("Content-Encoding", "gzip")
		h.Del("Content-Length")
		h.Del("Accept-Ranges")
		if tag := h.Get("Etag"); tag != "" && !strings.HasPrefix(tag, "W/") {
			h.Set("Etag", "W/"+tag)
		}
	}
	if status >= 200 && !hasToken(h["Vary"], "accept-encoding") {
		h.Add("Vary", "Accept-Encoding")
	}
	g.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (g *gzipWriter) Write(p []byte) (int, error) {
	if g.out == nil {
		return g.ResponseWriter.Write(p)
	}
	return g.out.Write(p)
}

// FlushError sends what was written so far.
func (g *gzipWriter) FlushError() error {
	if g.out != nil {
		if err := g.out.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(g.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (g *gzipWriter) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// end completes the answer, unless it was cut off: then it must not look
// complete.
func (g *gzipWriter) end(cut bool) {
	if g.out == nil {
		return
	}
	if !cut {
		_ = g.out.Close() // the client went away; what else is there to do
	}
	g.out.Reset(nil)
	gzipWriters.Put(g.out)
	g.out = nil
}

// takesGzip reports whether a request may be answered compressed.
func takesGzip(req *http.Request) bool {
	if req.Method == http.MethodHead {
		return false
	}
	for _, line := range req.Header["Accept-Encoding"] {
		for part := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				q := strings.TrimPrefix(strings.TrimSpace(params), "q=")
				f, err := strconv.ParseFloat(q, 64)
				return err != nil || f > 0
			}
		}
	}
	return false
}

// isCompressible reports whether an answer is text, whole and large enough.
func isCompressible(status int, h http.Header) bool {
	switch {
	case status == 204, status == 206, status == 304, h.Get("Content-Encoding") != "",
		hasToken(h["Cache-Control"], "no-transform"), h.Get("Content-Range") != "":
		return false
	}
	if n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); err == nil && n < minGzip {
		return false
	}
	typ, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch typ = strings.ToLower(strings.TrimSpace(typ)); typ {
	case "text/event-stream":
		return false
	case "application/json", "application/javascript", "application/xml", "application/manifest+json", "image/svg+xml", "application/wasm":
		return true
	}
	return strings.HasPrefix(typ, "text/") || strings.HasSuffix(typ, "+json") || strings.HasSuffix(typ, "+xml")
}
