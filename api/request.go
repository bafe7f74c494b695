package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

// exchange is what the access log needs to know of a request.
type exchange struct {
	id  string
	who string // name of the caller, "" if nobody said
	err error  // why it failed
}

// exchangeOf returns the exchange that w answers.
func exchangeOf(w http.ResponseWriter) *exchange {
	for {
		if rec, ok := w.(*recorder); ok {
			return rec.exchange
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return &exchange{}
		}
		w = u.Unwrap()
	}
}

var plainID = regexp.MustCompile(`^[A-Za-z0-9._:-]+$`)

// requests gives every request an id, a line in the log, and an answer even
// if its handler panics.
func (a *API) requests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{id: platform.NewGUID()}
		if given := r.Header.Get("X-Vcap-Request-Id"); len(given) <= 200 && plainID.MatchString(given) {
			x.id = given + "::" + x.id
		}
		begun := time.Now()
		rec := &recorder{ResponseWriter: w, exchange: x}
		rec.Header().Set("X-Vcap-Request-Id", x.id)
		rec.Header().Set("X-Content-Type-Options", "nosniff")
		defer func() {
			p := recover()
			if p != nil && p != http.ErrAbortHandler {
				a.panicked(rec, r, x, p)
			}
			a.logRequest(r, x, rec, time.Since(begun))
			if p == http.ErrAbortHandler || p != nil && rec.begun {
				panic(http.ErrAbortHandler) // so that nobody takes half a body for a whole one
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

func (a *API) panicked(rec *recorder, r *http.Request, x *exchange, p any) {
	a.logger.Error("a request panicked", "request", x.id, "method", r.Method, "path", r.URL.Path,
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if rec.status != 0 {
		rec.begun = true
		return
	}
	status, errs := presentError(fmt.Errorf("panic: %v", p), x.id)
	writeJSON(rec, status, v3.Errors{Errors: errs})
}

// logRequest writes one line: an error if we are to blame, else for debugging.
func (a *API) logRequest(r *http.Request, x *exchange, rec *recorder, dur time.Duration) {
	level, attrs := slog.LevelDebug, []any{
		"request", x.id, "method", r.Method, "path", r.URL.Path, "status", rec.status, "dur", dur,
	}
	if x.who != "" {
		attrs = append(attrs, "user", x.who)
	}
	if x.err != nil {
		attrs = append(attrs, "err", x.err)
		if rec.status >= 500 && rec.status != http.StatusServiceUnavailable {
			level = slog.LevelError
		}
	}
	a.logger.Log(r.Context(), level, "answered a request", attrs...)
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	exchange *exchange
	status   int
	begun    bool // the answer had begun when the handler panicked
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Flush sends what was written so far.
func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// Hijack is asked for by gin; the API never does it.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(r.ResponseWriter).Hijack()
}

// writeJSON answers with body, which must be encodable.
func writeJSON(w http.ResponseWriter, status int, body any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // links hold "&"
	if err := enc.Encode(body); err != nil {
		panic(fmt.Sprintf("encoding an answer: %v", err))
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}
