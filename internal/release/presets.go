package release

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/router"
)

// Presets are the plans that have a name.
var Presets = map[string]string{
	"all-at-once":  "everything at once, after the candidate is ready",
	"blue-green":   "everything at once, then 10 minutes under watch; the old version is kept for a day",
	"canary":       "1, 5, 25, 50, 100 %, five minutes each",
	"canary-10-5m": "10 % for five minutes, then everything",
	"linear":       "10 % more every five minutes",
	"linear-10-1m": "10 % more every minute",
	"rings":        "the rings of the plan in order of their names, then everything; one without members gets copies",
	"shadow":       "a copy of all requests for half an hour, then a person decides",
}

func steps(bake time.Duration, weights ...Percent) (all []Step) {
	for _, w := range weights {
		s := Step{Weight: w}
		if w < 100 && bake > 0 {
			s.Bake = &Duration{bake}
		}
		all = append(all, s)
	}
	return all
}

// defaultBake is how long a step is judged that does not say it.
const defaultBake = 5 * time.Minute

// presetSteps returns the steps of a preset, and how long it keeps the old
// version unless the plan says so.
func (p *Plan) presetSteps() (all []Step, keepOld time.Duration, err error) {
	bake := func(d time.Duration) time.Duration { return cmp.Or(p.Bake.Duration, d) } // one that was given goes first
	tenths := []Percent{10, 20, 30, 40, 50, 60, 70, 80, 90, 100}
	switch p.Preset {
	case "all-at-once":
		return steps(0, 100), time.Hour, nil
	case "blue-green":
		return []Step{{Weight: 100, Bake: &Duration{bake(10 * time.Minute)}}}, 24 * time.Hour, nil
	case "canary":
		return steps(bake(defaultBake), 1, 5, 25, 50, 100), time.Hour, nil
	case "canary-10-5m":
		return steps(bake(5*time.Minute), 10, 100), time.Hour, nil
	case "linear":
		return steps(bake(defaultBake), tenths...), time.Hour, nil
	case "linear-10-1m":
		return steps(bake(time.Minute), tenths...), time.Hour, nil
	case "rings":
		if len(p.Rings) == 0 && len(p.Steps) == 0 {
			return nil, 0, &platform.Error{
				Kind: platform.KindInvalid, Msg: "the preset rings needs rings, or everybody would be the first",
				Hint: `rings: {team: [{header: X-Team, exact: "yes"}]}; weir help rollout shows a plan`,
			}
		}
		for _, name := range slices.Sorted(maps.Keys(p.Rings)) {
			all = append(all, Step{Ring: name})
		}
		return append(all, Step{Weight: 100}), 24 * time.Hour, nil
	case "shadow":
		return []Step{{Shadow: 100, Bake: &Duration{bake(30 * time.Minute)}, Gate: gateApprove}, {Weight: 100}}, time.Hour, nil
	}
	return nil, 0, platform.Invalidf("there is no rollout preset %q; there are %s", p.Preset, strings.Join(slices.Sorted(maps.Keys(Presets)), ", "))
}

// complete fills in what a plan leaves out and refuses what makes no sense.
func (p *Plan) complete() error {
	if err := p.fill(); err != nil {
		return err
	}
	return p.check()
}

// fill fills in what the plan leaves out.
func (p *Plan) fill() error {
	if p.Preset == "" {
		p.Preset = "canary"
		if len(p.Rings) > 0 && len(p.Steps) == 0 {
			p.Preset = "rings"
		}
	}
	byPreset, keepOld, err := p.presetSteps()
	if err != nil {
		return err
	}
	if p.Bake.Duration == 0 {
		p.Bake.Duration = defaultBake
	}
	if len(p.Steps) == 0 {
		p.Steps = byPreset
	}
	setText := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	setText(&p.OnFail, "rollback")
	setText(&p.OnSilence, "extend")
	setText(&p.Concurrency, "supersede")
	if p.MaxBake.Duration == 0 {
		p.MaxBake.Duration = 2 * time.Hour
	}
	if p.StartTimeout.Duration == 0 {
		p.StartTimeout.Duration = 5 * time.Minute
	}
	if p.GateTimeout.Duration == 0 {
		p.GateTimeout.Duration = 10 * time.Minute
	}
	if p.Judge.Detect == 0 {
		p.Judge.Detect = 5
	}
	setDuration := func(d **Duration, v time.Duration) {
		if *d == nil {
			*d = &Duration{v}
		}
	}
	setDuration(&p.Warmup, 30*time.Second)
	setDuration(&p.KeepOld, keepOld)
	setDuration(&p.KeepBad, time.Hour)
	if p.WarmupRequests == nil {
		n := 50
		p.WarmupRequests = &n
	}
	if p.MinRequests == nil {
		p.MinRequests = &Amount{Auto: true}
	}
	for i := range p.Steps {
		p.completeStep(&p.Steps[i])
	}
	if last := p.Steps[len(p.Steps)-1]; last.Weight != 100 {
		p.Steps = append(p.Steps, Step{Weight: 100})
		p.completeStep(&p.Steps[len(p.Steps)-1])
	}
	return nil
}

