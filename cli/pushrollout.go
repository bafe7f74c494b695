package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"gopkg.in/yaml.v3"

	"weir/api/client"
	v3 "weir/api/v3"
)

// A push can bring its version in steps that are judged. What manifest and
// flags say about that is a plan; the server knows what it means.

// rolloutFlags are the flags that make or change a plan, of push and of what
// releases settings.
func rolloutFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "steps", Usage: "shares of the new version in percent, `LIST` such as 1,10,50,100"},
		&cli.StringFlag{Name: "bake", Usage: "`TIME` each step is judged at least: 5m"},
		&cli.StringFlag{Name: "min-requests", Usage: "requests a step must see, `NUMBER` or auto (default)"},
		&cli.IntFlag{Name: "min-clients", Usage: "clients a step must see, `NUMBER`"},
		&cli.StringFlag{Name: "min-endpoints", Usage: "share of the endpoints a step must see, `PERCENT`"},
		&cli.StringFlag{Name: "max-bake", Usage: "`TIME` a step may wait for usage before the rollout pauses: 2h"},
		&cli.StringFlag{Name: "warmup", Usage: "`TIME` at the beginning of a step that is no bake time: 30s"},
		&cli.StringFlag{Name: "gate", Usage: "`WHAT` opens each next step: approve, or a URL"},
		&cli.StringSliceFlag{Name: "probe", Usage: "`PATH` that the new version must answer before it gets requests; may be repeated"},
		&cli.StringFlag{Name: "on-fail", Usage: "`WHAT` to do when it is rejected: rollback (default), pause or report"},
		&cli.StringFlag{Name: "on-silence", Usage: "`WHAT` to do without enough usage: extend (default), promote or rollback"},
		&cli.StringFlag{Name: "keep-old", Usage: "`TIME` the old version runs on without requests: 1h"},
		&cli.StringFlag{Name: "concurrency", Usage: "`WHAT` to do with another rollout: supersede (default), queue or refuse"},
		&cli.StringFlag{Name: "hotfix", Usage: "`REASON` to go ten times as fast and through freezes; the judge stays as strict"},
	}
}

// planFlags are the keys of a plan that a flag sets as it is.
var planFlags = []string{"bake", "min-requests", "min-endpoints", "max-bake", "warmup", "on-fail", "on-silence", "keep-old", "concurrency", "hotfix"}

// isRollout reports whether a strategy is a rollout's and nothing of cf's.
func isRollout(strategy string) bool {
	return slices.Contains(rolloutPresets, strategy)
}

// rolloutPresets are the presets of plans, but for canary, which is cf's
// without other flags of a rollout.
var rolloutPresets = []string{"blue-green", "linear", "rings", "shadow", "all-at-once", "canary-10-5m", "linear-10-1m"}

// canRollOut reports whether a command has the flags of a rollout.
func (cmd *command) canRollOut() bool {
	return slices.ContainsFunc(cmd.flags, func(f cli.Flag) bool { return f.Names()[0] == "steps" })
}

// rollsOut reports whether a version is to be brought in judged steps.
func (c *call) rollsOut() bool {
	if !c.cmd.canRollOut() {
		return false
	}
	for _, f := range rolloutFlags() {
		if c.has(f.Names()[0]) {
			return true
		}
	}
	return isRollout(c.String("strategy")) || c.manifestRolls && !c.has("strategy")
}

// planRollsOut notes of which apps the manifest asks for a rollout.
func (c *call) planRollsOut(plan *pushPlan) {
	for _, item := range plan.apps {
		item.rolls = item.entry.has("rollout") && !c.Bool("no-traffic") && c.shadowPercent() == 0 && !c.has("weight") && !c.Bool("no-start")
	}
}

// rolloutPlan is what manifest and flags say; a flag goes first.
func (p *push) rolloutPlan() (json.RawMessage, error) {
	plan := map[string]any{}
	if p.item == nil { // nothing is pushed
		return p.c.planBy(plan)
	}
	if block := lookup(p.item.entry.node, "rollout"); block != nil {
		if block.Kind == yaml.ScalarNode {
			plan["preset"] = block.Value
		} else if block.Kind != yaml.MappingNode || block.Decode(&plan) != nil {
			return nil, withHint(usagef("rollout of app %s in the manifest is neither the name of a preset nor a block of keys", p.name), "weir help rollout shows a plan")
		}
	}
	return p.c.planBy(plan)
}

// planBy is a plan with what the flags say.
func (c *call) planBy(plan map[string]any) (json.RawMessage, error) {
	if name := c.String("strategy"); name != "" {
		plan["preset"] = name
		delete(plan, "steps")
	}
	for _, key := range planFlags {
		if c.has(key) {
			plan[key] = c.String(key)
		}
	}
	if c.has("min-clients") {
		plan["min-clients"] = c.Int("min-clients")
	}
	if list := c.StringSlice("probe"); len(list) > 0 {
		plan["probes"] = list
	}
	if c.has("steps") {
		steps := []map[string]any{}
		for part := range strings.SplitSeq(c.String("steps"), ",") {
			n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(part), "%"), 64)
			if err != nil {
				return nil, withHint(usagef("--steps %q are no steps", c.String("steps")), "write rising percentages: 1,10,50,100")
			}
			steps = append(steps, map[string]any{"weight": n})
		}
		plan["steps"] = steps
	}
	if gate := c.String("gate"); gate != "" {
		steps, ok := plan["steps"].([]map[string]any)
		if !ok {
			return nil, usagef("--gate needs --steps")
		}
		for _, s := range steps {
			if s["weight"] != 100.0 {
				s["gate"] = gate
			}
		}
	}
	return json.Marshal(plan)
}

