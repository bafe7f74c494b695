package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxTableBytes bounds what the control API reads; a table of a million
// routes is about half of it.
const maxTableBytes = 1 << 30

// maxDrainWait bounds one call of POST /drain.
const maxDrainWait = 24 * time.Hour

// controlServer serves the control API:
//
//	PUT   /table    Table → 204, every request that begins uses it
//	PATCH /table    Update → 204, or 409 {"code":"out-of-sync"}
//	PUT   /follow   the same, of a router that has replaced this one, or
//	PATCH /follow   is about to be replaced by it: that one keeps the table
//	GET   /status   Status
//	GET   /stats    Stats
//	POST  /drain    {"instances":[…],"timeout_ms":n,"table":n} → 204 when they
//	                have no request in flight, nor will get one by a table before
//	                that; 504 {"code":"busy"} when the time is over
//	POST  /evidence EvidenceQuery → Evidence
//	POST  /shadows  {"wait_ms":n} → ShadowPairs, and ShadowCounts since the last call
//	GET   /metrics  Prometheus
//	GET   /healthz  200, or 503 while the router drains
//	GET   /debug/pprof/  profiles of the process, as package net/http/pprof has them
type controlServer struct {
	r    *Router
	stop chan struct{} // closed with it: nobody waits longer
	http *http.Server
}

func (r *Router) newControlServer() *controlServer {
	c := &controlServer{r: r, stop: make(chan struct{})}
	mux := http.NewServeMux()
	for path, follows := range map[string]bool{tablePath: false, followPath: true} {
		mux.HandleFunc("PUT "+path, func(w http.ResponseWriter, req *http.Request) { c.putTable(w, req, follows) })
		mux.HandleFunc("PATCH "+path, func(w http.ResponseWriter, req *http.Request) { c.patchTable(w, req, follows) })
	}
	mux.HandleFunc("POST /drain", c.drain)
	mux.HandleFunc("POST /evidence", c.evidence)
	mux.HandleFunc("POST /shadows", c.shadows)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, r.status()) })
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, r.stats()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", c.health)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	c.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}
	return c
}

func (c *controlServer) serve(ln net.Listener) error {
	err := c.http.Serve(ln)
	if errors.Is(err, http.ErrServerClosed) {
		return errStopped
	}
	return err
}

// close ends the control API. Calls under way get a second to finish; those
// that wait for something end at once.
func (c *controlServer) close() {
	close(c.stop)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.http.Shutdown(ctx)
	_ = c.http.Close()
}

func (c *controlServer) putTable(w http.ResponseWriter, req *http.Request, follows bool) {
	var t Table
	if !read(w, req, &t) {
		return
	}
	large := len(t.Routes) >= largeTable
	w.Header().Set(pidField, strconv.Itoa(os.Getpid()))
	done(w, c.r.putAs(t, follows))
	if t = (Table{}); large {
		debug.FreeOSMemory()
	}
}

func (c *controlServer) patchTable(w http.ResponseWriter, req *http.Request, follows bool) {
	var u Update
	if read(w, req, &u) {
		w.Header().Set(pidField, strconv.Itoa(os.Getpid()))
		done(w, c.r.applyAs(u, follows))
	}
}

func (c *controlServer) drain(w http.ResponseWriter, req *http.Request) {
	var d drainRequest
	if !read(w, req, &d) {
		return
	}
	guids := make(map[string]bool, len(d.Instances))
	for _, g := range d.Instances {
		guids[g] = true
	}
	timeout := min(time.Duration(d.TimeoutMS)*time.Millisecond, maxDrainWait)
	ctx, cancel := context.WithTimeout(req.Context(), max(timeout, 0))
	defer cancel()
	unhook := make(chan struct{})
	defer close(unhook)
	go func() {
		select {
		case <-c.stop:
			cancel()
		case <-unhook:
		}
	}()
	if number := c.r.table.Load().number(); number < d.Table || d.Table == 0 && c.r.draining.Load() {
		// Another router has taken over, and we do not follow it. Connections
		// that wait here may still bring requests, which go by our table.
		select {
		case <-c.r.silent:
		case <-ctx.Done():
			done(w, fmt.Errorf("%w: a router that was replaced may get more", ErrBusy))
			return
		}
	}
	done(w, c.r.drainInstances(ctx, guids))
}

func (c *controlServer) health(w http.ResponseWriter, _ *http.Request) {
	status := http.StatusOK
	if c.r.draining.Load() {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, map[string]any{"table": c.r.table.Load().number(), "draining": c.r.draining.Load()})
}

// read decodes the body into v and answers for itself if it cannot.
func read(w http.ResponseWriter, req *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxTableBytes)).Decode(v); err != nil {
		answer(w, http.StatusBadRequest, controlError{Code: codeInvalid, Msg: "decoding the request: " + err.Error()})
		return false
	}
	return true
}

func done(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, ErrOutOfSync):
		answer(w, http.StatusConflict, controlError{Code: codeOutOfSync, Msg: err.Error()})
	case errors.Is(err, ErrBusy):
		answer(w, http.StatusGatewayTimeout, controlError{Code: codeBusy, Msg: err.Error()})
	case errors.Is(err, errInvalidTable):
		answer(w, http.StatusUnprocessableEntity, controlError{Code: codeInvalid, Msg: err.Error()})
	default:
		answer(w, http.StatusInternalServerError, controlError{Code: "internal", Msg: err.Error()})
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
