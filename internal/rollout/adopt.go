package rollout

import (
	"context"
	"sync"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/store"
)

// adopt finds out what an earlier engine left: which instances still run,
// which ended, and which nobody wants (the strays). It returns the
// observations by app, for every app that needs a loop. Instances that ended
// are marked in their rows, so that the first route table is true.
func (e *Engine) adopt(ctx context.Context) (adopted map[string]map[string]*run, strays []runner.Status, err error) {
	statuses, err := e.listInstances(ctx)
	if err != nil {
		return nil, nil, err
	}
	rows, _, err := e.store.Instances(ctx, store.Query{})
	if err != nil {
		return nil, nil, err
	}
	found := map[string]runner.Status{}
	for _, s := range statuses {
		found[s.GUID] = s
	}
	adopted = map[string]map[string]*run{}
	var gone []platform.Instance
	for _, row := range rows {
		if adopted[row.AppGUID] == nil {
			adopted[row.AppGUID] = map[string]*run{}
		}
		s, ok := found[row.GUID]
		delete(found, row.GUID)
		if !ok || !s.Running {
			if isServing(row) {
				gone = append(gone, row)
			}
		}
		if ok {
			adopted[row.AppGUID][row.GUID] = observed(row, s)
		}
	}
	if err := e.unpublish(ctx, gone); err != nil {
		return nil, nil, err
	}
	if err := e.addUnfinished(ctx, adopted); err != nil {
		return nil, nil, err
	}
	for _, s := range found {
		if s.Process != "" { // builds have none; they are the stager's
			strays = append(strays, s)
		}
	}
	return adopted, strays, nil
}

// listInstances asks the runner until it answers: at the start of the machine
// the keeper may be a moment late.
func (e *Engine) listInstances(ctx context.Context) ([]runner.Status, error) {
	for try := 0; ; try++ {
		all, err := e.runner.List(ctx)
		if err == nil || try == 20 || platform.KindOf(err) != platform.KindUnavailable {
			return all, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// observed is what a runner's status says about an instance.
func observed(row platform.Instance, s runner.Status) *run {
	r := &run{phase: phaseUp, host: s.Endpoint.Host, port: s.Endpoint.Port, pid: s.PID, started: s.StartedAt, background: s.Background}
	r.healthy = row.State == platform.InstanceRunning
	r.ready = row.Ready
	if !s.Running {
		exit := platform.Exit{Code: -1, Reason: "ended while nobody watched", At: time.Now()}
		if s.Exit != nil {
			exit = *s.Exit
		}
		r.exit = &exit
	}
	return r
}

// unpublish makes instances that ended leave the rows the table is built from.
// Their state is the planner's business.
func (e *Engine) unpublish(ctx context.Context, gone []platform.Instance) error {
	if len(gone) == 0 {
		return nil
	}
	return e.store.Tx(ctx, func(tx *store.Tx) error {
		for _, row := range gone {
			row.Ready = false
			if err := tx.UpdateInstance(ctx, row); err != nil {
				return err
			}
		}
		return nil
	})
}

// addUnfinished adds the apps that have work to do but no instance.
func (e *Engine) addUnfinished(ctx context.Context, adopted map[string]map[string]*run) error {
	active, _, err := e.store.Deployments(ctx, store.Query{In: map[string][]string{"status_values": {platform.DeploymentActive}}})
	if err != nil {
		return err
	}
	started, _, err := e.store.Apps(ctx, store.Query{In: map[string][]string{"states": {string(platform.AppStarted)}}})
	if err != nil {
		return err
	}
	add := func(app string) {
		if adopted[app] == nil {
			adopted[app] = map[string]*run{}
		}
	}
	for _, d := range active {
		add(d.AppGUID)
	}
	for _, a := range started {
		add(a.GUID)
	}
	return nil
}

// stopStrays stops instances that no row wants.
func (e *Engine) stopStrays(ctx context.Context, strays []runner.Status) {
	var wg sync.WaitGroup
	for _, s := range strays {
		wg.Go(func() {
			if err := e.remove(ctx, s.GUID); err != nil {
				if ctx.Err() == nil {
					e.log.Error("an instance that nobody wants was not stopped", "instance", s.GUID, "app", s.AppGUID, "err", err)
				}
				return
			}
			e.log.Info("instance that nobody wants was stopped", "instance", s.GUID, "app", s.AppGUID)
		})
	}
	wg.Wait()
}

// sweepPeriod is how often strays are looked for. The first times come sooner:
// a runner that was asked to start something by an engine that was killed
// right then may list it only after the next engine asked for the list.
const sweepPeriod = time.Minute

// sweep looks for strays until ctx ends. An instance has its row before it is
// started and until it is removed, so one without a row is nobody's.
func (e *Engine) sweep(ctx context.Context) {
	for wait := time.Second; sleep(ctx, wait); wait = min(3*wait, sweepPeriod) {
		strays, err := e.strays(ctx)
		if err != nil {
			if ctx.Err() == nil {
				e.log.Warn("instances could not be compared with what is wanted", "err", err)
			}
			continue
		}
		e.stopStrays(ctx, strays)
	}
}

// strays returns the instances without a row.
func (e *Engine) strays(ctx context.Context) ([]runner.Status, error) {
	all, err := e.runner.List(ctx)
	if err != nil {
		return nil, err
	}
	rows, _, err := e.store.Instances(ctx, store.Query{}) // after the list: what started meanwhile has a row
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, row := range rows {
		wanted[row.GUID] = true
	}
	var strays []runner.Status
	for _, s := range all {
		if s.Process != "" && !wanted[s.GUID] { // builds have no process
			strays = append(strays, s)
		}
	}
	return strays, nil
}

// remove stops an instance and deletes what it left.
func (e *Engine) remove(ctx context.Context, guid string) error {
	if err := e.runner.Stop(ctx, guid, e.cfg.StopGrace); err != nil {
		return err
	}
	return e.runner.Remove(ctx, guid)
}