func (p *Plan) completeStep(s *Step) {
	if members, known := p.Rings[s.Ring]; known && len(members) == 0 && s.Weight == 0 && s.Shadow == 0 {
		s.Shadow = 100 // nobody is in it: it gets copies of what the others ask
	}
	if s.Bake == nil {
		s.Bake = &Duration{p.Bake.Duration}
		if s.Weight == 100 {
			s.Bake.Duration = 0
		}
	}
	clients, endpoints := p.MinClients, p.MinEndpoints
	if s.Shadow > 0 {
		clients, endpoints = 0, 0 // it has answers compared instead
	}
	if s.MinRequests == nil {
		s.MinRequests = p.MinRequests
		if s.Shadow > 0 || s.Weight == 100 {
			s.MinRequests = &Amount{}
		}
	}
	if s.MinClients == nil {
		s.MinClients = &clients
	}
	if s.MinEndpoints == nil {
		s.MinEndpoints = &endpoints
	}
	if s.MinCompared == nil && s.Shadow > 0 {
		n := 1
		s.MinCompared = &n
	}
}

// gateApprove is a gate that a person opens.
const gateApprove = "approve"

func (p *Plan) check() error {
	for name, choice := range map[string]struct {
		value string
		known []string
	}{
		"on-fail":     {p.OnFail, []string{"rollback", "pause", "report"}},
		"on-silence":  {p.OnSilence, []string{"extend", "promote", "rollback"}},
		"concurrency": {p.Concurrency, []string{"supersede", "queue", "refuse"}},
	} {
		if !slices.Contains(choice.known, choice.value) {
			return platform.Invalidf("%s cannot be %q: it is one of %s", name, choice.value, strings.Join(choice.known, ", "))
		}
	}
	for hook, to := range p.Hooks {
		if !slices.Contains(hookNames, hook) {
			return platform.Invalidf("there is no hook %q; there are %s", hook, strings.Join(hookNames, ", "))
		}
		if !isURL(to) {
			return platform.Invalidf("hook %s must be an http or https URL (got %q)", hook, to)
		}
	}
	for _, w := range p.Freeze {
		if _, err := ParseWindow(w); err != nil {
			return err
		}
	}
	for _, probe := range p.Probes {
		if _, _, err := parseProbe(probe); err != nil {
			return err
		}
	}
	if err := p.checkRings(); err != nil {
		return err
	}
	if *p.WarmupRequests < 0 {
		return platform.Invalidf("warmup-requests is not negative (got %d)", *p.WarmupRequests)
	}
	if err := p.Judge.check(); err != nil {
		return err
	}
	last := Percent(0)
	for i, s := range p.Steps {
		if err := p.checkStep(s); err != nil {
			return within(fmt.Sprintf("step %d", i+1), err)
		}
		if s.Weight < last && s.Ring == "" && s.Shadow == 0 {
			return platform.Invalidf("step %d: the share goes down from %s to %s: steps only go up", i+1, last, s.Weight)
		}
		last = max(last, s.Weight)
	}
	return nil
}

