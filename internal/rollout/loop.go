package rollout

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// loop works for one app. Everything happens in its goroutine except the
// operations it starts, which report back by post. It exists as long as the
// app has instances or something to wait for.
type loop struct {
	e   *Engine
	app string

	mu    sync.Mutex
	inbox []func()      // guarded by mu
	up    []string      // instances with a process; guarded by mu
	sig   chan struct{} // one signal stands for any number

	// The rest belongs to the goroutine.

	runs map[string]*run
	ops  map[string]*operations
	// dirty counts the changes that may alter the route table, acked those
	// that the router has confirmed.
	dirty, acked uint64
	// commands are the start commands of each deployment's process types.
	commands map[string]map[string]string
	gone     bool // the app does not exist any more
}

// operations is what is under way for one instance.
type operations struct {
	cancelStart context.CancelFunc // while it waits for its turn to start
	cancelProbe context.CancelFunc
	pumps       chan struct{} // closed when all its output was read
}

func newLoop(e *Engine, app string) *loop {
	return &loop{
		e: e, app: app, sig: make(chan struct{}, 1),
		runs: map[string]*run{}, ops: map[string]*operations{}, commands: map[string]map[string]string{},
	}
}

// post has f run in the loop's goroutine, before the next plan.
func (l *loop) post(f func()) {
	l.mu.Lock()
	l.inbox = append(l.inbox, f)
	l.mu.Unlock()
	l.signal()
}

func (l *loop) signal() {
	select {
	case l.sig <- struct{}{}:
	default:
	}
}

// isWoken reports whether something waits to be done.
func (l *loop) isWoken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.inbox) > 0 || len(l.sig) > 0
}

// upNow returns the instances that have a process.
func (l *loop) upNow() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.up...)
}

// run works until ctx ends or nothing is left to wait for.
func (l *loop) run(ctx context.Context, adopted map[string]*run) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	for guid, r := range adopted {
		l.runs[guid] = r
		l.attach(ctx, &wg, guid, r)
	}
	l.publish(ctx, &wg)
	l.signal()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for retry := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-l.sig:
		case <-timer.C:
		}
		eager := l.drainInbox()
		wake, err := l.step(ctx, &wg, eager)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			retry = min(max(2*retry, 100*time.Millisecond), 5*time.Second)
			l.e.log.Error("an app could not be brought to its desired state, trying again", "app", l.app, "err", err, "in", retry)
			timer.Reset(retry)
			continue
		}
		retry = 0
		timer.Stop()
		if !wake.IsZero() {
			timer.Reset(max(0, time.Until(wake)))
			continue
		}
		if l.isIdle() && l.e.leave(l) {
			return
		}
	}
}

// isIdle reports whether no event can come from what the loop started.
func (l *loop) isIdle() bool { return len(l.runs) == 0 && l.dirty == l.acked }

// drainInbox runs what was posted and reports whether anything was.
func (l *loop) drainInbox() bool {
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range inbox {
		f()
	}
	return len(inbox) > 0
}

// step plans and acts until there is nothing to do but wait. It returns when
// to plan again, the zero time meaning when something happens. eager says that
// there probably is something to do.
//
// Every plan that is carried out was made inside the transaction that writes
// it down, so that nothing comes between. Whether there is more to do is told
// by planning on with what was written: who changes the rows wakes the loop.
func (l *loop) step(ctx context.Context, wg *sync.WaitGroup, eager bool) (wake time.Time, err error) {
	var w *world
	if !eager {
		err := l.e.store.View(ctx, func(tx *store.Tx) (err error) {
			w, err = l.load(ctx, tx)
			return err
		})
		if errors.Is(err, errAppGone) {
			l.abandon(ctx, wg)
			return time.Time{}, nil
		}
		if err != nil {
			return time.Time{}, err
		}
	}
	for {
		if w != nil {
			if p := makePlan(w); p.isEmpty() {
				return p.wake, nil
			}
		}
		var p plan
		err := l.e.store.Tx(ctx, func(tx *store.Tx) (err error) {
			if w, err = l.load(ctx, tx); err != nil {
				return err
			}
			p = makePlan(w)
			return l.e.commit(ctx, tx, w, p)
		})
		if errors.Is(err, errAppGone) {
			l.abandon(ctx, wg)
			return time.Time{}, nil
		}
		if err != nil {
			return time.Time{}, err
		}
		if p.isEmpty() {
			return p.wake, nil
		}
		l.act(ctx, wg, p)
		w.carryOut(p)
		w.now, w.acked = time.Now().UTC(), l.acked == l.dirty
	}
}

