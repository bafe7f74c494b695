// Package local implements runner.Runner on this machine: a client of the
// keeper, which is the process that starts and watches instances.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
)

// Config is what a Runner needs.
type Config struct {
	DataDir string // weir's data directory; the keeper listens at run/keeper.sock in it
	// DialTimeout is how long a call waits for a keeper that is not there,
	// because it is being restarted. Zero means 3 s.
	DialTimeout time.Duration
	Logger      *slog.Logger // nil discards
}

// Runner is a client of the keeper. It holds no connection between calls, so
// it needs neither Run nor Close.
type Runner struct {
	cfg       Config
	socket    string
	instances string
}

var _ runner.Runner = (*Runner)(nil)

// New returns a Runner for the keeper of cfg.DataDir. It connects to nothing.
func New(cfg Config) *Runner {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = 3 * time.Second
	}
	return &Runner{
		cfg:       cfg,
		socket:    filepath.Join(cfg.DataDir, "run", "keeper.sock"),
		instances: filepath.Join(cfg.DataDir, "instances"),
	}
}

// Start implements runner.Runner.
func (r *Runner) Start(ctx context.Context, s runner.Spec) (runner.Status, error) {
	c, err := r.dial(ctx)
	if err != nil {
		return runner.Status{}, err
	}
	defer c.close()
	reserved, err := c.ask(runner.Request{Op: runner.OpStart, Spec: &s})
	if err != nil {
		return runner.Status{}, err
	}
	if reserved.Status == nil {
		return runner.Status{}, errUnavailable(errors.New("the reservation has no endpoint"))
	}
	var env []string
	if s.Env != nil {
		env = s.Env(reserved.Status.Endpoint)
	}
	started, err := c.ask(runner.Request{Op: runner.OpRun, Env: env})
	if err != nil {
		return runner.Status{}, err
	}
	if started.Status == nil {
		return runner.Status{}, errUnavailable(errors.New("the reply has no status"))
	}
	return *started.Status, nil
}

// Stop implements runner.Runner.
func (r *Runner) Stop(ctx context.Context, guid string, grace time.Duration) error {
	_, err := r.call(ctx, runner.Request{Op: runner.OpStop, GUID: guid, Grace: grace})
	return err
}

// Remove implements runner.Runner.
func (r *Runner) Remove(ctx context.Context, guid string) error {
	_, err := r.call(ctx, runner.Request{Op: runner.OpRemove, GUID: guid})
	return err
}

// List implements runner.Runner.
func (r *Runner) List(ctx context.Context) ([]runner.Status, error) {
	reply, err := r.call(ctx, runner.Request{Op: runner.OpList})
	return reply.List, err
}

// Stats implements runner.Runner.
func (r *Runner) Stats(ctx context.Context, guid string) (runner.Stats, error) {
	reply, err := r.call(ctx, runner.Request{Op: runner.OpStats, GUID: guid})
	if err != nil || reply.Stats == nil {
		return runner.Stats{}, err
	}
	return *reply.Stats, nil
}

// SetBackground implements runner.Runner.
func (r *Runner) SetBackground(ctx context.Context, guid string, on bool) error {
	_, err := r.call(ctx, runner.Request{Op: runner.OpBackground, GUID: guid, On: on})
	return err
}

// Replace lets the keeper start controller and router anew, from the program
// that is now at its path. It returns when both have taken over, or with the
// reason why what is left stays as it is.
func (r *Runner) Replace(ctx context.Context) error {
	_, err := r.call(ctx, runner.Request{Op: runner.OpReplace})
	return err
}

// Logs implements runner.Runner.
func (r *Runner) Logs(guid string) (stdout, stderr string) {
	dir := filepath.Join(r.instances, guid)
	return filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr")
}

// Watch implements runner.Runner.
func (r *Runner) Watch(ctx context.Context) (<-chan runner.Event, error) {
	c, err := r.dial(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.ask(runner.Request{Op: runner.OpWatch}); err != nil {
		c.close()
		return nil, err
	}
	events := make(chan runner.Event)
	go func() {
		defer close(events)
		defer c.close()
		for {
			reply, err := c.receive()
			if err != nil {
				if ctx.Err() == nil {
					r.cfg.Logger.Warn("watching instances was interrupted", "err", err)
				}
				return
			}
			if reply.Event == nil {
				continue
			}
			select {
			case events <- *reply.Event:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events, nil
}

// call is one request and its reply.
func (r *Runner) call(ctx context.Context, req runner.Request) (runner.Reply, error) {
	c, err := r.dial(ctx)
	if err != nil {
		return runner.Reply{}, err
	}
	defer c.close()
	return c.ask(req)
}

// conn is a connection to the keeper. It breaks when its context ends.
type conn struct {
	conn   net.Conn
	enc    *json.Encoder
	dec    *json.Decoder
	ended  func() error // why the context of the call ended, nil if it did not
	unhook func() bool
}

// retryEvery is how often a keeper that is not there is tried again.
const retryEvery = 25 * time.Millisecond

// dial connects, and waits for a keeper that is being restarted.
func (r *Runner) dial(ctx context.Context) (*conn, error) {
	deadline := time.Now().Add(r.cfg.DialTimeout)
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "unix", r.socket)
		if err == nil {
			stop := context.AfterFunc(ctx, func() { c.Close() })
			return &conn{conn: c, enc: json.NewEncoder(c), dec: json.NewDecoder(c), ended: ctx.Err, unhook: stop}, nil
		}
		absent := errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EAGAIN)
		if !absent || time.Now().After(deadline) {
			return nil, errUnavailable(err)
		}
		select {
		case <-time.After(retryEvery):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *conn) close() {
	c.unhook()
	c.conn.Close()
}

func (c *conn) ask(req runner.Request) (runner.Reply, error) {
	if err := c.enc.Encode(req); err != nil {
		return runner.Reply{}, c.broken(err)
	}
	return c.receive()
}

func (c *conn) receive() (runner.Reply, error) {
	var reply runner.Reply
	if err := c.dec.Decode(&reply); err != nil {
		return runner.Reply{}, c.broken(err)
	}
	return reply, reply.Error.Err()
}

// broken says why a conversation ended early.
func (c *conn) broken(err error) error {
	if ended := c.ended(); ended != nil {
		return ended
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the keeper hung up: %w", err)
	}
	return errUnavailable(err)
}

func errUnavailable(err error) error {
	return &platform.Error{
		Kind: platform.KindUnavailable, Msg: "the keeper does not answer", Hint: "is weir serve running?", Err: err,
	}
}
