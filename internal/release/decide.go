package release

import (
	"fmt"
	"strings"
	"time"

	"weir/internal/judge"
	"weir/internal/platform"
)

// verb is what a decision says to do.
type verb int

const (
	stay     verb = iota // nothing; Reason may say what is waited for
	enter                // go to State at Step, leaving the traffic alone
	scale                // start instances for Step, then enter scaling
	shift                // publish the shares of Step and let the candidate warm up
	promote              // make the candidate the main version
	resize               // have the stable version run with Instances; 0: with all
	giveBack             // publish a greater weight of the stable version on the way back
	rollBack             // take all requests from the candidate
	pause                // leave everything as it is until somebody says how it goes on
)

// decision is what to do next about a rollout, and why.
type decision struct {
	verb  verb
	state platform.RolloutState // for enter
	step  int                   // for enter, scale and shift
	// instances are for resize, weight of the stable version is for giveBack and
	// resize, haste for rollBack.
	instances, weight int
	haste             haste
	reason            string
	stream            string // the evidence that decided, if any did
	// differs says that the answers of a shadow are the reason.
	differs bool
}

// world is everything a decision looks at.
type world struct {
	now  time.Time
	r    *platform.Rollout
	plan *Plan
	p    *Progress
	app  string // its name, for the commands in a reason
	// unreached says that no route leads to the app.
	unreached bool
	// candidate is nil if there is no such version any more.
	candidate *platform.VersionStatus
	stable    *platform.VersionStatus // nil if it is not known
	verdict   judge.Verdict
	// stopped says that the app was, all its versions with it.
	stopped bool
	// frozen says which freeze forbids steps; empty: none does.
	frozen string
	// moved says what somebody else did to the shares; empty: nothing.
	moved string
	// killed says that the platform was killed and has just come back.
	killed bool
	// since is when the rollout was taken up: what should have happened while
	// the platform was away is not late. returning says that no instance of the
	// candidate was ready since then.
	since     time.Time
	returning bool
}

// killGrace is how long after the beginning of a step the end of the whole
// platform is thought to be the candidate's doing.
const killGrace = time.Minute

// crashLoop is how many crashes in a row are no accident.
const crashLoop = 3

// probeLimit is how many probes in a row may fail.
const probeLimit = 3

// decide says what to do next. It is a pure function, so that every decision
// can be tested, and made again from the record.
func decide(w *world) decision {
	if w.r.State.IsOver() || w.r.State == platform.RolloutQueued {
		return decision{}
	}
	if d := w.guard(); d.verb != stay {
		return d
	}
	if d := w.capacity(); d.verb != stay {
		return d
	}
	if w.hasTraffic() && w.candidate.Ready == 0 && w.r.State != platform.RolloutPaused {
		return decision{reason: fmt.Sprintf("waits until an instance of %s is ready again%s", w.r.ToLabel, because(w.candidate))}
	}
	switch w.r.State {
	case platform.RolloutStarting:
		if w.isReady(1) && w.candidate.Ready >= w.candidate.Wanted {
			return decision{verb: enter, state: platform.RolloutProbing, reason: fmt.Sprintf("%d of %d instances are ready", w.candidate.Ready, w.candidate.Wanted)}
		}
		if d := w.timeOut("the candidate was not ready after %s", rollBack); d.verb != stay {
			return d
		}
		return decision{reason: fmt.Sprintf("%d of %d instances are ready%s", w.candidate.Ready, w.candidate.Wanted, because(w.candidate))}
	case platform.RolloutProbing:
		return w.afterProbes()
	case platform.RolloutScaling:
		if w.isReady(w.need(w.r.Step)) && w.hasRegrown(w.r.Step) {
			return w.begin(w.r.Step)
		}
		return w.timeOut("the instances for this step were not ready after %s", pause)
	case platform.RolloutWarming:
		if w.p.Skip || w.p.Full || w.now.Sub(w.r.Since) >= w.warmup() {
			return decision{verb: enter, state: platform.RolloutBaking, step: w.r.Step, reason: "warmed up"}
		}
	case platform.RolloutBaking:
		return w.afterBake()
	case platform.RolloutWaiting:
		return w.afterGate()
	case platform.RolloutFinishing:
		return decision{verb: enter, state: platform.RolloutDone, step: w.r.Step, reason: w.r.Reason}
	case platform.RolloutRollingBack:
		return w.goingBack()
	}
	return decision{}
}

