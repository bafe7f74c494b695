package cli

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

// rolloutActions are what can be done with a rollout.
var rolloutActions = map[string]func(c *call, ctx context.Context, r *rolloutCall) error{
	"list": (*call).rolloutList, "status": (*call).rolloutStatus, "watch": (*call).rolloutWatch, "why": (*call).rolloutWhy, "history": (*call).rolloutHistory,
	"replay": (*call).rolloutReplay, "simulate": (*call).rolloutSimulate,
	"pause": (*call).rolloutAct, "resume": (*call).rolloutAct, "promote": (*call).rolloutAct, "abort": (*call).rolloutAct,
	"retry": (*call).rolloutRetry, "report": (*call).rolloutReport,
}

// elsewhereActions says what to type for actions that others have.
var elsewhereActions = map[string]string{
	"start":    "weir push APP --version v2 --steps 5,25,100 starts one",
	"continue": "did you mean weir rollout promote?",
	"cancel":   "did you mean weir rollout abort?",
	"stop":     "did you mean weir rollout pause, or abort?",
	"undo":     "weir undo APP",
	"restart":  "weir restart APP",
	"rollback": "weir rollout abort APP, or weir rollback APP once it is done",
}

func rolloutCommands() []*command {
	return []*command{{
		name: "rollout", args: "ACTION APP [VERSION=COUNT...]", category: catVersions,
		usage: "look at and steer the way of a new version to all requests",
		examples: []string{
			"rollout watch web", "rollout why web", "rollout pause web --reason \"wait for Dana\"",
			"rollout promote web               # the next step; --full: all of them", "rollout list web",
			"rollout abort web", "rollout retry web", "rollout history web --number 31", "rollout replay web",
			"rollout simulate web --step 5% --error 5x", "rollout report web v2=3 v1=57 --event refund",
		},
		about: "ACTION is one of list, status, watch, why, history, replay, simulate, pause, resume, promote, abort, retry, report. They mean the " +
			"rollout that is on its way or, if there is none, the newest one; --number names another of those that list shows.\n\n" +
			"A step goes on when its bake time has passed while somebody looked, the usage it asks for was seen, the judge has " +
			"not rejected the new version, its gate is open and no freeze forbids it. Too little traffic never counts as consent: " +
			"the rollout then pauses and says what is missing. promote leaves out what the step still waits for, but neither the " +
			"judge nor a freeze. abort takes all requests back at once; those that the version before has no instances for, as scale-with-weight " +
			"may have it, follow as these get ready, unless --now does not wait for them. retry begins a rollout that was taken back, " +
			"aborted or paused once more, with the same version, as long as that is kept, and the same plan: for when the fault was elsewhere.\n\n" +
			"why says what happened, with counts, the first failed requests, their lines of the log and what can be done. replay tells a new judge everything the rollout's was told and says " +
			"whether it comes to the same, bit by bit. simulate says after how many requests a regression would be caught.\n\n" +
			"report tells the judge of bad events that no status shows, such as orders that were paid back: how many each version had since the last report, " +
			"or a version alone for a single event as it happens (weir rollout report web v2). An app tells of its own by an answer with X-Weir-Event: NAME, which no client sees. " +
			"The plan says which count: judge: {custom: {events: [refund]}}; without, all do.",
		flags: []cli.Flag{
			&cli.IntFlag{Name: "number", Usage: "the rollout with this `NUMBER`: 31 for r-31"},
			&cli.StringFlag{Name: "reason", Usage: "`TEXT` for the record"},
			&cli.StringFlag{Name: "event", Usage: "report: `NAME` of what happened, such as refund"},
			&cli.BoolFlag{Name: "full", Usage: "promote: leave out all steps that are left"},
			&cli.BoolFlag{Name: "now", Usage: "abort: wait for no instances of the version before"},
			&cli.StringFlag{Name: "step", Usage: "simulate: `SHARE` of the new version", Value: "5%"},
			&cli.StringFlag{Name: "error", Usage: "simulate: `RATIO` of failures, such as 5x", Value: "5x"},
			&cli.StringFlag{Name: "rate", Usage: "simulate: `SHARE` of requests that fail today; default: what the last rollout saw"},
			&cli.DurationFlag{Name: "wait-timeout", Usage: "watch: give up after `TIME` (exit code 7); the rollout goes on", Value: rolloutWait},
		},
		topic: drawPlan,
		run:   runRollout,
	}}
}

