package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
	"weir/isolation"
)

// instanceTable is all instances, alive or ended and not removed.
type instanceTable struct {
	host  *isolation.Host
	cfg   Config
	dir   string
	wg    *sync.WaitGroup
	slots chan struct{} // as many starts at the same time as it has room

	starting sync.WaitGroup // starts that have begun

	mu        sync.Mutex // guards what follows
	instances map[string]*instance
	watchers  map[*watcher]bool
	ports     *pool
	uids      *pool
	closed    bool // no more starts
}

// instance is one of them.
type instance struct {
	meta  instanceMeta
	iso   *isolation.Instance // nil while only reserved
	ended chan struct{}       // closed when it ended

	mu       sync.Mutex // guards what follows
	status   runner.Status
	stopping bool // SIGTERM was sent
	last     sample
}

// instanceMeta is the keeper's part of what has to be known for adoption.
type instanceMeta struct {
	Status runner.Status
	Grace  time.Duration
	UID    int // 0: it is not ours to give back
}

const metaFile = "instance.json"

// sample is a CPU reading, to make a rate of the next one.
type sample struct {
	at   time.Time
	cpu  time.Duration
	rate float64
}

// portQuarantine is how long a port is not given to another instance: a
// router that still knows the old one must not reach the new one.
const portQuarantine = time.Minute

func newInstanceTable(host *isolation.Host, cfg Config, wg *sync.WaitGroup) *instanceTable {
	return &instanceTable{
		host: host, cfg: cfg, dir: filepath.Join(cfg.DataDir, "instances"), wg: wg,
		slots:     make(chan struct{}, 8),
		instances: map[string]*instance{}, watchers: map[*watcher]bool{},
		ports: newPool(cfg.Ports.First, cfg.Ports.Last-cfg.Ports.First+1, portQuarantine, portFree),
		uids:  newPool(cfg.InstanceUIDs.First, cfg.InstanceUIDs.Count, 0, nil),
	}
}

// adoptAll takes over what an earlier keeper started, and clears away what it
// only began.
func (t *instanceTable) adoptAll(ctx context.Context) error {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return fmt.Errorf("reading the instances: %w", err)
	}
	running := 0
	for _, e := range entries {
		guid := e.Name()
		if !isolation.ValidID(guid) {
			os.RemoveAll(filepath.Join(t.dir, guid)) // of a probe that was interrupted
			continue
		}
		inst, err := t.adopt(guid)
		if err != nil {
			t.cfg.Logger.Warn("instance that was not fully started is removed", "instance", guid, "err", err)
			if err := t.host.RemoveLeftover(guid); err != nil {
				t.cfg.Logger.Error("instance's files stay", "instance", guid, "err", err)
			}
			continue
		}
		running++
		t.instances[guid] = inst
		t.ports.use(inst.meta.Status.Endpoint.Port)
		t.uids.use(inst.meta.UID)
		t.watch(ctx, inst)
	}
	if running > 0 {
		t.cfg.Logger.Info("instances adopted", "count", running)
	}
	return nil
}

func (t *instanceTable) adopt(guid string) (*instance, error) {
	iso, err := t.host.Adopt(guid)
	if err != nil {
		return nil, err
	}
	inst := &instance{iso: iso, ended: make(chan struct{})}
	b, err := os.ReadFile(filepath.Join(t.dir, guid, metaFile))
	if err == nil {
		err = json.Unmarshal(b, &inst.meta)
	}
	if err != nil { // it runs, and nobody knows what it is
		iso.Destroy()
		iso.Wait(context.Background())
		iso.Close()
		return nil, err
	}
	inst.status = inst.meta.Status
	inst.status.Running = true
	inst.status.PID = iso.PID()
	inst.status.Background = iso.IsBackground()
	return inst, nil
}