// ending returns the state that a rollback leads to.
func (w *world) ending() platform.RolloutState {
	if w.p.Before.IsOver() {
		return w.p.Before
	}
	return platform.RolloutRolledBack
}

// state is the state that counts: of a paused rollout the one it is to go on
// with.
func (w *world) state() platform.RolloutState {
	if w.r.State == platform.RolloutPaused {
		return w.p.Before
	}
	return w.r.State
}

// hasTraffic reports whether requests may go to the candidate.
func (w *world) hasTraffic() bool {
	switch w.state() {
	case platform.RolloutWarming, platform.RolloutBaking, platform.RolloutWaiting:
		return true
	case platform.RolloutScaling:
		return !w.p.StepBegan.IsZero()
	}
	return false
}

// guard decides what needs no statistics, and what the judge has decided.
func (w *world) guard() decision {
	switch w.r.State {
	case platform.RolloutFinishing, platform.RolloutRollingBack:
		return decision{}
	}
	isPaused := w.r.State == platform.RolloutPaused
	if why := w.broken(); why != "" {
		return decision{verb: rollBack, step: w.r.Step, haste: atOnce, reason: why}
	}
	if w.p.GateClosed {
		return decision{verb: rollBack, step: w.r.Step, reason: "the gate said no: " + w.p.GateText}
	}
	if w.verdict.Rejected && !w.p.Overruled && w.plan.OnFail != "report" {
		d := decision{verb: rollBack, step: w.r.Step, haste: w.howSoon(), stream: w.verdict.Cause.String(), reason: w.rejection()}
		if w.plan.OnFail == "pause" {
			if isPaused {
				return decision{}
			}
			d.verb = pause
		}
		return d
	}
	if text := w.collapse(); text != "" && !w.p.Overruled {
		return decision{verb: rollBack, step: w.r.Step, haste: w.howSoon(), reason: text}
	}
	switch {
	case isPaused:
		return decision{}
	case w.moved != "":
		return decision{verb: pause, step: w.r.Step, reason: w.moved}
	case len(w.p.Different) > 0 && !w.p.DifferentFine && w.plan.OnFail != "report":
		return decision{verb: pause, step: w.r.Step, reason: w.differences(), differs: true}
	case w.killed && w.hasTraffic() && w.r.UpdatedAt.Sub(w.p.StepBegan) < killGrace:
		return decision{verb: pause, step: w.r.Step, reason: "the platform was killed within a minute of the step's beginning, which the new version may have caused"}
	}
	return decision{}
}

// broken says why the candidate cannot be left any request; "" if it can.
func (w *world) broken() string {
	c := w.candidate
	switch {
	case c == nil:
		return fmt.Sprintf("version %s was taken away", w.r.ToLabel)
	case w.stopped:
		return "the app was stopped"
	case c.LastExit != nil && c.LastExit.OOM && c.LastExit.At.After(w.r.CreatedAt):
		return fmt.Sprintf("an instance of %s ran out of memory: %s", w.r.ToLabel, c.LastExit.Reason)
	case c.Crashes >= crashLoop:
		return fmt.Sprintf("an instance of %s crashed %d times in a row%s", w.r.ToLabel, c.Crashes, because(c))
	case (w.hasTraffic() || w.p.isGoingBack()) && c.Ready == 0 && !w.mayReturn():
		return fmt.Sprintf("no instance of %s is ready%s", w.r.ToLabel, because(c))
	case w.p.ProbeFailed >= probeLimit:
		return fmt.Sprintf("probes of %s failed %d times in a row: %s", w.r.ToLabel, w.p.ProbeFailed, w.p.ProbeText)
	}
	return ""
}

// mayReturn reports whether the candidate's instances went with the platform and
// still have time to be ready again.
func (w *world) mayReturn() bool {
	return w.returning && w.candidate.Crashes == 0 && w.now.Sub(w.since) < w.plan.StartTimeout.Duration
}

