package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// ErrOutOfSync says that an Update was made for another table than the one
// the router runs: send it a whole Table.
var ErrOutOfSync = errors.New("router: update does not fit the running table")

// ErrBusy says that Drain's time ran out before the requests did.
var ErrBusy = errors.New("router: instances still have requests in flight")

// Client speaks to the control API of a Router. It may be used by several
// goroutines.
type Client struct {
	http   *http.Client
	socket string
	table  atomic.Uint64 // the number of the last one the router took
}

// NewClient returns a client for the router that listens on the given unix
// socket. It does not connect before the first call.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext:         dial,
		MaxIdleConnsPerHost: 4,
		// A restarted router must not be met through a dead connection.
		IdleConnTimeout: 5 * time.Second,
	}}}
}

// Close closes the idle connections of the client.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Put makes t the router's table, whatever it ran before. It returns once
// every request uses it, also those that come over connections of a router
// that was replaced.
func (c *Client) Put(ctx context.Context, t Table) error {
	return c.change(ctx, http.MethodPut, t, t.Number)
}

// Apply changes the router's table. It returns once every request uses the
// result, as Put does, and ErrOutOfSync if the router, or one that it has
// replaced, runs another table than u.From.
func (c *Client) Apply(ctx context.Context, u Update) error {
	return c.change(ctx, http.MethodPatch, u, u.Number)
}

// The paths of tables, and the field of the answers that says whose they are.
const (
	tablePath  = "/table"
	followPath = "/follow"
	pidField   = "X-Weir-Pid"
)

// followTimeout is how long a change waits for a router that was replaced.
const followTimeout = 5 * time.Second

// change sends a table, or a part of one, to the router and to those that it
// has replaced, or that are about to replace it.
func (c *Client) change(ctx context.Context, method string, what any, number uint64) error {
	header, err := c.call(ctx, method, tablePath, what, nil)
	if err != nil {
		return err
	}
	c.table.Store(number)
	pid, _ := strconv.Atoi(header.Get(pidField))
	own := OwnSocket(c.socket, pid)
	others := slices.DeleteFunc(OwnSockets(c.socket), func(s string) bool { return s == own })
	if len(others) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	errs := make(chan error, len(others))
	for _, socket := range others {
		go func() {
			o := NewClient(socket)
			defer o.Close()
			_, err := o.call(ctx, method, followPath, what, nil)
			errs <- err
		}()
	}
	for range others {
		// One that does not answer is gone, and its requests with it.
		if e := <-errs; errors.Is(e, ErrOutOfSync) {
			err = e
		}
	}
	return err
}

// Status is what the router says about itself.
type Status struct {
	Number      uint64    `json:"number"` // of the table; 0: it never got one
	Routes      int       `json:"routes"`
	Backends    int       `json:"backends"` // instances in the table
	InFlight    int64     `json:"in_flight"`
	Connections int64     `json:"connections"` // from clients
	Draining    bool      `json:"draining"`    // it is about to end
	Persisted   bool      `json:"persisted"`   // the table is on disk
	LogDropped  uint64    `json:"log_dropped"` // access records lost
	PID         int       `json:"pid"`
	Started     time.Time `json:"started"`
}

// Status returns the number of the table in use, and more.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	_, err := c.call(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}

// Stats are the router's counts per instance.
type Stats struct {
	InFlight  int64           `json:"in_flight"`
	Instances []InstanceStats `json:"instances"`
}

// InstanceStats are the counts of one instance since the router met it.
type InstanceStats struct {
	InstanceGUID string `json:"instance_guid"`
	Addr         string `json:"addr"`
	InFlight     int64  `json:"in_flight"`
	Requests     uint64 `json:"requests"`
	Failures     uint64 `json:"failures"` // it could not be reached, or broke off
	Ejected      bool   `json:"ejected"`  // it gets nothing for a moment
	Gone         bool   `json:"gone"`     // left the table, still finishing
}

