package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"

	"weir/internal/platform"
	"weir/internal/runner"
)

// maxSocketPath is what the kernel takes as the path of a unix socket.
const maxSocketPath = 107

// listenControl opens the control socket. Only the keeper's own user and the
// children's can connect.
func (k *Keeper) listenControl() (*net.UnixListener, error) {
	path := filepath.Join(k.runDir(), "keeper.sock")
	if len(path) > maxSocketPath {
		return nil, &platform.Error{
			Kind: platform.KindInvalid,
			Msg:  fmt.Sprintf("the path of the data directory is too long for a socket in it: %q has %d bytes, %d are possible", path, len(path), maxSocketPath),
			Hint: "choose a shorter one with --data",
		}
	}
	// The lock is ours: whatever is there is nobody's.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	err = os.Chmod(path, 0o600)
	if err == nil && isRoot() {
		err = os.Chown(path, k.cfg.UID, k.cfg.GID)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	return l, nil
}

// serveControl answers requests until the listener is closed, and then waits
// for those it is answering. ctx ends what would go on for ever.
func (k *Keeper) serveControl(ctx context.Context, l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				k.log.Error("control socket failed", "err", err)
			}
			return
		}
		if uid, err := peerUID(conn); err != nil || !k.trusts(uid) {
			k.log.Warn("request from a stranger refused", "uid", uid, "err", err)
			conn.Close()
			continue
		}
		k.wg.Go(func() {
			defer conn.Close()
			k.serve(ctx, conn)
		})
	}
}

func (k *Keeper) trusts(uid int) bool {
	return uid == 0 || uid == os.Geteuid() || (isRoot() && uid == k.cfg.UID)
}

// serve answers the one request of a connection.
func (k *Keeper) serve(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	enc, dec := json.NewEncoder(conn), json.NewDecoder(conn)
	var req runner.Request
	if dec.Decode(&req) != nil {
		return // it went away
	}
	var reply runner.Reply
	var err error
	switch req.Op {
	case runner.OpStart:
		reply, err = k.serveStart(ctx, req, enc, dec)
	case runner.OpStop:
		if inst := k.table.find(req.GUID); inst != nil {
			err = k.table.stop(inst, req.Grace)
		}
	case runner.OpRemove:
		err = k.table.remove(req.GUID)
	case runner.OpList:
		reply.List = k.table.list()
	case runner.OpStats:
		var stats runner.Stats
		stats, err = k.table.stats(req.GUID)
		reply.Stats = &stats
	case runner.OpBackground:
		err = k.table.setBackground(req.GUID, req.On)
	case runner.OpReplace:
		err = k.Replace(ctx)
	case runner.OpWatch:
		k.serveWatch(ctx, conn, enc)
		return
	default:
		err = &platform.Error{Kind: platform.KindBadRequest, Msg: fmt.Sprintf("unknown operation %q", req.Op)}
	}
	if err != nil {
		if platform.KindOf(err) == platform.KindInternal {
			k.log.Error("request failed", "op", req.Op, "instance", req.GUID, "err", err)
		}
		reply = runner.Reply{Error: runner.NewReplyError(err)}
	}
	enc.Encode(reply) // whoever asked may have gone
}

// serveStart reserves, says where, waits for the environment, and starts.
func (k *Keeper) serveStart(ctx context.Context, req runner.Request, enc *json.Encoder, dec *json.Decoder) (runner.Reply, error) {
	if req.Spec == nil {
		return runner.Reply{}, &platform.Error{Kind: platform.KindBadRequest, Msg: "a start needs a spec"}
	}
	inst, err := k.table.reserve(req.Spec)
	if err != nil {
		return runner.Reply{}, err
	}
	var run runner.Request
	err = enc.Encode(runner.Reply{Status: &inst.meta.Status})
	if err == nil {
		err = dec.Decode(&run)
	}
	if err == nil && run.Op != runner.OpRun {
		err = fmt.Errorf("got %q in place of %q", run.Op, runner.OpRun)
	}
	if err != nil {
		// As a rule the controller is being replaced: the next one asks again.
		k.table.forget(inst)
		k.log.Info("start given up", "instance", req.Spec.GUID, "err", err)
		return runner.Reply{}, &platform.Error{Kind: platform.KindUnavailable, Msg: "the start was given up", Err: err}
	}
	status, err := k.table.start(ctx, inst, req.Spec, run.Env)
	return runner.Reply{Status: &status}, err
}

// watcher collects events for one client, however slow it is.
type watcher struct {
	events []runner.Event // guarded by instanceTable.mu
	wake   chan struct{}  // 1: an event more is no reason to wake twice
}

// announce hands an event to all watchers.
func (t *instanceTable) announce(e runner.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.watchers {
		w.events = append(w.events, e)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// addWatcher returns a watcher that begins with what has ended before.
func (t *instanceTable) addWatcher() *watcher {
	w := &watcher{wake: make(chan struct{}, 1)}
	t.mu.Lock()
	t.watchers[w] = true
	t.mu.Unlock()
	// One that ends just now may come twice; none is missed.
	var ended []runner.Event
	for _, s := range t.list() {
		if s.Exit != nil {
			ended = append(ended, runner.Event{GUID: s.GUID, Exit: *s.Exit})
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w.events = slices.Concat(ended, w.events)
	return w
}

func (t *instanceTable) removeWatcher(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watchers, w)
}

func (t *instanceTable) takeEvents(w *watcher) []runner.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	events := w.events
	w.events = nil
	return events
}

// serveWatch sends events until the client or ctx ends.
func (k *Keeper) serveWatch(ctx context.Context, conn net.Conn, enc *json.Encoder) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := k.table.addWatcher()
	defer k.table.removeWatcher(w)
	k.wg.Go(func() {
		defer cancel()
		conn.Read(make([]byte, 1)) // it says nothing more: this is its end
	})
	err := enc.Encode(runner.Reply{})
	for err == nil {
		for _, e := range k.table.takeEvents(w) {
			if err = enc.Encode(runner.Reply{Event: &e}); err != nil {
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
