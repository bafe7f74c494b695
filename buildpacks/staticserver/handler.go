package staticserver

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Handler serves the files of one directory. Links that lead out of it are
// not followed.
type Handler struct {
	root  *os.Root
	conf  Config
	gate  *gate // nil: everybody is let in
	files *cache
}

// New returns a Handler for dir. Close it when done.
func New(dir string, conf Config) (*Handler, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	h := &Handler{root: root, conf: conf, files: newCache()}
	if len(conf.Users) > 0 {
		h.gate = &gate{users: conf.Users}
	}
	return h, nil
}

// Close releases the directory.
func (h *Handler) Close() error { return h.root.Close() }

// private are files that configure the app and are no part of the site.
var private = []string{"Staticfile", "Staticfile.auth", "Procfile", "manifest.yml"}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.conf.ForceHTTPS && r.Header.Get("X-Forwarded-Proto") == "http" {
		http.Redirect(w, r, "https://"+r.Host+r.URL.RequestURI(), http.StatusMovedPermanently)
		return
	}
	if h.conf.HSTS != "" {
		w.Header().Set("Strict-Transport-Security", h.conf.HSTS)
	}
	if h.gate != nil && !h.gate.admits(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="Restricted"`)
		h.fail(w, r, http.StatusUnauthorized)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		h.fail(w, r, http.StatusMethodNotAllowed)
		return
	}
	h.serve(w, r)
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) {
	p := path.Clean("/" + r.URL.Path)
	if strings.ContainsRune(p, 0) || h.hidden(p) {
		h.fail(w, r, http.StatusNotFound)
		return
	}
	info, err := h.root.Stat(name(p))
	switch {
	case err == nil && info.IsDir():
		h.directory(w, r, p)
	case err == nil && info.Mode().IsRegular() && !strings.HasSuffix(r.URL.Path, "/"):
		h.file(w, r, p, http.StatusOK)
	case h.conf.PushState:
		h.file(w, r, "/index.html", http.StatusOK)
	case errors.Is(err, fs.ErrPermission):
		h.fail(w, r, http.StatusForbidden)
	default:
		h.fail(w, r, http.StatusNotFound)
	}
}

// name is the path below the root for a cleaned path of a URL.
func name(p string) string {
	if p == "/" {
		return "."
	}
	return p[1:]
}

func (h *Handler) hidden(p string) bool {
	if slices.Contains(private, p[1:]) {
		return true
	}
	return !h.conf.DotFiles && strings.Contains(p, "/.") && !strings.HasPrefix(p, "/.well-known/")
}

// directory answers with the index page, a list of files, or not at all.
func (h *Handler) directory(w http.ResponseWriter, r *http.Request, p string) {
	if !strings.HasSuffix(r.URL.Path, "/") {
		target := url.URL{Path: path.Base(p) + "/", RawQuery: r.URL.RawQuery}
		w.Header().Set("Location", "./"+target.String())
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}
	for _, index := range []string{"index.html", "index.htm"} {
		if info, err := h.root.Stat(name(path.Join(p, index))); err == nil && info.Mode().IsRegular() {
			h.file(w, r, path.Join(p, index), http.StatusOK)
			return
		}
	}
	switch {
	case h.conf.DirectoryListing:
		h.list(w, r, p)
	case h.conf.PushState && p != "/":
		h.file(w, r, "/index.html", http.StatusOK)
	default:
		h.fail(w, r, http.StatusNotFound)
	}
}

func (h *Handler) list(w http.ResponseWriter, r *http.Request, p string) {
	dir, err := h.root.Open(name(p))
	if err != nil {
		h.fail(w, r, http.StatusForbidden)
		return
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		h.fail(w, r, http.StatusInternalServerError)
		return
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	var page bytes.Buffer
	fmt.Fprintf(&page, "<!doctype html>\n<meta charset=utf-8>\n<title>Index of %[1]s</title>\n<h1>Index of %[1]s</h1>\n<ul>\n", html.EscapeString(p))
	if p != "/" {
		page.WriteString("<li><a href=\"../\">../</a>\n")
	}
	for _, e := range entries {
		if h.hidden(path.Join(p, e.Name())) {
			continue
		}
		shown := e.Name()
		if e.IsDir() {
			shown += "/"
		}
		fmt.Fprintf(&page, "<li><a href=\"%s\">%s</a>\n", html.EscapeString((&url.URL{Path: "./" + shown}).String()), html.EscapeString(shown))
	}
	page.WriteString("</ul>\n")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Length", strconv.Itoa(page.Len()))
	if r.Method == http.MethodGet {
		w.Write(page.Bytes())
	}
}

// file answers with a file's content. A status other than 200 belongs to an
// error's page, for which conditions and ranges mean nothing.
func (h *Handler) file(w http.ResponseWriter, r *http.Request, p string, status int) {
	f, err := h.root.Open(name(p))
	if err != nil {
		plainError(w, r, http.StatusNotFound)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		plainError(w, r, http.StatusNotFound)
		return
	}
	header := w.Header()
	header.Set("Content-Type", contentType(p))
	for _, rule := range h.conf.Headers {
		if rule.matches(r.URL.Path) {
			for k, v := range rule.Headers {
				header.Set(k, v)
			}
		}
	}
	tag := h.files.tag(f, p, info)
	var content io.ReadSeeker = f
	if compressible(p) {
		header.Add("Vary", "Accept-Encoding")
		if packed := h.packed(r, f, p, info); packed != nil {
			header.Set("Content-Encoding", "gzip")
			content, tag = bytes.NewReader(packed), tag+"-gz"
		}
	}
	if status == http.StatusOK {
		header.Set("ETag", `"`+tag+`"`)
		setDefault(header, "Cache-Control", "no-cache") // ask again, the tag makes it cheap
		// No time: those of a droplet's files say nothing about their content.
		http.ServeContent(w, r, p, zeroTime, content)
		return
	}
	size, err := content.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = content.Seek(0, io.SeekStart)
	}
	if err != nil {
		plainError(w, r, status)
		return
	}
	header.Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		io.Copy(w, content)
	}
}

func setDefault(h http.Header, key, value string) {
	if h.Get(key) == "" {
		h.Set(key, value)
	}
}

// packed returns the gzip form of a file if the client takes it and it is
// worth it. A range is of the file as it is.
func (h *Handler) packed(r *http.Request, f *os.File, p string, info fs.FileInfo) []byte {
	if !acceptsGzip(r) || r.Header.Get("Range") != "" {
		return nil
	}
	return h.files.gzip(f, p, info)
}

// fail answers with the page for a status, if the site has one.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, status int) {
	page := h.conf.StatusPages[status]
	if page == "" && status == http.StatusNotFound {
		page = "/404.html"
	}
	if page != "" {
		if info, err := h.root.Stat(name(page)); err == nil && info.Mode().IsRegular() {
			h.file(w, r, page, status)
			return
		}
	}
	plainError(w, r, status)
}

func plainError(w http.ResponseWriter, r *http.Request, status int) {
	text := fmt.Sprintf("%d %s\n", status, http.StatusText(status))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		io.WriteString(w, text)
	}
}
