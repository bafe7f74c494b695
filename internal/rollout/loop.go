package rollout

import (
	"context"
	"errors"
	"sync"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
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
		l.drainInbox()
		wake, err := l.step(ctx, &wg)
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

func (l *loop) drainInbox() {
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range inbox {
		f()
	}
}

// step plans and acts until there is nothing to do but wait. It returns when
// to plan again, the zero time meaning when something happens.
func (l *loop) step(ctx context.Context, wg *sync.WaitGroup) (wake time.Time, err error) {
	for {
		var p plan
		err := l.e.store.View(ctx, func(tx *store.Tx) error {
			w, err := l.load(ctx, tx)
			if err == nil {
				p = makePlan(w)
			}
			return err
		})
		if isNotFound(err) {
			return time.Time{}, l.abandon(ctx, wg)
		}
		if err != nil || p.isEmpty() {
			return p.wake, err
		}
		// Plan again inside the transaction, so that nothing comes between.
		err = l.e.store.Tx(ctx, func(tx *store.Tx) error {
			w, err := l.load(ctx, tx)
			if err != nil {
				return err
			}
			p = makePlan(w)
			return l.e.commit(ctx, tx, w, p)
		})
		if err != nil && !isNotFound(err) {
			return time.Time{}, err
		}
		if err == nil {
			l.act(ctx, wg, p)
		}
	}
}

// load reads what the planner looks at.
func (l *loop) load(ctx context.Context, tx *store.Tx) (*world, error) {
	w := &world{
		now: time.Now().UTC(), runs: l.runs, acked: l.acked == l.dirty,
		commands: map[string]map[string]string{}, newGUID: platform.NewGUID,
	}
	var err error
	if w.app, err = tx.App(ctx, l.app); err != nil {
		return nil, err
	}
	byApp := store.Query{In: map[string][]string{"app_guids": {l.app}}}
	if w.processes, _, err = tx.Processes(ctx, byApp); err != nil {
		return nil, err
	}
	if w.instances, _, err = tx.Instances(ctx, byApp); err != nil {
		return nil, err
	}
	active, ok, err := tx.ActiveDeployment(ctx, l.app)
	if err != nil {
		return nil, err
	}
	deployments := []string{w.app.DeploymentGUID}
	if ok {
		w.active = &active
		deployments = append(deployments, active.GUID, active.PreviousGUID)
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
	if len(l.commands) > 8 {
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
	if p.traffic {
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
func (l *loop) abandon(ctx context.Context, wg *sync.WaitGroup) error {
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
	return nil
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

// errGivenUp says that a start was not wanted any more.
var errGivenUp = errors.New("rollout: not wanted any more")

// start starts an instance once it is its turn.
func (l *loop) start(ctx context.Context, wg *sync.WaitGroup, row platform.Instance) {
	l.runs[row.GUID] = &run{phase: phaseStart}
	turn, cancel := context.WithCancel(ctx)
	l.ops[row.GUID] = &operations{cancelStart: cancel}
	l.e.mu.Lock()
	l.e.homes[row.GUID] = l
	l.e.mu.Unlock()
	wg.Go(func() {
		defer cancel()
		settled := make(chan struct{})
		select {
		case l.e.starts <- struct{}{}:
			wg.Go(func() { l.e.keepTurn(ctx, settled) })
		case <-turn.Done():
			l.post(func() { l.started(ctx, wg, row, runner.Status{}, errGivenUp, settled) })
			return
		}
		status, err := l.e.startInstance(ctx, row)
		l.post(func() { l.started(ctx, wg, row, status, err, settled) })
	})
}

// slowStart is how long a starting instance may keep others from starting.
const slowStart = 2 * time.Second

// keepTurn gives the turn to start back once the instance settled, or takes
// its time.
func (e *Engine) keepTurn(ctx context.Context, settled <-chan struct{}) {
	timer := time.NewTimer(slowStart)
	defer timer.Stop()
	select {
	case <-settled:
	case <-timer.C:
	case <-ctx.Done():
	}
	<-e.starts
}

// started notes that an instance has a process, or why it has none.
func (l *loop) started(ctx context.Context, wg *sync.WaitGroup, row platform.Instance, s runner.Status, err error, settled chan struct{}) {
	r := l.runs[row.GUID]
	if r == nil {
		close(settled)
		return
	}
	if err != nil {
		close(settled)
		r.phase, r.startErr = phaseGone, err
		return
	}
	r.phase, r.host, r.port = phaseUp, s.Endpoint.Host, s.Endpoint.Port
	r.pid, r.started = s.PID, s.StartedAt
	r.settled = settled
	l.attach(ctx, wg, row.GUID, r)
}

// retire takes an instance out of the table, drains it and stops it.
func (l *loop) retire(ctx context.Context, wg *sync.WaitGroup, row platform.Instance, drain bool) {
	l.takeAway(ctx, wg, row.GUID, func() error {
		l.e.line(l.app, "CELL", "Stopping instance %s", nameInstance(row))
		if err := l.e.pub.sync(ctx, []string{l.app}, nil); err != nil {
			return err
		}
		if drain {
			l.e.drain(ctx, row)
		}
		return nil
	})
}

// reap takes away what is left of an instance that crashed or is not well.
func (l *loop) reap(ctx context.Context, wg *sync.WaitGroup, guid string) {
	l.takeAway(ctx, wg, guid, func() error { return nil })
}

func (l *loop) takeAway(ctx context.Context, wg *sync.WaitGroup, guid string, before func() error) {
	r := l.runs[guid]
	if r == nil {
		r = &run{}
		l.runs[guid] = r
	}
	r.phase = phaseStop
	l.settle(r)
	o := l.ops[guid]
	if o == nil {
		o = &operations{}
		l.ops[guid] = o
	}
	if o.cancelProbe != nil {
		o.cancelProbe()
	}
	l.noteUp()
	wg.Go(func() {
		err := before()
		if err == nil {
			err = l.e.takeAway(ctx, guid, o.pumps)
		}
		if err != nil && ctx.Err() == nil {
			l.e.log.Error("an instance could not be taken away, trying again", "app", l.app, "instance", guid, "err", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			l.post(func() { r.phase = phaseUp })
			return
		}
		if ctx.Err() == nil {
			l.post(func() {
				r.phase = phaseGone
				if l.gone {
					l.forget(guid)
				}
			})
		}
	})
}

// settle lets the next instance start.
func (l *loop) settle(r *run) {
	if r.settled != nil {
		close(r.settled)
		r.settled = nil
	}
}
