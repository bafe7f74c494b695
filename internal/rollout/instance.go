package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/store"
)

// copySpec is everything an instance is made of, as its deployment's revision
// has it: a restart after a crash brings up the same program.
type copySpec struct {
	app      platform.App
	process  platform.Process
	revision platform.Revision
	droplet  platform.Droplet
	command  string
	names    names
	version  platform.Version // of the deployment, as far as it has one yet
}

// names are what the environment tells about where an app stands.
type names struct {
	space platform.Space
	org   platform.Organization
	uris  []string
}

// copySpec reads what an instance is made of.
func (e *Engine) copySpec(ctx context.Context, row platform.Instance) (copySpec, error) {
	var c copySpec
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		if c.app, err = tx.App(ctx, row.AppGUID); err != nil {
			return err
		}
		d, err := tx.Deployment(ctx, row.DeploymentGUID)
		if err != nil {
			return err
		}
		if c.revision, err = tx.Revision(ctx, d.RevisionGUID); err != nil {
			return err
		}
		if c.droplet, err = tx.Droplet(ctx, d.DropletGUID); err != nil {
			return err
		}
		if c.process, err = processOf(ctx, tx, c.revision, row); err != nil {
			return err
		}
		if c.version, err = versionAt(ctx, tx, c.app, d); err != nil {
			return err
		}
		c.names, err = namesOf(ctx, tx, c.app)
		return err
	})
	c.command = cmp.Or(c.process.Command, c.droplet.ProcessTypes[row.ProcessType])
	return c, err
}

// processOf returns the process as the revision has it; one that is newer than
// the revision as it is.
func processOf(ctx context.Context, tx *store.Tx, v platform.Revision, row platform.Instance) (platform.Process, error) {
	for _, p := range v.Processes {
		if p.Type == row.ProcessType {
			return p, nil
		}
	}
	return tx.Process(ctx, row.ProcessGUID)
}

// namesOf reads where an app stands and how it is reached.
func namesOf(ctx context.Context, tx *store.Tx, app platform.App) (n names, err error) {
	if n.space, err = tx.Space(ctx, app.SpaceGUID); err != nil {
		return n, err
	}
	if n.org, err = tx.Organization(ctx, n.space.OrganizationGUID); err != nil {
		return n, err
	}
	routes, _, err := tx.Routes(ctx, store.Query{In: map[string][]string{"live_app_guids": {app.GUID}}})
	for _, r := range routes {
		n.uris = append(n.uris, r.URL())
	}
	return n, err
}

// startInstance starts the process of an instance. What it cannot start leaves
// nothing behind.
func (e *Engine) startInstance(ctx context.Context, row platform.Instance) (runner.Status, error) {
	c, err := e.copySpec(ctx, row)
	if err != nil {
		return runner.Status{}, err
	}
	release, err := e.cfg.Droplets.Lease(c.droplet.Digest)
	if err != nil {
		return runner.Status{}, badDroplet(err)
	}
	defer release()
	if err := e.cfg.Droplets.CheckOnce(ctx, c.droplet.Digest); err != nil {
		return runner.Status{}, badDroplet(err)
	}
	tree, _ := e.cfg.Droplets.Tree(c.droplet.Digest)
	e.line(row.AppGUID, "CELL", "Starting instance %s", nameInstance(row))
	status, err := e.runner.Start(ctx, runner.Spec{
		GUID: row.GUID, AppGUID: row.AppGUID, Process: row.ProcessType, Index: row.Index,
		Tree: tree, Dir: "app",
		Args:     launch(e.cfg.Shell, c.command),
		Env:      func(at runner.Endpoint) []string { return e.environ(c, row, at) },
		MemoryMB: c.process.MemoryMB, DiskMB: c.process.DiskMB,
		Ports: 1, Grace: e.cfg.StopGrace,
	})
	if err != nil {
		if platform.KindOf(err) == platform.KindExhausted { // others count as crashes, and are told as such
			e.line(row.AppGUID, "CELL", "Instance %s could not be started: %s", nameInstance(row), reasonOf(err))
		}
		if ctx.Err() == nil && e.remove(ctx, row.GUID) != nil {
			e.log.Warn("an instance that did not start may have left something", "app", row.AppGUID, "instance", row.GUID)
		}
	}
	return status, err
}

// badDroplet says of a droplet that is not there any more, or damaged, also what
// to do: what is told of an instance has no room for a hint of its own.
func badDroplet(err error) error {
	e, ok := errors.AsType[*platform.Error](err)
	if !ok {
		return err
	}
	return &platform.Error{Kind: platform.KindInvalid, Msg: e.Msg + "; " + e.Hint, Err: err}
}

// nameInstance names an instance in the log: "0", or "worker 0".
func nameInstance(i platform.Instance) string {
	if i.ProcessType == platform.WebProcess {
		return strconv.Itoa(i.Index)
	}
	return fmt.Sprintf("%s %d", i.ProcessType, i.Index)
}

// drain waits until the router has no request of the instance in flight.
func (e *Engine) drain(ctx context.Context, row platform.Instance) {
	timeout := e.cfg.DrainTimeout
	if app, err := e.store.App(ctx, row.AppGUID); err == nil && app.Traffic.Drain > 0 {
		timeout = time.Duration(app.Traffic.Drain) * time.Second
	}
	err := e.cfg.Router.Drain(ctx, []string{row.GUID}, timeout)
	if err != nil && ctx.Err() == nil {
		e.line(row.AppGUID, "CELL", "Instance %s is stopped although requests are under way", nameInstance(row))
	}
}

