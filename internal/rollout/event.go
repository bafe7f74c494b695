package rollout

import (
	"context"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// target is what an event is about.
type target struct {
	guid, typ, name string
	space           string
}

func appTarget(a platform.App) target     { return target{a.GUID, "app", a.Name, a.SpaceGUID} }
func routeTarget(r platform.Route) target { return target{r.GUID, "route", r.Host, r.SpaceGUID} }

// event adds a line to the audit log, in the transaction of what it tells.
func (e *Engine) event(ctx context.Context, tx *store.Tx, who platform.Actor, typ string, about target, data map[string]any) error {
	return tx.InsertEvent(ctx, platform.Event{
		Resource: platform.NewResource(time.Now().UTC()), Type: typ, Actor: who,
		TargetGUID: about.guid, TargetType: about.typ, TargetName: about.name,
		Data: data, SpaceGUID: about.space,
	})
}

// noteEvent puts what happened to an instance into the audit log.
func (e *Engine) noteEvent(ctx context.Context, tx *store.Tx, app platform.App, n note) error {
	process := platform.Actor{GUID: n.row.ProcessGUID, Name: n.row.ProcessType, Type: "process"}
	data := map[string]any{"index": n.row.Index, "instance": n.row.GUID, "process_type": n.row.ProcessType}
	switch n.kind {
	case noteReady, noteNotReady:
		typ := "audit.app.process.ready"
		if n.kind == noteNotReady {
			typ = "audit.app.process.not-ready"
		}
		return e.event(ctx, tx, process, typ, appTarget(app), data)
	case noteLost:
		return nil
	}
	exit := n.row.LastExit
	data["reason"] = string(platform.InstanceCrashed)
	data["exit_status"] = exit.Code
	data["exit_description"] = exit.Reason
	data["crash_count"] = n.row.Crashes
	data["crash_timestamp"] = n.row.Since.Unix()
	if err := e.event(ctx, tx, process, "app.crash", appTarget(app), data); err != nil {
		return err
	}
	return e.event(ctx, tx, process, "audit.app.process.crash", appTarget(app), data)
}

// noteLine tells the app's log about an instance.
func (e *Engine) noteLine(n note) {
	i := n.row
	switch n.kind {
	case noteReady:
		e.line(i.AppGUID, "CELL", "Instance %s became healthy and ready", nameInstance(i))
	case noteNotReady:
		e.line(i.AppGUID, "CELL", "Instance %s is not ready: it gets no requests", nameInstance(i))
	case noteLost:
		e.line(i.AppGUID, "CELL", "Instance %s is started again (%s; that counts as no crash)", nameInstance(i), i.Details)
	case noteCrashed:
		again := ""
		switch wait := time.Until(i.NextStart).Round(time.Second); {
		case i.NextStart.IsZero():
			again = "; it is not started again"
		case wait > 0:
			again = "; it is started again in " + wait.String()
		}
		e.line(i.AppGUID, "CELL", "Instance %s crashed: %s%s", nameInstance(i), i.LastExit.Reason, again)
		e.log.Info("instance crashed", "app", i.AppGUID, "instance", i.GUID, "index", i.Index, "process", i.ProcessType,
			"crashes", i.Crashes, "reason", i.LastExit.Reason)
	}
}

// deploymentLine tells the app's log how a deployment goes on.
func (e *Engine) deploymentLine(d platform.Deployment, ended bool) {
	what := "Deployment " + d.GUID
	if d.Strategy == platform.StrategyStart {
		what = "Start"
	}
	switch {
	case ended && d.Error != "":
		e.line(d.AppGUID, "API", "%s failed: %s", what, d.Error)
		e.log.Warn("deployment failed", "app", d.AppGUID, "deployment", d.GUID, "strategy", d.Strategy, "reason", d.Error)
	case ended:
		e.line(d.AppGUID, "API", "%s ended: %s", what, d.Reason)
		e.log.Info("deployment ended", "app", d.AppGUID, "deployment", d.GUID, "strategy", d.Strategy, "reason", d.Reason)
	case d.Reason == platform.ReasonPaused:
		e.line(d.AppGUID, "API", "%s is paused at step %d", what, d.CanaryStep)
	}
}