func because(c *platform.VersionStatus) string {
	switch {
	case c.Details != "":
		return ": " + c.Details
	case c.LastExit != nil && c.LastExit.Reason != "":
		return ": " + c.LastExit.Reason
	}
	return ""
}

// rejection is the sentence that says why the judge is against the candidate.
func (w *world) rejection() string {
	f := w.verdict.Findings[w.verdict.Cause]
	s, c := &w.p.All[0], &w.p.All[1]
	end := fmt.Sprintf("; evidence %.0f ≥ %.0f", f.Evidence, f.Limit)
	if w.verdict.Cause == judge.Slowness {
		return fmt.Sprintf("latency: %s p50 %s, p95 %s over %d requests, %s p50 %s, p95 %s over %d%s",
			w.r.ToLabel, short(c.Quantile(0.5)), short(c.Quantile(0.95)), c.Requests,
			w.r.FromLabel, short(s.Quantile(0.5)), short(s.Quantile(0.95)), s.Requests, end)
	}
	if w.verdict.Cause == judge.Custom {
		return "custom: " + marked(w.r, w.p) + end
	}
	return fmt.Sprintf("%s: %s%s", w.verdict.Cause, compared(w.r, c, s), end)
}

// short writes a latency with three digits.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

func (w *world) isReady(n int) bool { return w.candidate != nil && w.candidate.Ready >= max(n, 1) }

// need returns how many instances the candidate should have in a step.
func (w *world) need(step int) int {
	if !w.plan.ScaleWithWeight || step >= len(w.plan.Steps) {
		return max(w.p.Instances, 1)
	}
	share := float64(w.plan.Steps[step].Weight) / 100
	return min(max(int(share*float64(w.p.Instances)+0.999), 1), max(w.p.Instances, 1))
}

func (w *world) timeOut(format string, v verb) decision {
	began := w.r.Since
	if w.since.After(began) {
		began = w.since
	}
	if limit := w.plan.StartTimeout.Duration; w.now.Sub(began) >= limit {
		return decision{verb: v, step: w.r.Step, reason: fmt.Sprintf(format, limit)}
	}
	return decision{}
}

// warmup is the time at the beginning of a step that is no bake time.
func (w *world) warmup() time.Duration {
	if s := w.plan.Steps[w.r.Step]; w.plan.bake(w.r.Step) == 0 || s.Weight == 0 {
		return 0
	}
	return min(w.plan.Warmup.Duration, w.plan.MaxBake.Duration)
}

func (w *world) afterProbes() decision {
	switch {
	case len(w.plan.Probes) > w.p.Probed:
		return decision{}
	case w.frozen != "":
		return decision{reason: w.frozen}
	}
	return w.begin(0)
}

// begin begins a step whose instances are ready, or starts those.
func (w *world) begin(step int) decision {
	if need := w.need(step); w.candidate.Ready < need {
		return decision{verb: scale, step: step, reason: fmt.Sprintf("starting instances for step %d: %d of %d", step+1, w.candidate.Ready, need)}
	}
	if d := w.regrow(step); d.verb != stay {
		return decision{verb: scale, step: step, reason: d.reason}
	}
	if step == len(w.plan.Steps)-1 && w.plan.bake(step) == 0 && w.plan.Steps[step].Gate == "" {
		return w.finish("all steps are passed")
	}
	return decision{verb: shift, step: step, reason: fmt.Sprintf("step %d of %d: %s", step+1, len(w.plan.Steps), w.plan.stepText(step))}
}

func (w *world) finish(why string) decision {
	return decision{verb: promote, step: w.r.Step, reason: why}
}

func (p *Plan) stepText(i int) string {
	s := p.Steps[i]
	var parts []string
	if s.Ring != "" {
		parts = append(parts, "ring "+s.Ring)
	}
	if s.Shadow > 0 {
		parts = append(parts, "shadow "+s.Shadow.String())
	}
	if s.Weight > 0 {
		parts = append(parts, s.Weight.String())
	}
	return strings.Join(parts, ", ")
}