// watch waits for the end of an instance.
func (t *instanceTable) watch(ctx context.Context, inst *instance) {
	t.wg.Go(func() {
		exit, err := inst.iso.Wait(ctx)
		if err != nil {
			return
		}
		e := platform.Exit{Code: exit.Code, Signal: exit.Signal, OOM: exit.OOM, Forced: exit.Forced, Lost: exit.IsLost(), Reason: inst.iso.Reason(exit), At: exit.At}
		inst.mu.Lock()
		inst.status.Running = false
		inst.status.Exit = &e
		inst.mu.Unlock()
		close(inst.ended)
		t.cfg.Logger.Info("instance ended", "instance", inst.meta.Status.GUID, "reason", e.Reason)
		t.announce(runner.Event{GUID: inst.meta.Status.GUID, Exit: e})
	})
}

// find returns an instance that was started, nil if there is none.
func (t *instanceTable) find(guid string) *instance {
	t.mu.Lock()
	defer t.mu.Unlock()
	if inst := t.instances[guid]; inst != nil && inst.iso != nil {
		return inst
	}
	return nil
}

// reserve gives an instance a place: an endpoint and a user.
func (t *instanceTable) reserve(s *runner.Spec) (*instance, error) {
	if !isolation.ValidID(s.GUID) {
		return nil, platform.Invalidf("%q cannot name an instance", s.GUID)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errStopping()
	}
	if t.instances[s.GUID] != nil {
		return nil, &platform.Error{Kind: platform.KindConflict, Msg: fmt.Sprintf("instance %q exists already", s.GUID)}
	}
	root := t.host.RootOf(isolation.Spec{ID: s.GUID, Tree: s.Tree, Root: s.Root})
	inst := &instance{ended: make(chan struct{})}
	end := runner.Endpoint{Root: root, Home: filepath.Join(root, "app"), IP: "127.0.0.1"}
	if s.Ports > 0 {
		port, ok := t.ports.take()
		if !ok {
			return nil, errNoPort(t.cfg.Ports)
		}
		end.Host, end.Port = "127.0.0.1", port
	}
	if isRoot() && (s.Tree != "" || t.host.Capabilities().Mapped) {
		uid, ok := t.uids.take()
		if !ok {
			t.ports.free(end.Port)
			return nil, &platform.Error{Kind: platform.KindExhausted, Msg: "no user ID is free for an instance"}
		}
		inst.meta.UID = uid
	}
	inst.meta.Grace = s.Grace
	inst.meta.Status = runner.Status{
		GUID: s.GUID, AppGUID: s.AppGUID, Process: s.Process, Index: s.Index, Endpoint: end,
	}
	inst.status = inst.meta.Status
	t.instances[s.GUID] = inst
	return inst, nil
}

// forget gives the place of an instance back.
func (t *instanceTable) forget(inst *instance) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.instances, inst.meta.Status.GUID)
	t.freeLocked(inst)
}

func (t *instanceTable) freeLocked(inst *instance) {
	t.ports.free(inst.meta.Status.Endpoint.Port)
	t.uids.free(inst.meta.UID)
}

// start runs the program of a reserved instance. When that fails, the place is
// given back.
func (t *instanceTable) start(ctx context.Context, inst *instance, s *runner.Spec, env []string) (runner.Status, error) {
	if !t.begin() {
		t.forget(inst)
		return runner.Status{}, errStopping()
	}
	defer t.starting.Done()
	t.slots <- struct{}{}
	defer func() { <-t.slots }()
	inst.meta.Status.StartedAt = time.Now()
	iso, err := t.launch(ctx, inst, s, env)
	if err != nil {
		t.forget(inst)
		return runner.Status{}, startError(err)
	}
	inst.mu.Lock()
	inst.status = inst.meta.Status
	inst.status.Running = true
	inst.status.PID = iso.PID()
	status := inst.status
	inst.mu.Unlock()
	t.mu.Lock()
	inst.iso = iso
	t.mu.Unlock()
	t.watch(ctx, inst)
	if s.Background {
		// One that has ended already is not found, and needs none of it.
		err := t.setBackground(s.GUID, true)
		if err != nil && platform.KindOf(err) != platform.KindNotFound {
			t.cfg.Logger.Warn("an instance does not give way to others", "instance", s.GUID, "err", err)
		}
		status.Background = err == nil
	}
	t.cfg.Logger.Info("instance started", "instance", s.GUID, "app", s.AppGUID, "pid", status.PID, "port", status.Endpoint.Port)
	return status, nil
}