// checkPlan refuses a plan that makes no sense, or that a freeze or another
// rollout forbids, before anything is uploaded for it. Of an app that does not
// run yet the plan is for later pushes.
func (p *push) checkPlan(ctx context.Context, app v3.App) error {
	c := p.c
	later := app.State != v3.AppStarted && p.item.entry.has("rollout") && !c.has("strategy")
	if !c.rollsOut() && !later {
		return nil
	}
	plan, err := p.rolloutPlan()
	if err != nil {
		return err
	}
	err = p.CheckRollout(ctx, app.GUID, plan)
	if err == nil || strings.Contains(err.Error(), strconv.Quote(p.name)) {
		return err
	}
	named := *asFailure(err) // a manifest may hold the plans of several apps
	named.msg = fmt.Sprintf("rollout of %s: %s", p.name, named.msg)
	return &named
}

// checkIdle refuses to replace the main version of an app while a rollout or
// the build of another push is on its way, before anything is changed or built
// for it.
func (s *session) checkIdle(ctx context.Context, sp space, name string) error {
	app, ok, err := s.AppByName(ctx, sp.GUID, name)
	if err != nil || !ok {
		return err
	}
	builds, err := s.Builds(ctx, client.Query(nil).In("app_guids", app.GUID).In("states", "STAGING"))
	if err != nil {
		return err
	}
	if len(builds) > 0 {
		return newFailure(exitConflict, "conflict", fmt.Sprintf("another push of %s is being built", name), "weir push "+name+" --attach watches it")
	}
	return s.checkNoRollout(ctx, app, "; with --steps the push is a rollout that takes its place")
}

// checkNoRollout refuses what would change the version that a rollout on its
// way compares another one with, before anything is done for it. more is added
// to the hint.
func (s *session) checkNoRollout(ctx context.Context, app v3.App, more string) error {
	r, ok, err := s.rolloutOf(ctx, app)
	if err != nil || !ok {
		return err
	}
	return newFailure(exitConflict, "conflict", fmt.Sprintf("app %q has rollout r-%d of %s on its way", app.Name, r.Number, r.To.Label),
		fmt.Sprintf("weir rollout abort %s takes %s back, weir rollout watch %s waits until it is over%s", app.Name, r.To.Label, app.Name, more))
}

// rolloutOf returns the rollout of an app that is on its way, if there is one.
func (s *session) rolloutOf(ctx context.Context, app v3.App) (v3.Rollout, bool, error) {
	all, err := s.AppRollouts(ctx, app.GUID)
	if err != nil {
		return v3.Rollout{}, false, err
	}
	i := slices.IndexFunc(all, func(r v3.Rollout) bool { return !r.Over && r.State != v3.RolloutQueued })
	if i < 0 {
		return v3.Rollout{}, false, nil
	}
	return all[i], true, nil
}

// rollOut begins the rollout of what was built and watches it.
func (p *push) rollOut(ctx context.Context, app v3.App, req v3.VersionCreate) error {
	plan, err := p.rolloutPlan()
	if err != nil {
		return err
	}
	r, err := p.CreateRollout(ctx, app.GUID, v3.RolloutCreate{VersionCreate: req, Plan: plan})
	if err != nil {
		return err
	}
	p.c.out.step("Rollout r-%d: %s is to replace %s", r.Number, r.To.Label, r.From.Label)
	p.at(fmt.Sprintf("rollout r-%d goes on", r.Number), "weir rollout watch "+p.name)
	if !p.c.Bool("no-wait") {
		if r, err = p.c.watchRollout(ctx, p.session, app.Name, r); err != nil {
			return err
		}
		p.began = time.Now() // rollouts take as long as they take
		p.at(r.To.Label+" is the main version", "weir app "+p.name+" shows what runs")
		if err := p.awaitOthers(ctx, app, r); err != nil {
			return err
		}
	}
	p.result.Rollout = r.GUID
	return p.finish(ctx, app)
}

// awaitOthers waits for the processes of an app that get no requests. Those of
// the new main version take the place of the others when a rollout is through,
// which had nothing to judge them by.
func (p *push) awaitOthers(ctx context.Context, app v3.App, r v3.Rollout) error {
	all, err := p.Processes(ctx, app.GUID)
	if err != nil {
		return err
	}
	for _, process := range all {
		if process.Type == "web" {
			continue
		}
		err := p.awaitInstances(ctx, app, process.GUID)
		if f, ok := errors.AsType[*failure](err); ok && f.code == "start-failed" {
			return newFailure(f.exit, f.code, fmt.Sprintf("%s is the main version, but its process %s does not start: %s", r.To.Label, process.Type, f.msg),
				fmt.Sprintf("those of %s go on working; weir rollback %s goes back to it, weir logs %s --recent shows why", r.From.Label, app.Name, app.Name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
