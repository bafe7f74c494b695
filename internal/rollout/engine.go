// Package rollout makes what runs equal to what was asked for. It owns apps,
// processes, revisions, deployments, instances, routes with their destinations,
// domains and services: every change to one of them goes through the Engine,
// is written down before the call returns, and is then worked towards by one
// loop per app.
package rollout

import (
	"context"
	"log/slog"
)

// Config is what an Engine works with.
type Config struct {
	Logger *slog.Logger
}

// Engine holds the desired state and moves the instances and the route table
// towards it. Its methods are safe for concurrent use.
type Engine struct {
	cfg Config
}

// New returns an Engine. It starts nothing; Run does.
func New(cfg Config) *Engine {
	return &Engine{cfg: cfg}
}

// Run adopts what still runs, publishes the route table and then works until
// ctx ends. Instances keep running after it returned.
func (e *Engine) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