// carryOut makes the world what it is after a plan was written down.
func (w *world) carryOut(p plan) {
	for _, c := range p.changes {
		i := slices.IndexFunc(w.instances, func(i platform.Instance) bool { return i.GUID == c.guid })
		switch {
		case c.kind == changeInsert:
			w.instances = append(w.instances, c.row)
		case c.kind == changeUpdate && i >= 0:
			w.instances[i] = c.row
		case c.kind == changeDelete && i >= 0:
			w.instances = slices.Delete(w.instances, i, i+1)
		}
	}
	if p.deployment != nil {
		w.active = p.deployment
		if !p.deployment.IsActive() {
			w.active = nil
		}
	}
	if p.outcome != nil && p.outcome.serving != "" {
		w.app.DeploymentGUID = p.outcome.serving
	}
}

// errAppGone says that the app was deleted.
var errAppGone = errors.New("rollout: the app does not exist any more")

// load reads what the planner looks at.
func (l *loop) load(ctx context.Context, tx *store.Tx) (*world, error) {
	w := &world{
		now: time.Now().UTC(), runs: l.runs, acked: l.acked == l.dirty,
		commands: map[string]map[string]string{}, newGUID: platform.NewGUID,
	}
	var err error
	if w.app, err = tx.App(ctx, l.app); err != nil {
		if isNotFound(err) {
			return nil, errAppGone
		}
		return nil, err
	}
	byApp := store.Query{In: map[string][]string{"app_guids": {l.app}}}
	if w.processes, _, err = tx.Processes(ctx, byApp); err != nil {
		return nil, err
	}
	if err := reduceWeb(ctx, tx, w.processes); err != nil {
		return nil, err
	}
	if w.instances, _, err = tx.Instances(ctx, byApp); err != nil {
		return nil, err
	}
	active, _, err := tx.Deployments(ctx, store.Query{In: map[string][]string{
		"app_guids": {l.app}, "status_values": {platform.DeploymentActive},
	}})
	if err != nil {
		return nil, err
	}
	if w.sides, err = sidesOf(ctx, tx, l.app); err != nil {
		return nil, err
	}
	deployments := append(slices.Collect(maps.Keys(w.sides)), w.app.DeploymentGUID)
	if n := len(active); n > 0 {
		w.active = &active[n-1]
		deployments = append(deployments, w.active.GUID, w.active.PreviousGUID)
	}
	for _, guid := range deployments {
		if guid == "" {
			continue
		}
		if w.commands[guid], err = l.commandsOf(ctx, tx, guid); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// commandsOf returns the start commands of a deployment. They never change, a
// process type that came later apart.
func (l *loop) commandsOf(ctx context.Context, tx *store.Tx, deployment string) (map[string]string, error) {
	if c := l.commands[deployment]; c != nil {
		return c, nil
	}
	d, err := tx.Deployment(ctx, deployment)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := startCommands(ctx, tx, d)
	if err != nil {
		return nil, err
	}
	if len(l.commands) > 32 {
		clear(l.commands)
	}
	l.commands[deployment] = c
	return c, nil
}

// commit writes a plan down.
func (e *Engine) commit(ctx context.Context, tx *store.Tx, w *world, p plan) error {
	for _, c := range p.changes {
		var err error
		switch c.kind {
		case changeInsert:
			err = tx.InsertInstance(ctx, c.row)
		case changeUpdate:
			err = tx.RenewInstance(ctx, c.guid, c.row)
		case changeDelete:
			err = tx.DeleteInstance(ctx, c.guid)
		}
		if err != nil {
			return err
		}
	}
	if p.deployment != nil {
		if err := tx.UpdateDeployment(ctx, *p.deployment); err != nil {
			return err
		}
	}
	if p.outcome != nil {
		if err := e.conclude(ctx, tx, w.app, *p.deployment, *p.outcome); err != nil {
			return err
		}
	}
	for _, n := range p.notes {
		if err := e.noteEvent(ctx, tx, w.app, n); err != nil {
			return err
		}
	}
	return nil
}

// act does what a committed plan wants done.
func (l *loop) act(ctx context.Context, wg *sync.WaitGroup, p plan) {
	for _, n := range p.notes {
		l.e.noteLine(n)
	}
	if p.deployment != nil {
		l.e.deploymentLine(*p.deployment, p.outcome != nil)
	}
	for _, c := range p.changes {
		if c.kind == changeDelete || c.guid != c.row.GUID {
			l.forget(c.guid)
		}
		if r, o := l.runs[c.guid], l.ops[c.guid]; c.row.State == platform.InstanceStopping && r != nil && r.phase == phaseStart && o != nil {
			o.cancelStart()
		}
	}
	if p.traffic || p.outcome != nil && p.outcome.serving != "" { // the main version has another label
		l.publish(ctx, wg)
	}
	for _, a := range p.actions {
		switch a.kind {
		case actionStart:
			l.start(ctx, wg, a.row)
		case actionRetire:
			l.retire(ctx, wg, a.row, a.drain)
		case actionReap:
			l.reap(ctx, wg, a.row.GUID)
		case actionBackground:
			l.setBackground(ctx, wg, a.row.GUID, true)
		case actionForeground:
			l.setBackground(ctx, wg, a.row.GUID, false)
		}
	}
}

// publish has the router brought up to date and notes when it is.
func (l *loop) publish(ctx context.Context, wg *sync.WaitGroup) {
	l.dirty++
	n := l.dirty
	wg.Go(func() {
		if l.e.pub.sync(ctx, []string{l.app}, nil) == nil {
			l.post(func() { l.acked = max(l.acked, n) })
		}
	})
}

// forget drops what is known about an instance whose row is gone.
func (l *loop) forget(guid string) {
	if o := l.ops[guid]; o != nil && o.cancelProbe != nil {
		o.cancelProbe()
	}
	delete(l.runs, guid)
	delete(l.ops, guid)
	l.noteUp()
	l.e.mu.Lock()
	delete(l.e.homes, guid)
	l.e.mu.Unlock()
}

// noteUp keeps the list of instances with a process for other goroutines.
func (l *loop) noteUp() {
	var up []string
	for guid, r := range l.runs {
		if r.phase == phaseUp && r.exit == nil {
			up = append(up, guid)
		}
	}
	l.mu.Lock()
	l.up = up
	l.mu.Unlock()
}

// abandon takes away what is left of an app that was deleted.
func (l *loop) abandon(ctx context.Context, wg *sync.WaitGroup) {
	l.gone = true
	for guid, r := range l.runs {
		switch r.phase {
		case phaseUp:
			l.reap(ctx, wg, guid)
		case phaseStart:
			l.ops[guid].cancelStart()
		case phaseNone, phaseGone:
			l.forget(guid)
		}
	}
}

// sawExit notes that an instance ended.
func (l *loop) sawExit(guid string, exit platform.Exit) {
	r := l.runs[guid]
	if r == nil || r.exit != nil || r.phase == phaseGone {
		return
	}
	r.exit = &exit
	if o := l.ops[guid]; o != nil && o.cancelProbe != nil {
		o.cancelProbe()
	}
	l.noteUp()
}
