// Package runnertest holds what tests of and with runners need: Sim, a runner
// in memory with knobs, and Run, the suite that every runner passes.
package runnertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
)

// Behaviour is what a simulated instance does. The zero value runs until it is
// stopped, and then ends at once by SIGTERM.
type Behaviour struct {
	// StartError makes Start fail with it.
	StartError error
	// StartDelay is how long Start takes.
	StartDelay time.Duration
	// CrashAfter ends the instance by itself after that time, with Exit.
	// Zero: never; negative: at once.
	CrashAfter time.Duration
	// Exit is how it ends by itself. At and an empty Reason are filled in.
	Exit platform.Exit
	// StopAfter is how long it takes to end after SIGTERM, with status 0. More
	// than the grace means that it is killed. Zero: at once, by SIGTERM.
	StopAfter time.Duration
	// Handler, if any, is served at the endpoint for as long as it runs.
	Handler http.Handler
	// Stats is what Stats returns.
	Stats runner.Stats
}

// Sim is a runner in memory. Its zero value is ready; set Behave before the
// first Start. It obeys the clock of a testing/synctest bubble, as long as no
// Behaviour has a Handler. It has no goroutines when no instance runs and
// nobody watches.
type Sim struct {
	// Behave says what an instance does; nil means the zero Behaviour, or what
	// the programs of the suite do.
	Behave func(runner.Spec) Behaviour
	// Dir is where Logs points; nothing is written there.
	Dir string

	mu        sync.Mutex
	instances map[string]*simInstance // guarded by mu
	watchers  map[*simWatcher]bool    // guarded by mu
	port      int                     // last one given; guarded by mu
	started   []runner.Spec           // guarded by mu
}

type simInstance struct {
	spec   runner.Spec
	does   Behaviour
	status runner.Status // guarded by Sim.mu
	server io.Closer     // nil without a Handler
	timers []*time.Timer // guarded by Sim.mu
	done   chan struct{} // closed when it ended
}

// Sim is a runner.Runner.
var _ runner.Runner = (*Sim)(nil)

// Started returns the Specs of all successful starts so far, in order.
func (s *Sim) Started() []runner.Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.started)
}

// Start implements runner.Runner.
func (s *Sim) Start(ctx context.Context, spec runner.Spec) (runner.Status, error) {
	does := s.behaviour(spec)
	inst := &simInstance{spec: spec, does: does, done: make(chan struct{})}
	if err := s.reserve(inst); err != nil {
		return runner.Status{}, err
	}
	if err := s.launch(ctx, inst); err != nil {
		s.mu.Lock()
		delete(s.instances, spec.GUID)
		s.mu.Unlock()
		return runner.Status{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = append(s.started, spec)
	inst.status.Running, inst.status.Background = true, spec.Background
	inst.status.StartedAt = time.Now()
	if does.CrashAfter != 0 {
		s.laterLocked(inst, max(does.CrashAfter, 0), does.Exit)
	}
	if spec.Timeout > 0 {
		s.laterLocked(inst, spec.Timeout, platform.Exit{
			Code: -1, Signal: "SIGKILL", Reason: fmt.Sprintf("timed out after %s", spec.Timeout),
		})
	}
	return inst.status, nil
}

func (s *Sim) behaviour(spec runner.Spec) Behaviour {
	if s.Behave != nil {
		return s.Behave(spec)
	}
	return programBehaviour(spec.Args)
}

// reserve enters the instance and gives it an endpoint.
func (s *Sim) reserve(inst *simInstance) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	spec := inst.spec
	if _, ok := s.instances[spec.GUID]; ok {
		return &platform.Error{Kind: platform.KindConflict, Msg: fmt.Sprintf("instance %q exists already", spec.GUID)}
	}
	if s.instances == nil {
		s.instances = map[string]*simInstance{}
	}
	s.instances[spec.GUID] = inst
	end := runner.Endpoint{Root: "/home/vcap", Home: "/home/vcap/app", IP: "127.0.0.1"}
	if spec.Ports > 0 {
		s.port++
		end.Host, end.Port = "127.0.0.1", 1024+s.port%60000
	}
	inst.status = runner.Status{
		GUID: spec.GUID, AppGUID: spec.AppGUID, Process: spec.Process, Index: spec.Index,
		PID: 100000 + len(s.started), Endpoint: end,
	}
	return nil
}

// launch does what takes time or can fail.
func (s *Sim) launch(ctx context.Context, inst *simInstance) error {
	if d := inst.does.StartDelay; d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if inst.does.StartError != nil {
		return inst.does.StartError
	}
	if inst.does.Handler != nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		srv := &http.Server{Handler: inst.does.Handler}
		go srv.Serve(l)
		inst.server = srv
		s.mu.Lock()
		inst.status.Endpoint.Host = "127.0.0.1"
		inst.status.Endpoint.Port = l.Addr().(*net.TCPAddr).Port
		s.mu.Unlock()
	}
	if inst.spec.Env != nil {
		inst.spec.Env(inst.status.Endpoint)
	}
	return nil
}

// laterLocked ends the instance after d, if it still runs then.
func (s *Sim) laterLocked(inst *simInstance, d time.Duration, exit platform.Exit) {
	inst.timers = append(inst.timers, time.AfterFunc(d, func() { s.end(inst, exit) }))
}

