package release

import (
	"fmt"
	"strings"
	"time"

	"weir/internal/judge"
	"weir/internal/platform"
)

// Explanation says why a rollout stands where it does.
type Explanation struct {
	What    string // has happened: "v2 was taken back 31s after step 2 of 5 (5%) began"
	Reason  string // with counts
	Meaning string // how sure that is; "" if there is nothing to be unsure about
	Advice  string // what a person can do about it
}

// Why is the explanation in one go.
func (s *Status) Why() string {
	x := s.Explain()
	text := fmt.Sprintf("r-%d: %s", s.Row.Number, x.What)
	if x.Reason != "" {
		text += ": " + x.Reason
	}
	for _, more := range []string{x.Meaning, x.Advice} {
		if more != "" {
			text += "; " + more
		}
	}
	return text
}

// Explain says why a rollout stands where it does.
func (s *Status) Explain() Explanation {
	row := &s.Row
	x := Explanation{Reason: row.Reason}
	switch row.State {
	case platform.RolloutDone, platform.RolloutFinishing:
		x.What = row.ToLabel + " is the main version"
		x.Reason = strings.TrimPrefix(x.Reason, x.What+": ")
		if e := s.Progress.Ending; e != nil && e.Cand.Requests > 0 {
			x.Reason += "; " + compared(row, &e.Cand, &e.Stable)
			if e.Cand.Custom+e.Stable.Custom > 0 {
				x.Reason += "; " + marked(row, &s.Progress)
			}
		}
		x.Advice = "if it is wrong all the same, roll back"
	case platform.RolloutRolledBack, platform.RolloutRollingBack:
		if s.Progress.isGoingBack() {
			x.What = fmt.Sprintf("%s is being taken back, with %s of the requests until %s has its instances again", row.ToLabel, s.StepText(), row.FromLabel)
			x.Meaning = s.meaning()
			break
		}
		x.What = row.ToLabel + " was taken back " + s.whenEnded()
		x.Meaning, x.Advice = s.meaning(), s.advice()
	case platform.RolloutAborted, platform.RolloutSuperseded:
		x.What = fmt.Sprintf("%s was %s %s", row.ToLabel, row.State, s.whenEnded())
	case platform.RolloutPaused:
		x.What = fmt.Sprintf("%s waits for a person, with %s", row.ToLabel, s.share())
		x.Meaning = s.meaning()
		x.Advice = "resume it to go on waiting, promote it to go on without, or abort it"
	case platform.RolloutQueued:
		x.What = row.ToLabel + " has not begun"
	default:
		x.What = fmt.Sprintf("%s is %s, with %s", row.ToLabel, row.State, s.share())
		if missing := s.Missing; len(missing) > 0 && row.State == platform.RolloutBaking && !strings.HasPrefix(row.Reason, tooLittle) {
			x.Meaning = "the step still has to see " + strings.Join(missing, ", ")
		}
	}
	return x
}

// whenEnded says how far a rollout had come.
func (s *Status) whenEnded() string {
	p := &s.Progress
	if p.Ending == nil || p.StepBegan.IsZero() {
		return "before it got any request"
	}
	after := p.Ending.At.Sub(p.StepBegan)
	text := fmt.Sprintf("%s after step %d of %d (%s) began", span(after),
		s.Row.Step+1, len(s.Plan.Steps), s.Plan.stepText(s.Row.Step))
	if p.Ending.Took > 0 {
		text += fmt.Sprintf(", within %s of the decision", short(p.Ending.Took))
	}
	return text
}

// span writes a time a person waits for.
func span(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// share says what the candidate gets.
func (s *Status) share() string {
	if s.Progress.StepBegan.IsZero() {
		return "no requests yet"
	}
	return fmt.Sprintf("%s in step %d of %d", s.Plan.stepText(s.Row.Step), s.Row.Step+1, len(s.Plan.Steps))
}

// meaning says how sure the judge was.
func (s *Status) meaning() string {
	if e := s.Progress.Ending; e != nil && e.Stream != "" {
		if f := e.Verdict[e.Stream]; f.Limit > 0 {
			return fmt.Sprintf("a good %s would reach this in at most 1 of %.0f rollouts", s.Row.ToLabel, f.Limit)
		}
	}
	return ""
}

// busyWait is how long a request may wait for a processor that others keep
// busy.
const busyWait = 20 * time.Millisecond

// advice says where to look.
func (s *Status) advice() string {
	first, same := BadRequest{}, true
	custom := s.Progress.Ending != nil && s.Progress.Ending.Stream == judge.Custom.String()
	for _, b := range s.Progress.FirstBad {
		switch {
		case !b.Candidate || (b.Event != "") != custom:
		case first.Method == "":
			first = b
		case b.Method != first.Method || b.Path != first.Path:
			same = false
		}
	}
	e := s.Progress.Ending
	switch {
	case e != nil && e.Stream == "latency" && e.Cand.Quantile(0.95) < e.Stable.Quantile(0.95)+busyWait:
		return fmt.Sprintf("see what takes %s longer; on a machine whose processors are all busy the version with fewer requests waits longer for one: allow for it in the plan: judge: {latency: {slack: %s}}",
			s.Row.ToLabel, busyWait)
	case e != nil && e.Stream == "latency":
		return fmt.Sprintf("see what takes %s longer, or allow it in the plan: judge: {latency: {tolerate: 20%%}}", s.Row.ToLabel)
	case custom && first.Method != "":
		return fmt.Sprintf("look at %s %s first, whose answer %s marked as %s: mend it and push again", first.Method, first.Path, s.Row.ToLabel, first.Event)
	case custom:
		return "ask who reported the events what they saw"
	case first.Method != "" && same:
		return fmt.Sprintf("look at %s %s first: mend it and push again", first.Method, first.Path)
	case first.Method != "":
		return fmt.Sprintf("look at the requests that failed, %s %s the first of them: mend it and push again", first.Method, first.Path)
	}
	return "the log of the app says what its instances said last"
}

// marked puts the bad events of both versions beside each other that only the
// app or somebody else knew of.
func marked(row *platform.Rollout, p *Progress) string {
	s, c := &p.All[0], &p.All[1]
	if p.Custom == [2]uint64{} {
		return fmt.Sprintf("%s marked %d of %d answers (%s), %s %d of %d (%s)", row.ToLabel, c.Custom, c.Requests, percent(c.CustomRate()),
			row.FromLabel, s.Custom, s.Requests, percent(s.CustomRate()))
	}
	return fmt.Sprintf("%s had %d bad events in %d requests, %s %d in %d (%d and %d of them were reported)", row.ToLabel, c.Custom, c.Requests,
		row.FromLabel, s.Custom, s.Requests, p.Custom[1], p.Custom[0])
}

// compared puts the counts of both versions beside each other.
func compared(row *platform.Rollout, candidate, stable *Usage) string {
	return fmt.Sprintf("%s failed %d of %d requests (%s), %s %d of %d (%s)", row.ToLabel, candidate.Bad, candidate.Requests,
		percent(candidate.BadRate()), row.FromLabel, stable.Bad, stable.Requests, percent(stable.BadRate()))
}
