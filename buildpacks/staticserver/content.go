package staticserver

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

var zeroTime time.Time

// types are the media types of a site's usual files, so that they do not
// depend on the machine.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8",
	".css": "text/css; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".md": "text/markdown; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
	".json": "application/json", ".map": "application/json", ".webmanifest": "application/manifest+json",
	".xml": "application/xml", ".rss": "application/rss+xml", ".atom": "application/atom+xml",
	".svg": "image/svg+xml", ".wasm": "application/wasm", ".pdf": "application/pdf",
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".webp": "image/webp", ".avif": "image/avif", ".ico": "image/x-icon",
	".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf",
	".mp4": "video/mp4", ".webm": "video/webm", ".mp3": "audio/mpeg", ".ogg": "audio/ogg",
	".zip": "application/zip", ".gz": "application/gzip",
}

func contentType(p string) string {
	ext := strings.ToLower(path.Ext(p))
	if t, ok := types[ext]; ok {
		return t
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return t
	}
	return "application/octet-stream"
}

// compressible reports whether packing a file of this kind is worth it.
func compressible(p string) bool {
	t := contentType(p)
	return strings.HasPrefix(t, "text/") || strings.Contains(t, "json") || strings.Contains(t, "xml") ||
		t == "application/wasm" || t == "font/ttf" || t == "font/otf" || t == "image/x-icon"
}

// acceptsGzip reads Accept-Encoding, where "gzip;q=0" is a refusal.
func acceptsGzip(r *http.Request) bool {
	for _, value := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(value, ",") {
			coding, params, _ := strings.Cut(strings.TrimSpace(part), ";")
			if coding = strings.TrimSpace(coding); coding != "gzip" && coding != "*" {
				continue
			}
			q, isQ := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			if weight, err := strconv.ParseFloat(q, 64); !isQ || err != nil || weight > 0 {
				return true
			}
		}
	}
	return false
}

// Files between these sizes are packed; larger ones would cost memory.
const (
	minPacked    = 512
	maxPacked    = 4 << 20
	maxCacheSize = 64 << 20
	maxCached    = 10000
)

// cache remembers the tags and gzip forms of files. A file that changes, as
// the app may do in its own directory, is known by its size and times.
type cache struct {
	mu     sync.Mutex // guards the following
	files  map[string]*cached
	packed int64 // bytes of all gzip forms
}

type cached struct {
	size     int64
	modified time.Time
	tag      string
	gzip     []byte // nil until asked for
	noGzip   bool   // packing does not make it smaller
}

func newCache() *cache { return &cache{files: map[string]*cached{}} }

// lookup returns what is known about the file as it is now, or nil.
func (c *cache) lookup(p string, info fs.FileInfo) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.files[p]; e != nil && e.size == info.Size() && e.modified.Equal(info.ModTime()) {
		copied := *e
		return &copied
	}
	return nil
}

func (c *cache) store(p string, e *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.files[p]; old != nil {
		c.packed -= int64(len(old.gzip))
	}
	if len(c.files) >= maxCached || c.packed+int64(len(e.gzip)) > maxCacheSize {
		clear(c.files) // starting over is rare and cheap
		c.packed = 0
	}
	c.files[p] = e
	c.packed += int64(len(e.gzip))
}

// tag names the content of a file. Hashing happens once per file.
func (c *cache) tag(f *os.File, p string, info fs.FileInfo) string {
	if e := c.lookup(p, info); e != nil {
		return e.tag
	}
	h := sha256.New()
	_, err := io.Copy(h, f)
	f.Seek(0, io.SeekStart)
	if err != nil {
		return strconv.FormatInt(info.Size(), 36) + "-" + strconv.FormatInt(info.ModTime().UnixNano(), 36)
	}
	tag := hex.EncodeToString(h.Sum(nil)[:12])
	c.store(p, &cached{size: info.Size(), modified: info.ModTime(), tag: tag})
	return tag
}

// gzip returns the packed form of a file, or nil if it has none.
func (c *cache) gzip(f *os.File, p string, info fs.FileInfo) []byte {
	if info.Size() < minPacked || info.Size() > maxPacked {
		return nil
	}
	e := c.lookup(p, info)
	if e == nil || e.noGzip {
		return nil
	}
	if e.gzip != nil {
		return e.gzip
	}
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	_, err := io.Copy(z, f)
	f.Seek(0, io.SeekStart)
	if err != nil || z.Close() != nil {
		return nil
	}
	if int64(buf.Len()) > info.Size()*9/10 {
		e.noGzip = true
	} else {
		e.gzip = buf.Bytes()
	}
	c.store(p, e)
	return e.gzip
}