// Stats returns what the router counts for each instance.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	_, err := c.call(ctx, http.MethodGet, "/stats", nil, &s)
	return s, err
}

type drainRequest struct {
	Instances []string `json:"instances"`
	TimeoutMS int64    `json:"timeout_ms"`
	Table     uint64   `json:"table"` // a router with an older one does not follow
}

// OwnSocket is where the process of a router with the given control socket
// takes calls for itself, also while it drains and its successor has that.
func OwnSocket(socket string, pid int) string {
	return filepath.Join(filepath.Dir(socket), ownPrefix+strconv.Itoa(pid))
}

const ownPrefix = "r."

// OwnSockets returns the sockets of all processes that have, or had, the given
// control socket.
func OwnSockets(socket string) []string {
	all, err := filepath.Glob(filepath.Join(filepath.Dir(socket), ownPrefix+"[0-9]*"))
	if err != nil {
		return nil // a directory whose name looks like a pattern
	}
	return all
}

// Drain waits until none of the instances has a request in flight, in routers
// either that drain themselves; open WebSockets count. It does not take them
// out of the table. It returns ErrBusy when the time is over, and ctx's error
// if that ends first.
func (c *Client) Drain(ctx context.Context, instances []string, timeout time.Duration) error {
	end := time.Now().Add(timeout)
	others := OwnSockets(c.socket)
	busy := make(chan bool, len(others))
	for _, socket := range others {
		go func() {
			o := NewClient(socket)
			defer o.Close()
			// One that does not answer is gone, and its requests with it.
			busy <- errors.Is(o.drain(ctx, instances, c.table.Load(), timeout), ErrBusy)
		}()
	}
	err := c.drain(ctx, instances, c.table.Load(), timeout)
	for errors.Is(err, ErrBusy) && time.Until(end) > drainPause && ctx.Err() == nil {
		// That was a router on its way out; here is the next.
		time.Sleep(drainPause)
		err = c.drain(ctx, instances, c.table.Load(), time.Until(end))
	}
	for range others {
		if <-busy && err == nil {
			err = fmt.Errorf("%w: of a router that was replaced", ErrBusy)
		}
	}
	return err
}

// drainPause is how long a Drain waits for the next router.
const drainPause = 50 * time.Millisecond

func (c *Client) drain(ctx context.Context, instances []string, table uint64, timeout time.Duration) error {
	_, err := c.call(ctx, http.MethodPost, "/drain",
		drainRequest{Instances: instances, TimeoutMS: timeout.Milliseconds(), Table: table}, nil)
	return err
}

type controlError struct {
	Code string `json:"code"`
	Msg  string `json:"error"`
}

// The codes of control errors a client acts on.
const (
	codeOutOfSync = "out-of-sync"
	codeBusy      = "busy"
	codeInvalid   = "invalid"
)

func (c *Client) call(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encoding %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://router"+path, body)
	if err != nil {
		return nil, err
	}
	// All calls may be repeated, so a connection that died idle is no error.
	req.Header["Idempotency-Key"] = nil
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("calling the router: %w", err)
	}
	defer res.Body.Close()
	defer io.Copy(io.Discard, res.Body) //nolint:errcheck // only for reuse
	if res.StatusCode/100 != 2 {
		return nil, decodeControlError(method+" "+path, res)
	}
	if out == nil {
		return res.Header, nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return nil, fmt.Errorf("decoding %s %s: %w", method, path, err)
	}
	return res.Header, nil
}

func decodeControlError(call string, res *http.Response) error {
	var e controlError
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<16)).Decode(&e); err != nil {
		return fmt.Errorf("router: %s: %s", call, res.Status)
	}
	switch e.Code {
	case codeOutOfSync:
		return fmt.Errorf("%w: %s", ErrOutOfSync, e.Msg)
	case codeBusy:
		return fmt.Errorf("%w: %s", ErrBusy, e.Msg)
	default:
		return fmt.Errorf("router: %s: %s", call, e.Msg)
	}
}