// rolloutCall is what an action is about.
type rolloutCall struct {
	*session
	app    v3.App
	action string
	r      v3.Rollout
	// simulation is what simulate is asked about, report what report tells.
	simulation v3.RolloutSimulate
	report     v3.EventReport
}

func runRollout(ctx context.Context, c *call) error {
	action := c.arg(0)
	run := rolloutActions[action]
	if run == nil {
		var known []string
		for a := range rolloutActions {
			known = append(known, a)
		}
		slices.Sort(known)
		hint := cmp.Or(elsewhereActions[action], didYouMean(action, known, "one of "+strings.Join(known, ", ")))
		return withHint(usagef("there is no action %q", action), hint)
	}
	r := &rolloutCall{action: action}
	var err error
	switch {
	case action == "simulate":
		r.simulation, err = c.simulation()
	case action == "report":
		r.report, err = c.report()
	case len(c.args) > 2:
		err = usagef("weir rollout %s takes an app, nothing else (got %q)", action, c.args[2])
	}
	if err != nil {
		return err
	}
	s, sp, err := c.open(ctx)
	if err != nil {
		return err
	}
	r.session = s
	if r.app, err = s.app(ctx, sp, c.arg(1)); err != nil {
		return err
	}
	if action != "simulate" && action != "list" {
		if err := r.find(ctx, c); err != nil {
			return err
		}
	}
	return run(c, ctx, r)
}

// find reads the rollout that is meant.
func (r *rolloutCall) find(ctx context.Context, c *call) error {
	all, err := r.AppRollouts(ctx, r.app.GUID)
	if err != nil {
		return err
	}
	for _, one := range slices.Backward(all) {
		switch {
		case c.has("number"):
			if one.Number == c.Int("number") {
				r.r = one
				return nil
			}
		case r.r.GUID == "" || !one.Over && one.State != v3.RolloutQueued:
			r.r = one
		}
	}
	if r.r.GUID == "" || c.has("number") {
		text := fmt.Sprintf("app %q has no rollout", r.app.Name)
		if c.has("number") {
			text += fmt.Sprintf(" r-%d", c.Int("number"))
		}
		return notFound("weir push "+r.app.Name+" --version v2 --steps 5,25,100 begins one", "%s", text)
	}
	return nil
}

// rolloutList shows the rollouts that an app remembers, the newest first.
func (c *call) rolloutList(ctx context.Context, r *rolloutCall) error {
	all, err := r.AppRollouts(ctx, r.app.GUID)
	if err != nil {
		return err
	}
	rows, names := []rolloutRow{}, []string{}
	for _, one := range slices.Backward(all) {
		rows = append(rows, rowOf(one))
		names = append(names, one.GUID)
	}
	return c.out.print("RolloutList", map[string]any{"rollouts": rows}, names, func(p *page) {
		if len(rows) == 0 {
			p.line("App " + r.app.Name + " has no rollouts.")
			return
		}
		var cells [][]string
		for _, v := range rows {
			step := "-"
			if v.Step > 0 {
				step = fmt.Sprintf("%d of %d", v.Step, v.Steps)
			}
			cells = append(cells, []string{fmt.Sprintf("r-%d", v.Number), v.From, v.To, words(v.State), step, v.Since.Local().Format(time.DateTime), v.Reason, v.GUID})
		}
		p.table("", append([]string{"rollout", "from", "to", "state", "step", "since", "why"}, p.more("guid")...), cells)
	})
}

func (c *call) rolloutStatus(_ context.Context, r *rolloutCall) error {
	return c.showRollout(r.app.Name, r.r)
}

func (c *call) rolloutHistory(ctx context.Context, r *rolloutCall) error {
	events, err := r.RolloutEvents(ctx, r.r.GUID)
	if err != nil {
		return err
	}
	rows := []rolloutEvent{}
	for _, e := range events {
		rows = append(rows, rolloutEvent{At: e.At.Time, State: e.State, Step: e.Step, Table: e.Table, Text: e.Text, Actor: e.Actor, Data: e.Data})
	}
	return c.out.print("RolloutHistory", map[string]any{"events": rows}, nil, func(p *page) {
		var cells [][]string
		for _, e := range rows {
			table := "-"
			if e.Table > 0 {
				table = strconv.FormatUint(e.Table, 10)
			}
			cells = append(cells, []string{onClock(e.At, time.TimeOnly, rows[0].At), e.State, strconv.Itoa(e.Step), table, e.Actor, e.Text})
		}
		p.table("", []string{"time", "state", "step", "table", "by", "what"}, cells)
	})
}

