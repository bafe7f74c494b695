package release

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"weir/internal/judge"
	"weir/internal/platform"
	"weir/internal/store"
)

// Report tells of bad events that weir cannot see itself, such as orders that
// could not be paid.
type Report struct {
	// Versions are how many there were, by label or GUID of the version that
	// the requests behind them went to, those sent there on purpose left out.
	Versions map[string]uint64
	Event    string // what they are; "": it is not said
	Reason   string // for the record
}

const (
	maxReported  = 100000 // events of a version, in one report
	maxReason    = 500    // bytes
	reportsShown = 5
)

// Report tells the judge of bad events. They count at the share in force; see
// package judge for why that may hide something but accuses nobody.
//
// A single event may be told as it happens. More than one tells of a time, in
// which the other version had some as well, or none: as long as the judge does
// not know which, it would take them for a difference. So both must be named.
func (e *Engine) Report(ctx context.Context, who platform.Actor, guid string, r Report) (platform.Rollout, error) {
	if len(r.Reason) > maxReason {
		return platform.Rollout{}, platform.Invalidf("the reason of a report has at most %d bytes (got %d)", maxReason, len(r.Reason))
	}
	if r.Event != "" {
		if err := checkEvent(r.Event); err != nil {
			return platform.Rollout{}, err
		}
	}
	return e.command(ctx, guid, func(ctx context.Context, c *conductor) error {
		counts, err := c.counts(ctx, r.Versions)
		if err != nil {
			return err
		}
		if err := c.judges(r.Event); err != nil {
			return err
		}
		b := judge.Batch{
			Share:  c.p.Splits[len(c.p.Splits)-1].Share,
			Stable: judge.Counts{Custom: counts[0]}, Candidate: judge.Counts{Custom: counts[1]},
		}
		j, p, record := *c.judge, c.p, c.record
		c.judge.Add(&b)
		c.record = judge.AppendBatch(c.record, &b)
		for i, of := range []*judge.Counts{&b.Stable, &b.Candidate} {
			c.p.Custom[i] += counts[i]
			c.p.All[i].add(of)
			c.p.Step[i].add(of)
		}
		c.p.Reports = append(slices.Clone(c.p.Reports[max(len(c.p.Reports)-reportsShown+1, 0):]), Reported{
			At: e.cfg.Now().UTC(), By: who.Name, Event: r.Event, Reason: r.Reason, Stable: counts[0], Candidate: counts[1],
		})
		if err := c.keep(ctx); err != nil { // it was not told: whoever reports does so again
			*c.judge, c.p, c.record = j, p, record
			return fmt.Errorf("keeping a report: %w", err)
		}
		return nil
	})
}

// ReportToApp is Report to the app's rollout that is on its way.
func (e *Engine) ReportToApp(ctx context.Context, who platform.Actor, app string, r Report) (platform.Rollout, error) {
	all, _, err := e.cfg.Store.Rollouts(ctx, store.Query{In: map[string][]string{"app_guids": {app}, "active": {"true"}}, OrderBy: "number"})
	if err != nil {
		return platform.Rollout{}, err
	}
	for _, row := range all {
		if !row.State.IsOver() && row.State != platform.RolloutQueued {
			return e.Report(ctx, who, row.GUID, r)
		}
	}
	name := e.appName(ctx, app)
	return platform.Rollout{}, refuse("a push with a rollout begins one: weir push "+name+" --version v2 --steps 5,25,100",
		"app %q has no rollout on its way: there is nobody to judge", name)
}

// counts returns how many events there were of the stable version and of the
// candidate.
func (c *conductor) counts(ctx context.Context, versions map[string]uint64) (counts [2]uint64, err error) {
	var named [2]bool
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		which, n := 0, versions[name]
		switch name {
		case c.row.FromGUID, c.row.FromLabel:
		case c.row.ToGUID, c.row.ToLabel:
			which = 1
		default:
			return counts, refuse(fmt.Sprintf("it is between %s and %s", c.row.FromLabel, c.row.ToLabel),
				"version %q has no part in rollout r-%d of %s", name, c.row.Number, c.e.appName(ctx, c.row.AppGUID))
		}
		switch {
		case named[which]:
			return counts, platform.Invalidf("version %q is named twice", name)
		case n > maxReported:
			return counts, platform.Invalidf("a report tells of at most %d events of a version (got %d of %s)", maxReported, n, name)
		}
		counts[which], named[which] = n, true
	}
	switch other := c.row.FromLabel; {
	case counts[0]+counts[1] == 0:
		return counts, platform.Invalidf("the report tells of no event")
	case counts[0]+counts[1] > 1 && named[0] != named[1]:
		if named[0] {
			other = c.row.ToLabel
		}
		return counts, &platform.Error{
			Kind: platform.KindInvalid, Msg: fmt.Sprintf("the report does not say how many events %s had in the same time", other),
			Hint: fmt.Sprintf("counts are compared: name both versions, %s=0 if it had none; only a single event may come alone", other),
		}
	}
	return counts, nil
}

// judges refuses events that nobody could judge now.
func (c *conductor) judges(event string) error {
	custom := &c.plan.Judge.Custom
	n := len(c.p.Splits)
	switch {
	case c.judge.Config().CustomAlpha < 0:
		return refuse("its plan turns custom off, or leaves nothing of the 1% for it: weir help rollout shows a plan", "rollout r-%d does not judge reported events", c.row.Number)
	case !custom.counts(event):
		what := fmt.Sprintf("events called %q", event)
		if event == "" {
			what = "events without a name"
		}
		return refuse(fmt.Sprintf("its plan counts %q", custom.Events), "rollout r-%d does not count %s", c.row.Number, what)
	case c.isEnding():
		return refuse("its judge has nothing to decide any more", "rollout r-%d is decided", c.row.Number)
	case n == 0 || c.p.Splits[n-1].Share <= 0:
		return refuse("events count from the first step with a weight on", "%s gets no requests by lot yet: there is nothing to compare", c.row.ToLabel)
	case c.p.Splits[n-1].Share >= 1:
		return refuse("weir rollout abort takes it back, and weir rollback once it is done", "%s has all requests by now: there is nothing to compare", c.row.ToLabel)
	}
	return nil
}