// begin counts a start in, unless there are to be no more.
func (t *instanceTable) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.starting.Add(1)
	}
	return !t.closed
}

func errStopping() error {
	return &platform.Error{Kind: platform.KindUnavailable, Msg: "the platform is stopping"}
}

// launch writes down what the instance is, and starts it.
func (t *instanceTable) launch(ctx context.Context, inst *instance, s *runner.Spec, env []string) (*isolation.Instance, error) {
	dir := filepath.Join(t.dir, s.GUID)
	if err := os.Mkdir(dir, 0o711); err != nil {
		return nil, err
	}
	b, err := json.Marshal(inst.meta)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, metaFile), b, 0o600)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	iso, err := t.host.Start(ctx, t.isolationSpec(inst, s, env))
	if err != nil {
		t.host.RemoveLeftover(s.GUID)
		return nil, err
	}
	return iso, nil
}

// Bounds of the processes and threads of an instance that has a user for
// itself. A build runs as many compilers as the machine has processors, with
// some dozen threads each.
const (
	instanceProcesses = 1024
	buildProcesses    = 8192
)

func (t *instanceTable) isolationSpec(inst *instance, s *runner.Spec, env []string) isolation.Spec {
	spec := isolation.Spec{
		ID: s.GUID, Tree: s.Tree, Root: s.Root, Args: s.Args, Env: env, WorkDir: s.Dir,
		UID: t.cfg.UID, GID: t.cfg.GID, LogGID: t.cfg.GID,
		MemoryMB: s.MemoryMB, Timeout: s.Timeout,
	}
	if inst.meta.UID != 0 {
		spec.UID, spec.GID, spec.Processes = inst.meta.UID, inst.meta.UID, instanceProcesses
		if s.Root != "" {
			spec.Processes = buildProcesses
		}
	}
	// Nobody has business in the platform's own files, least of all when they
	// are the same user's. An app, or a build, may need what it runs of weir.
	spec.Hide, spec.Show = t.cfg.DataDir, []string{"bin"}
	return spec
}

// startError makes an error of a start one that a person understands.
func startError(err error) error {
	if bad, ok := errors.AsType[*isolation.CommandError](err); ok {
		return &platform.Error{Kind: platform.KindInvalid, Msg: bad.Error(), Err: bad.Err}
	}
	for _, no := range []struct {
		errno syscall.Errno
		msg   string
	}{
		{syscall.ENOSPC, "the disk is full"},
		{syscall.EDQUOT, "the disk quota is used up"},
		{syscall.ENOMEM, "the machine has no memory left"},
		{syscall.EAGAIN, "the machine has no room for more processes"},
		{syscall.EMFILE, "the keeper has no file descriptors left"},
		{syscall.ENFILE, "the machine has no file descriptors left"},
	} {
		if errors.Is(err, no.errno) {
			return &platform.Error{Kind: platform.KindExhausted, Msg: "instance cannot be started: " + no.msg, Err: err}
		}
	}
	return &platform.Error{Kind: platform.KindInternal, Msg: "instance cannot be started", Err: err}
}

// remove forgets an ended instance and deletes its files.
func (t *instanceTable) remove(guid string) error {
	t.mu.Lock()
	inst := t.instances[guid]
	if inst == nil {
		t.mu.Unlock()
		return nil
	}
	if !inst.hasEnded() {
		t.mu.Unlock()
		return &platform.Error{Kind: platform.KindConflict, Msg: fmt.Sprintf("instance %q is running", guid)}
	}
	delete(t.instances, guid) // so that another remove does nothing
	t.mu.Unlock()
	err := inst.iso.Remove()
	t.mu.Lock()
	t.freeLocked(inst)
	t.mu.Unlock()
	if err != nil {
		return fmt.Errorf("removing instance %s: %w", guid, err)
	}
	return nil
}