// lastOutput is how long the output of an ended instance is waited for.
const lastOutput = 2 * time.Second

// takeAway stops an instance, waits for its last output and deletes the rest.
func (e *Engine) takeAway(ctx context.Context, guid string, pumps <-chan struct{}) error {
	began := time.Now()
	if err := e.runner.Stop(ctx, guid, e.cfg.StopGrace); err != nil {
		return err
	}
	if time.Since(began) >= e.cfg.StopGrace {
		e.tellForced(ctx, guid)
	}
	if pumps != nil {
		timer := time.NewTimer(lastOutput)
		defer timer.Stop()
		select {
		case <-pumps:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return e.runner.Remove(ctx, guid)
}

// tellForced tells the log of an app whose instance had to be killed, so that
// nobody wonders where the rest of its work went.
func (e *Engine) tellForced(ctx context.Context, guid string) {
	row, err := e.store.Instance(ctx, guid)
	if err != nil {
		return
	}
	all, err := e.runner.List(ctx)
	if err != nil {
		return
	}
	for _, s := range all {
		if s.GUID == guid && s.Exit != nil && s.Exit.Forced {
			e.line(row.AppGUID, "CELL", "Instance %s did not end within %s of SIGTERM and was killed", nameInstance(row), e.cfg.StopGrace)
		}
	}
}

// attach reads an instance's output and watches its health.
func (l *loop) attach(ctx context.Context, wg *sync.WaitGroup, guid string, r *run) {
	o := l.ops[guid]
	if o == nil {
		o = &operations{cancelStart: func() {}}
		l.ops[guid] = o
	}
	l.noteUp()
	o.pumps = make(chan struct{})
	probing, cancel := context.WithCancel(ctx)
	o.cancelProbe = cancel
	pid, started, healthy, ended := r.pid, r.started, r.healthy, r.exit != nil
	at := endpoint{r.host, r.port}
	pumps := o.pumps
	wg.Go(func() {
		defer close(pumps)
		row, err := l.e.store.Instance(ctx, guid)
		if err != nil {
			return
		}
		l.e.pump(ctx, row)
	})
	if ended {
		cancel()
		return
	}
	wg.Go(func() {
		defer cancel()
		p := &probe{
			at: at, pid: pid, started: started, healthy: healthy,
			report: func(f func(*run)) { l.observe(guid, r, f) },
		}
		l.probe(probing, guid, p)
	})
}

// probe runs the health checks of an instance.
func (l *loop) probe(ctx context.Context, guid string, p *probe) {
	for {
		row, err := l.e.store.Instance(ctx, guid)
		if isNotFound(err) {
			return
		}
		var c copySpec
		if err == nil {
			c, err = l.e.copySpec(ctx, row)
		}
		if err == nil {
			p.health, p.readiness = c.process.Health, c.process.Readiness
			p.note = func(format string, args ...any) {
				l.e.line(l.app, "CELL", "Instance "+nameInstance(row)+" "+format, args...)
			}
			p.run(ctx)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// observe has f change what is known of an instance, if it is still the one.
func (l *loop) observe(guid string, r *run, f func(*run)) {
	l.post(func() {
		if l.runs[guid] != r || r.exit != nil || r.phase != phaseUp {
			return
		}
		f(r)
		l.settle(r)
	})
}

// pump copies the output of an instance into the app's log until it ended, as
// far as its log rate limit goes.
func (e *Engine) pump(ctx context.Context, row platform.Instance) {
	if e.cfg.Logs == nil {
		return
	}
	stdout, stderr := e.runner.Logs(row.GUID)
	meta := logs.Envelope{
		App: row.AppGUID, SourceType: "APP/PROC/" + strings.ToUpper(row.ProcessType), Instance: strconv.Itoa(row.Index),
		Tags: e.logTags(ctx, row),
	}
	var wg sync.WaitGroup
	copyFIFO := func(path string, w io.WriteCloser) {
		err := logs.CopyFIFO(ctx, path, w)
		if err != nil && ctx.Err() == nil {
			e.log.Warn("the output of an instance cannot be read", "app", row.AppGUID, "instance", row.GUID, "err", err)
		}
	}
	errs := meta
	errs.Stderr = true
	quota := logs.NewQuota(platform.DefaultLogRateLimit)
	if c, err := e.copySpec(ctx, row); err == nil {
		quota = logs.NewQuota(c.process.LogRateLimit)
	}
	e.meters.Store(row.GUID, quota)
	defer e.meters.Delete(row.GUID)
	wg.Go(func() { copyFIFO(stdout, e.cfg.Logs.WriterWithin(meta, quota)) })
	wg.Go(func() { copyFIFO(stderr, e.cfg.Logs.WriterWithin(errs, quota)) })
	wg.Wait()
}

// logTags tell the lines of a version from those of others. The only version
// of an app that nobody gave a name needs none.
func (e *Engine) logTags(ctx context.Context, row platform.Instance) map[string]string {
	all, _, err := e.store.Versions(ctx, store.Query{In: map[string][]string{"app_guids": {row.AppGUID}}})
	if err != nil {
		return nil
	}
	for _, v := range all {
		if v.DeploymentGUID == row.DeploymentGUID && (v.Labelled || !v.Main) {
			return map[string]string{logs.TagVersion: v.Label}
		}
	}
	// What is to become the main version has its name from the deployment.
	if d, err := e.store.Deployment(ctx, row.DeploymentGUID); err == nil && d.Label != "" {
		return map[string]string{logs.TagVersion: d.Label}
	}
	return nil
}