func (c *call) rolloutReplay(ctx context.Context, r *rolloutCall) error {
	got, err := r.ReplayRollout(ctx, r.r.GUID)
	if err != nil {
		return err
	}
	if got.Entries == 0 && !got.Same { // it never had a judge
		return notFound("weir rollout status "+r.app.Name, "rollout r-%d did not begin: there is nothing to replay", r.r.Number)
	}
	v := rolloutReplay{Entries: got.Entries, Bytes: got.Bytes, Same: got.Same, Rejected: got.Rejected, Evidence: evidences(got.Evidence), Curve: got.Curve}
	if err := c.out.print("RolloutReplay", map[string]any{"replay": v}, nil, func(p *page) {
		same := "the same, bit by bit"
		if !v.Same {
			same = "something else"
		}
		p.line(fmt.Sprintf("r-%d: %d entries (%d bytes) told to a new judge come to %s", r.r.Number, v.Entries, v.Bytes, same))
		drawEvidence(p, v.Evidence)
	}); err != nil {
		return err
	}
	if !v.Same {
		return newFailure(exitFailed, "replay-differs", "the replay does not come to what the rollout's judge did", "")
	}
	return nil
}

// maxRatio is how many times as many failures can be asked about.
const maxRatio = 1000

// simulation reads what a simulation is to be of.
func (c *call) simulation() (q v3.RolloutSimulate, err error) {
	percentage := func(flag string) (float64, error) {
		n, err := strconv.ParseFloat(strings.TrimSuffix(c.String(flag), "%"), 64)
		if err != nil || !(n > 0 && n < 100) {
			return 0, withHint(usagef("--%s %q is no percentage between 0%% and 100%%", flag, c.String(flag)), "write a share such as 5% or 0.5%")
		}
		return n, nil
	}
	if q.Share, err = percentage("step"); err != nil {
		return q, err
	}
	q.Ratio, err = strconv.ParseFloat(strings.TrimSuffix(c.String("error"), "x"), 64)
	if err != nil || !(q.Ratio > 1 && q.Ratio <= maxRatio) {
		return q, withHint(usagef("--error %q is no ratio of failures above 1x and up to %dx", c.String("error"), maxRatio), "write how many times as many fail: 5x or 1.5x")
	}
	if !c.has("rate") {
		return q, nil
	}
	if q.Rate, err = percentage("rate"); err != nil {
		return q, err
	}
	if q.Rate*q.Ratio > 100 {
		return q, usagef("--error %s of --rate %s is more than all requests", c.String("error"), c.String("rate"))
	}
	q.Rate /= 100
	return q, nil
}

func (c *call) rolloutSimulate(ctx context.Context, r *rolloutCall) error {
	s, err := r.SimulateRollout(ctx, r.app.GUID, r.simulation)
	if err != nil {
		return err
	}
	v := rolloutSimulation{Share: s.Share, Ratio: s.Ratio, Rate: s.Rate, Median: s.Median, P90: s.P90, Failed: s.Failed, Text: s.Text}
	return c.out.print("RolloutSimulation", map[string]any{"simulation": v}, nil, func(p *page) { p.line(s.Text) })
}

func (c *call) rolloutAct(ctx context.Context, r *rolloutCall) error {
	if r.action == "abort" && r.r.State == v3.RolloutDone {
		return refusedf("weir rollback "+r.app.Name+" takes it back", "rollout r-%d is through: %s is the main version", r.r.Number, r.r.To.Label)
	}
	idle := r.nothingToDo()
	got, err := r.ActOnRollout(ctx, r.r.GUID, r.action, v3.RolloutAction{Reason: c.String("reason"), Full: c.Bool("full"), Step: r.r.Step, Now: c.Bool("now")})
	if err != nil {
		return err
	}
	if idle != "" {
		c.out.step("Rollout r-%d %s: nothing has been changed", r.r.Number, idle)
	}
	if got.Returning {
		c.out.step("%s: weir rollout watch %s waits for it, --now does not", got.Explanation.What, r.app.Name)
	}
	return c.showRollout(r.app.Name, got)
}

// rolloutRetry begins a rollout once more.
func (c *call) rolloutRetry(ctx context.Context, r *rolloutCall) error {
	got, err := r.ActOnRollout(ctx, r.r.GUID, r.action, v3.RolloutAction{})
	if err != nil {
		return err
	}
	c.out.step("Rollout r-%d: %s is to replace %s, as in r-%d; weir rollout watch %s follows it", got.Number, got.To.Label, got.From.Label, r.r.Number, r.app.Name)
	return c.showRollout(r.app.Name, got)
}

