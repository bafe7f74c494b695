package release

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/judge"
	"weir/internal/platform"
	"weir/internal/store"
)

// Status is a rollout as a person looks at it.
type Status struct {
	Row      platform.Rollout
	Plan     Plan
	Progress Progress
	Figures  Figures
	// Missing are the usage goals that the step has not met.
	Missing []string
	// CouldSee is the smallest regression of the error rate that the
	// candidate's requests of this step would have shown with a probability of
	// 90 %, as a factor; 0 if none that is asked about would.
	CouldSee float64
	// Needed is how many requests of the candidate a regression of the plan's
	// detect factor takes.
	Needed int
}

// Status returns a rollout with everything known about it.
func (e *Engine) Status(ctx context.Context, guid string) (Status, error) {
	row, err := e.cfg.Store.Rollout(ctx, guid)
	if err != nil {
		return Status{}, err
	}
	return e.status(row)
}

// List returns the rollouts that q selects, as Status does.
func (e *Engine) List(ctx context.Context, q store.Query) ([]Status, int, error) {
	rows, total, err := e.cfg.Store.Rollouts(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	all := make([]Status, len(rows))
	for i, row := range rows {
		if all[i], err = e.status(row); err != nil {
			return nil, 0, err
		}
	}
	return all, total, nil
}

func (e *Engine) status(row platform.Rollout) (s Status, err error) {
	s.Row = row
	if s.Plan, err = readPlan(row.Plan); err != nil {
		return s, err
	}
	if s.Progress, err = readProgress(row.Progress); err != nil {
		return s, fmt.Errorf("reading what a rollout remembers: %w", err)
	}
	if len(row.Judge) == 0 {
		return s, nil
	}
	var j judge.Judge
	if err := j.UnmarshalBinary(row.Judge); err != nil {
		return s, err
	}
	s.Figures = figures(j.Verdict())
	if s.Progress.StepBegan.IsZero() {
		return s, nil
	}
	if !row.State.IsOver() {
		s.Missing = s.Progress.missing(&s.Plan, row.Step)
	}
	s.Needed, s.CouldSee = s.Progress.Auto, s.Progress.CouldSee
	return s, nil
}

// Events returns the transitions of a rollout in order.
func (e *Engine) Events(ctx context.Context, guid string) ([]platform.RolloutEvent, error) {
	all, _, err := e.cfg.Store.RolloutEvents(ctx, store.Query{In: map[string][]string{"rollout_guids": {guid}}})
	return all, err
}

// Replayed is what came of telling a new judge everything once more.
type Replayed struct {
	Entries int
	Bytes   int
	// Same says that it came to the same, bit by bit.
	Same    bool
	Verdict judge.Verdict
	// Evidence are the verdict's findings.
	Evidence Figures
	// Curve is the evidence as it grew, thinned out.
	Curve []CurvePoint
}

// CurvePoint is the evidence after some requests.
type CurvePoint struct {
	Stable, Candidate uint64 // requests so far
	Evidence          Figures
}

// curvePoints bounds how many points of a curve are returned.
const curvePoints = 200

// Replay tells a new judge what the one of the rollout was told.
func (e *Engine) Replay(ctx context.Context, guid string) (out Replayed, err error) {
	var row platform.Rollout
	var pieces []platform.RolloutEvidence
	err = e.cfg.Store.View(ctx, func(tx *store.Tx) error { // row and evidence of one moment
		if row, err = tx.Rollout(ctx, guid); err != nil {
			return err
		}
		pieces, _, err = tx.RolloutEvidence(ctx, store.Query{In: map[string][]string{"rollout_guids": {guid}}})
		return err
	})
	if err != nil || len(row.Judge) == 0 {
		return out, err
	}
	var kept judge.Judge
	if err := kept.UnmarshalBinary(row.Judge); err != nil {
		return out, err
	}
	var record bytes.Buffer
	for _, p := range pieces {
		record.Write(p.Data)
	}
	out.Bytes = record.Len()
	last := [2]judge.Totals{}
	j, err := judge.Replay(kept.Config(), record.Bytes(), func(_ int, j *judge.Judge) {
		out.Entries++
		s, c := j.Totals()
		if last == [...]judge.Totals{s, c} {
			return
		}
		last = [...]judge.Totals{s, c}
		out.Curve = append(out.Curve, CurvePoint{Stable: s.Requests, Candidate: c.Requests, Evidence: figures(j.Verdict())})
	})
	if err != nil {
		return out, err
	}
	out.Same, out.Verdict, out.Evidence = j.Equal(&kept), j.Verdict(), figures(j.Verdict())
	out.Curve = thin(out.Curve)
	return out, nil
}

func thin(curve []CurvePoint) []CurvePoint {
	if len(curve) <= curvePoints {
		return curve
	}
	out := make([]CurvePoint, 0, curvePoints)
	for i := range curvePoints {
		out = append(out, curve[i*(len(curve)-1)/(curvePoints-1)])
	}
	return out
}

// SimulateRequest asks how soon a regression would be found.
type SimulateRequest struct {
	AppGUID string
	Share   Percent
	// Ratio is how many times more requests of the candidate fail.
	Ratio float64
	// Rate is the share of the stable version's requests that fail. Zero: what
	// the app's last rollout saw, at least 1 %.
	Rate float64
	Plan Plan
}

// Simulated says how soon a regression would be found.
type Simulated struct {
	judge.Detection
	Rate  float64
	Share Percent
}

// simulateLimit is how many requests of the candidate Simulate plays through.
const simulateLimit = 60000

// Simulate returns after how many requests of the candidate a regression would
// be found. The same question gets the same answer.
func (e *Engine) Simulate(ctx context.Context, req SimulateRequest) (Simulated, error) {
	if err := req.Plan.complete(); err != nil {
		return Simulated{}, err
	}
	if req.Share <= 0 || req.Share >= 100 || req.Ratio <= 1 || req.Rate < 0 || req.Rate >= 1 {
		return Simulated{}, platform.Invalidf("a simulation takes a share between 0 and 100 percent, a ratio above 1 and a rate from 0 to 1")
	}
	if req.Rate == 0 {
		req.Rate = autoRate
		last, _, err := e.cfg.Store.Rollouts(ctx, store.Query{In: map[string][]string{"app_guids": {req.AppGUID}}, OrderBy: "number", Desc: true, PerPage: 5})
		if err != nil {
			return Simulated{}, err
		}
		for _, row := range slices.Backward(last) {
			if p, err := readProgress(row.Progress); err == nil && p.All[0].Requests >= 1000 {
				req.Rate = max(p.All[0].BadRate(), 0.0001)
			}
		}
	}
	d := judge.Detect(req.Plan.JudgeConfig(false, 1), req.Rate, req.Ratio, float64(req.Share)/100, simulateLimit)
	return Simulated{Detection: d, Rate: req.Rate, Share: req.Share}, nil
}

// Text says in a sentence what a simulation came to.
func (s *Simulated) Text() string {
	what := fmt.Sprintf("%s as many failures (%s instead of %s) at %s of the requests", times(s.Ratio), percent(min(1, s.Rate*s.Ratio)), percent(s.Rate), s.Share)
	switch {
	case s.P90 > 0:
		return fmt.Sprintf("%s would be caught after about %d requests to the new version, %d of them failed; nine times of ten within %d", what, s.Median, s.Failed, s.P90)
	case s.Median > 0:
		return fmt.Sprintf("%s would be caught after about %d requests to the new version in half of the cases, but not reliably within %d", what, s.Median, simulateLimit)
	}
	return fmt.Sprintf("%s would not be caught within %d requests to the new version", what, simulateLimit)
}

func times(r float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", r), "0"), ".") + " times"
}

func percent(rate float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", 100*rate), "0"), ".") + "%"
}

// Freezes returns the freezes that hold in a space, those that hold everywhere
// among them; of all spaces if space is empty.
func (e *Engine) Freezes(ctx context.Context, space string) ([]platform.Freeze, error) {
	q := store.Query{}
	if space != "" {
		q.In = map[string][]string{"space_guids": {"", space}}
	}
	all, _, err := e.cfg.Store.Freezes(ctx, q)
	return all, err
}

// AddFreeze forbids rollouts to begin or go on in a time of the week.
func (e *Engine) AddFreeze(ctx context.Context, who platform.Actor, space, window, reason string) (platform.Freeze, error) {
	if _, err := ParseWindow(window); err != nil {
		return platform.Freeze{}, err
	}
	f := platform.Freeze{Resource: platform.NewResource(e.cfg.Now().UTC()), SpaceGUID: space, Window: window, Reason: reason, CreatedBy: who}
	return f, e.cfg.Store.InsertFreeze(ctx, f)
}

// RemoveFreeze allows them again.
func (e *Engine) RemoveFreeze(ctx context.Context, guid string) error {
	return e.cfg.Store.DeleteFreeze(ctx, guid)
}

// IsGoingBack reports whether requests return to the version before as its
// instances get ready.
func (s *Status) IsGoingBack() bool { return s.Progress.isGoingBack() }

// StepText says what the step gives the candidate, or what that still has on the
// way back: "5%".
func (s *Status) StepText() string {
	if b := s.Progress.Back; s.Progress.isGoingBack() {
		return Percent(float64(whole-b.Stable) / 10).String()
	}
	return s.Plan.stepText(s.Row.Step)
}

// IsJudged reports whether the step gives requests to both versions by lot, so
// that they can be compared.
func (s *Status) IsJudged() bool {
	w := s.Plan.Steps[s.Row.Step].Weight
	return w > 0 && w < 100
}

// Bake returns how long the step takes at least.
func (s *Status) Bake() time.Duration { return s.Plan.bake(s.Row.Step) }