// Crash ends a running instance as if by itself, and reports whether it ran.
func (s *Sim) Crash(guid string, exit platform.Exit) bool {
	s.mu.Lock()
	inst := s.instances[guid]
	s.mu.Unlock()
	return inst != nil && s.end(inst, exit)
}

// Lose ends all Watch channels, as when the connection to a keeper breaks.
func (s *Sim) Lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watchers {
		w.cancel()
	}
}

func (s *Sim) end(inst *simInstance, exit platform.Exit) bool {
	if exit.At.IsZero() {
		exit.At = time.Now()
	}
	if exit.Signal != "" {
		exit.Code = -1
	}
	if exit.Reason == "" {
		exit.Reason = fmt.Sprintf("exited with status %d", exit.Code)
		if exit.Signal != "" {
			exit.Reason = "killed by " + exit.Signal
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !inst.status.Running {
		return false
	}
	inst.status.Running = false
	inst.status.Exit = &exit
	for _, t := range inst.timers {
		t.Stop()
	}
	if inst.server != nil {
		inst.server.Close()
	}
	close(inst.done)
	for w := range s.watchers {
		w.pushLocked(runner.Event{GUID: inst.spec.GUID, Exit: exit})
	}
	return true
}

// Stop implements runner.Runner.
func (s *Sim) Stop(ctx context.Context, guid string, grace time.Duration) error {
	s.mu.Lock()
	inst := s.instances[guid]
	if inst == nil || !inst.status.Running {
		s.mu.Unlock()
		return nil
	}
	if grace == 0 {
		grace = inst.spec.Grace
	}
	if grace == 0 {
		grace = runner.DefaultGrace
	}
	after, exit := inst.does.StopAfter, platform.Exit{}
	switch {
	case after == 0:
		exit = platform.Exit{Signal: "SIGTERM"}
	case after > grace:
		after, exit = grace, platform.Exit{Signal: "SIGKILL", Forced: true}
	}
	if after > 0 {
		s.laterLocked(inst, after, exit)
	}
	s.mu.Unlock()
	if after == 0 {
		s.end(inst, exit)
	}
	select {
	case <-inst.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Remove implements runner.Runner.
func (s *Sim) Remove(_ context.Context, guid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if inst := s.instances[guid]; inst != nil && inst.status.Exit == nil {
		return &platform.Error{Kind: platform.KindConflict, Msg: fmt.Sprintf("instance %q is running", guid)}
	}
	delete(s.instances, guid)
	return nil
}

// List implements runner.Runner.
func (s *Sim) List(context.Context) ([]runner.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []runner.Status
	for _, inst := range s.instances {
		if inst.status.Running || inst.status.Exit != nil {
			all = append(all, inst.status)
		}
	}
	slices.SortFunc(all, func(a, b runner.Status) int { return strings.Compare(a.GUID, b.GUID) })
	return all, nil
}

// Stats implements runner.Runner.
func (s *Sim) Stats(_ context.Context, guid string) (runner.Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	inst := s.instances[guid]
	if inst == nil || !inst.status.Running {
		return runner.Stats{}, platform.NotFound("Instance")
	}
	return inst.does.Stats, nil
}

// SetBackground implements runner.Runner.
func (s *Sim) SetBackground(_ context.Context, guid string, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	inst := s.instances[guid]
	if inst == nil || !inst.status.Running {
		return platform.NotFound("Instance")
	}
	inst.status.Background = on
	return nil
}

// Logs implements runner.Runner.
func (s *Sim) Logs(guid string) (stdout, stderr string) {
	return filepath.Join(s.Dir, guid, "stdout"), filepath.Join(s.Dir, guid, "stderr")
}

// simWatcher hands events to one Watch, however slow its reader is.
type simWatcher struct {
	events []runner.Event // guarded by Sim.mu
	wake   chan struct{}  // 1: an event more is no reason to wake twice
	cancel context.CancelFunc
}

func (w *simWatcher) pushLocked(e runner.Event) {
	w.events = append(w.events, e)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Watch implements runner.Runner.
func (s *Sim) Watch(ctx context.Context) (<-chan runner.Event, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &simWatcher{wake: make(chan struct{}, 1), cancel: cancel}
	s.mu.Lock()
	if s.watchers == nil {
		s.watchers = map[*simWatcher]bool{}
	}
	s.watchers[w] = true
	for _, inst := range s.instances {
		if inst.status.Exit != nil {
			w.pushLocked(runner.Event{GUID: inst.spec.GUID, Exit: *inst.status.Exit})
		}
	}
	s.mu.Unlock()
	out := make(chan runner.Event)
	go s.deliver(ctx, w, out)
	return out, nil
}

func (s *Sim) deliver(ctx context.Context, w *simWatcher, out chan<- runner.Event) {
	defer close(out)
	defer func() {
		w.cancel()
		s.mu.Lock()
		delete(s.watchers, w)
		s.mu.Unlock()
	}()
	for {
		s.mu.Lock()
		events := w.events
		w.events = nil
		s.mu.Unlock()
		for _, e := range events {
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		}
	}
}

// programBehaviour is what the programs of the suite do, by their text.
func programBehaviour(args []string) Behaviour {
	for _, p := range programs {
		if slices.Equal(p.args, args) {
			return p.does
		}
	}
	return Behaviour{}
}

// errNotFound is what a runner says about a program that is not there.
func errNotFound(name string) error {
	return &platform.Error{Kind: platform.KindInvalid, Msg: fmt.Sprintf("command not found: %q", name), Err: syscall.ENOENT}
}