// check refuses a judge that would reject everything, or nothing.
func (j *JudgePlan) check() error {
	for name, s := range map[string]StreamPlan{"error": j.Error, "latency": j.Latency, "custom": j.Custom.StreamPlan} {
		switch {
		case s.Alpha < 0 || s.Alpha >= 1:
			return platform.Invalidf("judge: alpha of %s is a probability such as 0.005 (got %v)", name, s.Alpha)
		case s.Tolerate < 0:
			return platform.Invalidf("judge: tolerate of %s is not negative", name)
		}
	}
	if err := j.checkAlphas(); err != nil {
		return err
	}
	if err := j.Custom.check(); err != nil {
		return err
	}
	for _, status := range j.Count4xx {
		if status < 400 || status > 499 {
			return platform.Invalidf("judge: count-4xx lists statuses from 400 to 499 (got %d): 5xx count anyway", status)
		}
	}
	for _, path := range j.ExcludePaths {
		if len(path) < 2 || path[0] != '/' {
			return platform.Invalidf("judge: exclude-paths lists paths such as /health (got %q)", path)
		}
	}
	if j.Detect <= 1 {
		return platform.Invalidf("judge: detect is how many times as many failures are to be seen: more than 1 (got %v)", j.Detect)
	}
	return nil
}

func (p *Plan) checkStep(s Step) error {
	switch {
	case s.Weight < 0 || s.Weight > 100 || s.Shadow < 0 || s.Shadow > 100:
		return platform.Invalidf("a share is between 0 and 100 percent")
	case s.Weight == 0 && s.Ring == "" && s.Shadow == 0:
		return platform.Invalidf("it needs a weight, a ring or a shadow share")
	case s.Weight > 0 && s.Weight < 0.1:
		return platform.Invalidf("the smallest share is 0.1%%")
	case s.Shadow > 0 && (s.Weight > 0 || len(p.Rings[s.Ring]) > 0):
		return platform.Invalidf("a shadow has no users: give it a step without a weight and with no ring, or one without members")
	case s.Gate != "" && s.Gate != gateApprove && !isURL(s.Gate):
		return platform.Invalidf("gate must be %q or an http or https URL (got %q)", gateApprove, s.Gate)
	case *s.MinEndpoints < 0 || *s.MinEndpoints > 100:
		return platform.Invalidf("min-endpoints is between 0 and 100 percent (got %s)", *s.MinEndpoints)
	case *s.MinClients < 0 || s.MinRequests.N < 0 || s.MinCompared != nil && *s.MinCompared < 0:
		return platform.Invalidf("usage goals are not negative")
	case s.MinCompared != nil && *s.MinCompared > 0 && s.Shadow == 0:
		return platform.Invalidf("min-compared is for a shadow: only its answers are compared")
	}
	if _, known := p.Rings[s.Ring]; s.Ring != "" && !known {
		return platform.Invalidf("the plan has no ring %q", s.Ring)
	}
	if s.Probe != "" {
		_, _, err := parseProbe(s.Probe)
		return err
	}
	return nil
}

// within says where in the plan the mistake is.
func within(where string, err error) error {
	if e, ok := errors.AsType[*platform.Error](err); ok {
		there := *e
		there.Msg = where + ": " + e.Msg
		return &there
	}
	return err
}

// checkRings refuses conditions that nobody can meet or the router would not
// understand, and more of them than lead to one version.
func (p *Plan) checkRings() error {
	for _, name := range slices.Sorted(maps.Keys(p.Rings)) {
		for _, m := range p.Rings[name] {
			if err := router.CheckMatch(router.Match(m)); err != nil {
				return platform.Invalidf("ring %s: %v", name, err)
			}
		}
	}
	all := 0
	for _, s := range p.Steps {
		all += len(p.Rings[s.Ring])
	}
	if all > platform.MaxMatches {
		return platform.Invalidf("the rings of all steps have %d conditions together: at most %d can lead to a version", all, platform.MaxMatches)
	}
	return nil
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// bake returns how long step i takes at least.
func (p *Plan) bake(i int) time.Duration {
	d := p.Steps[i].Bake.Duration
	if p.Hotfix != "" {
		d /= 10
	}
	return d
}

// weights returns the weights of both versions in step i, out of 1000.
func (p *Plan) weights(i int) (stable, candidate int) {
	candidate = int(float64(p.Steps[i].Weight)*10 + 0.5)
	return platform.MaxWeight - candidate, candidate
}