func (w *world) afterBake() decision {
	if w.p.Full || w.p.Skip {
		return decision{verb: enter, state: platform.RolloutWaiting, step: w.r.Step, reason: "the rest of the step was left out"}
	}
	if w.p.Baked < w.plan.bake(w.r.Step) {
		return decision{}
	}
	if path := w.plan.Steps[w.r.Step].Probe; path != "" && (w.p.Probed == 0 || w.p.ProbeFailed > 0) {
		return decision{reason: strings.TrimSuffix("waits for the probe "+path+": "+w.p.ProbeText, ": ")}
	}
	missing := w.p.missing(w.plan, w.r.Step)
	if len(missing) == 0 {
		return decision{verb: enter, state: platform.RolloutWaiting, step: w.r.Step, reason: "the step is passed" + w.seen()}
	}
	text := tooLittle + ": " + strings.Join(missing, ", ")
	if w.unreached {
		text += "; no route leads to " + w.app
	}
	if w.p.Baked-w.p.Silent < w.plan.MaxBake.Duration {
		return decision{reason: text}
	}
	switch w.plan.OnSilence {
	case "promote":
		return decision{verb: enter, state: platform.RolloutWaiting, step: w.r.Step, reason: text + "; the plan says to go on"}
	case "rollback":
		return decision{verb: rollBack, step: w.r.Step, reason: text}
	}
	return decision{verb: pause, step: w.r.Step, reason: text}
}

// seen says what the step has seen, and what it could have seen.
func (w *world) seen() string {
	c := &w.p.Step[1]
	if c.Requests == 0 {
		return ""
	}
	text := ": " + compared(w.r, c, &w.p.Step[0])
	if w.p.CouldSee > 0 {
		text += fmt.Sprintf("; %s as many failures would have been caught nine times of ten", times(w.p.CouldSee))
	}
	return text
}

// differencesNamed bounds how many differences a reason names.
const differencesNamed = 3

// differences says what a shadow answers otherwise. Whether that is meant
// only a person can know.
func (w *world) differences() string {
	all := w.p.Different
	text := strings.Join(all[:min(len(all), differencesNamed)], ", ")
	if more := len(all) - differencesNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%s answers otherwise than %s: %s (of %d answers compared; weir shadow %s --report shows how)", w.r.ToLabel, w.r.FromLabel, text, w.p.Compared, w.app)
}

// tooLittle begins what is said while a step waits for usage.
const tooLittle = "too little traffic to tell"

// afterGate goes to the next step unless something holds it.
func (w *world) afterGate() decision {
	s := &w.plan.Steps[w.r.Step]
	switch {
	case w.frozen != "":
		return decision{reason: w.frozen}
	case s.Gate != "" && !w.p.GateOpen && !w.p.Full:
		if s.Gate == gateApprove {
			return decision{reason: "waits for somebody to say go on: weir rollout promote " + w.app}
		}
		return w.atGate(s.Gate)
	case w.p.Full:
		return w.last("a person said so")
	case w.r.Step == len(w.plan.Steps)-1:
		return w.finish("all steps are passed")
	}
	return w.begin(w.r.Step + 1)
}

// atGate waits for a gate with a URL, but not for ever for one that gives no
// answer.
func (w *world) atGate(gate string) decision {
	began := w.p.GateSilent
	for _, later := range []time.Time{w.r.Since, w.since} { // before a pause, or while the platform was away, nobody asked
		if later.After(began) {
			began = later
		}
	}
	why := ""
	if w.p.GateText != "" {
		why = ": " + w.p.GateText
	}
	silent := w.now.Sub(began)
	switch limit := w.plan.GateTimeout.Duration; {
	case w.p.GateSilent.IsZero() || silent < callTimeout:
		return decision{reason: "waits for the gate " + gate + why}
	case silent >= limit:
		return decision{verb: pause, step: w.r.Step, reason: fmt.Sprintf("the gate %s has given no answer for %s%s", gate, limit, why)}
	}
	return decision{reason: fmt.Sprintf("the gate %s has given no answer for %s, and is asked again%s", gate, silent.Truncate(callTimeout), why)}
}

// last leaves out the steps that are left. The instances for all requests are
// started first.
func (w *world) last(why string) decision {
	last := len(w.plan.Steps) - 1
	if need := w.need(last); w.candidate.Ready < need {
		return decision{verb: scale, step: last, reason: fmt.Sprintf("starting instances: %d of %d", w.candidate.Ready, need)}
	}
	return w.finish(why)
}