// nothingToDo says why an action changes nothing, "" if it does.
func (r *rolloutCall) nothingToDo() string {
	switch paused := r.r.State == v3.RolloutPaused; {
	case r.action == "pause" && paused:
		return "is paused already"
	case r.action == "resume" && !paused:
		return "is not paused"
	case r.action == "abort" && r.r.Over:
		return "is over, it was " + words(r.r.State)
	}
	return ""
}

func (c *call) rolloutWatch(ctx context.Context, r *rolloutCall) error {
	wasOver := r.r.Over
	got, err := c.watchRollout(ctx, r.session, r.app.Name, r.r)
	if err != nil {
		return err
	}
	if !wasOver {
		if err := newPush(c, r.session, space{}, r.app.Name, "rollout watch").awaitOthers(ctx, r.app, got); err != nil {
			return err
		}
	}
	return c.showRollout(r.app.Name, got)
}

// rolloutWait is how long a rollout is watched: its plan says how long it
// takes.
const rolloutWait = 24 * time.Hour

// watchRollout follows a rollout until it is over. One that was taken back, or
// waits for a person, is a failure.
func (c *call) watchRollout(ctx context.Context, s *session, app string, r v3.Rollout) (v3.Rollout, error) {
	wait := rolloutWait
	if c.has("wait-timeout") {
		wait = c.Duration("wait-timeout")
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	last := ""
	for {
		now, err := persist(ctx, func(ctx context.Context) (v3.Rollout, error) { return s.Rollout(ctx, r.GUID, 1) })
		if err != nil {
			switch ctx.Err() {
			case context.Canceled:
				return r, newFailure(exitInterrupted, "interrupted", fmt.Sprintf("stopped watching rollout r-%d of %s, which goes on: it is %s", r.Number, app, words(r.State)), "weir rollout watch "+app)
			case context.DeadlineExceeded:
				return r, newFailure(exitTimedOut, "timed-out", fmt.Sprintf("rollout r-%d of %s is still %s; it goes on", r.Number, app, r.State), "weir rollout watch "+app)
			}
			return r, err
		}
		r = now
		text := fmt.Sprintf("%-12s %-6s %s", words(r.State), r.Share, r.Reason)
		if shape := digits.ReplaceAllString(text, "0"); shape != last { // counts that grow are the status line's
			c.out.step("%s", strings.TrimRight(text, " "))
			last = shape
		}
		c.out.setStatus("%s", rolloutLine(r))
		switch {
		case r.State == v3.RolloutDone:
			c.out.clearStatus()
			return r, nil
		case r.Over:
			c.out.clearStatus()
			return r, newFailure(exitRolledBack, "rolled-back", fmt.Sprintf("rollout r-%d of %s was %s: %s", r.Number, app, words(r.State), r.Reason), "weir rollout why "+app)
		case r.State == v3.RolloutPaused:
			c.out.clearStatus()
			return r, newFailure(exitTimedOut, "paused", fmt.Sprintf("rollout r-%d of %s is paused: %s", r.Number, app, r.Reason),
				fmt.Sprintf("weir rollout resume %s goes on waiting, promote goes on without, abort takes %s back", app, r.To.Label))
		}
	}
}

// digits are what a text may differ in and still say the same.
var digits = regexp.MustCompile(`[0-9]+`)

// rolloutLine is the state of a rollout in one line.
func rolloutLine(r v3.Rollout) string {
	if r.Step == 0 {
		return fmt.Sprintf("r-%d %s", r.Number, r.State)
	}
	c, s := r.StepUsage.Candidate, r.StepUsage.Stable
	line := fmt.Sprintf("step %d/%d %s  %s/%s  req %d  clients %d  err %s %.1f%% %s %.1f%%  p95 %.0f/%.0f ms",
		r.Step, r.Steps, r.Share, clock(r.BakedSeconds), clock(r.BakeSeconds), c.Requests, c.Clients,
		r.To.Label, 100*c.BadRate, r.From.Label, 100*s.BadRate, c.P95, s.P95)
	if e, ok := r.Evidence["errors"]; ok {
		line += fmt.Sprintf("  evidence %.1f/%.0f", e.Evidence, e.Limit)
	}
	return line
}

// clock writes seconds as minutes and seconds.
func clock(seconds float64) string { return fmt.Sprintf("%02d:%02d", int(seconds)/60, int(seconds)%60) }
