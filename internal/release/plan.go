package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"weir/internal/judge"
	"weir/internal/platform"
)

// Plan says in which steps a version gets an app's requests, and what each
// step takes. It is what a manifest's rollout block holds; a field that is
// left out has the default of the preset.
type Plan struct {
	// Preset fills in what the rest leaves out; see Presets. Default: canary, or
	// rings if there are rings and no steps.
	Preset string `json:"preset,omitempty"`
	Steps  []Step `json:"steps,omitempty"`
	// Bake, MinRequests, MinClients and MinEndpoints are those of steps that
	// do not say otherwise.
	Bake         Duration `json:"bake,omitzero"`
	MinRequests  *Amount  `json:"min-requests,omitempty"`
	MinClients   int      `json:"min-clients,omitempty"`
	MinEndpoints Percent  `json:"min-endpoints,omitempty"`

	Judge JudgePlan `json:"judge,omitzero"`
	// OnFail says what happens when the candidate is rejected: rollback
	// (default), pause or report.
	OnFail string `json:"on-fail,omitempty"`
	// OnSilence says what happens when a step does not see what it asks for:
	// extend (default: until MaxBake, then pause), promote or rollback.
	OnSilence string `json:"on-silence,omitempty"`
	// MaxBake is how long a step may wait for usage. Default 2 h.
	MaxBake Duration `json:"max-bake,omitzero"`
	// Warmup is the time at the beginning of a step that is no bake time, and
	// WarmupRequests how many requests of each instance are not judged by
	// their latency. Defaults: 30 s and 50.
	Warmup         *Duration `json:"warmup,omitempty"`
	WarmupRequests *int      `json:"warmup-requests,omitempty"`
	// StartTimeout is how long the candidate may take to get ready. Default
	// 5 min.
	StartTimeout Duration `json:"start-timeout,omitzero"`
	// GateTimeout is how long a gate with a URL may fail to give an answer before
	// the rollout is paused. 202, not yet, is one. Default 10 min.
	GateTimeout Duration `json:"gate-timeout,omitzero"`
	// KeepOld is how long the old version runs on without requests, so that
	// going back takes no start. Default 1 h; KeepBad is the same for a
	// candidate that was rejected.
	KeepOld *Duration `json:"keep-old,omitempty"`
	KeepBad *Duration `json:"keep-bad,omitempty"`
	// Freeze are times in which no step begins, besides those of the space:
	// "Fri 16:00-Mon 08:00 Europe/Berlin".
	Freeze []string `json:"freeze,omitempty"`
	// Concurrency says what happens when another rollout is on its way:
	// supersede (default), queue or refuse.
	Concurrency string `json:"concurrency,omitempty"`
	// Hotfix is a reason to go faster: bake times are a tenth, freezes do not
	// count. The judge stays as strict as ever.
	Hotfix string `json:"hotfix,omitempty"`
	// ScaleWithWeight lets both versions have as many instances as their shares
	// need: those of the candidate are started before a step, those of the stable
	// version go after one. See capacity.go for the way back.
	ScaleWithWeight bool `json:"scale-with-weight,omitempty"`
	// CountProbes lets probes count for MinRequests.
	CountProbes bool `json:"count-probes,omitempty"`
	// Probes are paths that the candidate must answer before it gets requests:
	// "/health" or "/health=200,204".
	Probes []string `json:"probes,omitempty"`
	// Hooks are URLs that are told: before-start, before-step, after-step,
	// on-rollback, on-done.
	Hooks map[string]string `json:"hooks,omitempty"`
	// Rings name sets of requests for ring steps.
	Rings map[string][]Match `json:"rings,omitempty"`
}

// Step is one step of a plan.
type Step struct {
	// Weight is the candidate's share of the requests.
	Weight Percent `json:"weight,omitempty"`
	// Ring sends the requests of a ring to the candidate. Its weight is 0
	// unless the step says otherwise.
	Ring string `json:"ring,omitempty"`
	// Shadow copies a share of the requests to the candidate, whose answers
	// nobody gets.
	Shadow Percent `json:"shadow,omitempty"`

	Bake         *Duration `json:"bake,omitempty"`
	MinRequests  *Amount   `json:"min-requests,omitempty"`
	MinClients   *int      `json:"min-clients,omitempty"`
	MinEndpoints *Percent  `json:"min-endpoints,omitempty"`
	// MinCompared is how many answers of a shadow must have been compared.
	// Default 1; of other steps 0.
	MinCompared *int `json:"min-compared,omitempty"`
	// Gate holds the next step until it is opened: "approve" by a person, a
	// URL by its answer.
	Gate string `json:"gate,omitempty"`
	// Probe is a path that the candidate must go on answering.
	Probe string `json:"probe,omitempty"`
}

// Match is a condition on a request, for rings.
type Match struct {
	Header string `json:"header,omitempty"`
	Cookie string `json:"cookie,omitempty"`
	CIDR   string `json:"cidr,omitempty"`
	Exact  string `json:"exact,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Regex  string `json:"regex,omitempty"`
}

// JudgePlan says how strict the judge is.
type JudgePlan struct {
	Error   StreamPlan `json:"error,omitzero"`
	Latency StreamPlan `json:"latency,omitzero"`
	Custom  CustomPlan `json:"custom,omitzero"`
	// Detect is the regression that MinRequests auto wants to see: 5 is five
	// times as many failures. Default 5.
	Detect float64 `json:"detect,omitempty"`
	// Count4xx are statuses that count as failures besides 5xx. Default: none.
	Count4xx []int `json:"count-4xx,omitempty"`
	// ExcludePaths are paths whose requests are not counted, with all below
	// them, such as what a monitor asks for.
	ExcludePaths []string `json:"exclude-paths,omitempty"`
}

// counting returns what counts as evidence, nil for everything.
func (j *JudgePlan) counting() *platform.Counting {
	if len(j.Count4xx)+len(j.ExcludePaths)+len(j.Custom.Events) == 0 {
		return nil
	}
	return &platform.Counting{Statuses: j.Count4xx, Exclude: j.ExcludePaths, Events: j.Custom.Events}
}

// StreamPlan says how strict the judge is about one thing.
type StreamPlan struct {
	// Alpha bounds the probability that a good version is rejected for it.
	Alpha float64 `json:"alpha,omitempty"`
	// Tolerate is by how much the candidate may be worse.
	Tolerate Percent `json:"tolerate,omitempty"`
	// Slack is by how much latencies may be longer besides. Default 5 ms; 0 for
	// none.
	Slack *Duration `json:"slack,omitempty"`
	Off   bool      `json:"off,omitempty"`
}

// Duration is a time span, written "90s" or "5m".
type Duration struct{ time.Duration }

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON implements json.Unmarshaler. A bare number is in seconds.
func (d *Duration) UnmarshalJSON(b []byte) (err error) {
	text := strings.Trim(string(b), `"`)
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		text += "s"
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		d.Duration = time.Duration(n) * 24 * time.Hour
		if err == nil && n >= 0 && n <= 10000 {
			return nil
		}
	}
	if d.Duration, err = time.ParseDuration(text); err != nil || d.Duration < 0 {
		return fmt.Errorf("%s is no time: write 90s, 5m or 2h", b)
	}
	return nil
}

// IsZero reports whether it is zero, for omitzero.
func (d Duration) IsZero() bool { return d.Duration == 0 }

// Percent is a share, written 5, "5%" or "0.5%".
type Percent float64

// UnmarshalJSON implements json.Unmarshaler.
func (p *Percent) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Errorf("%s is no percentage: write 5 or 5%%", b)
	}
	*p = Percent(v)
	return nil
}

// String writes the share with its sign.
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%" }

// Amount is a number, or "auto".
type Amount struct {
	Auto bool
	N    int
}

// MarshalJSON implements json.Marshaler.
func (a Amount) MarshalJSON() ([]byte, error) {
	if a.Auto {
		return []byte(`"auto"`), nil
	}
	return json.Marshal(a.N)
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Amount) UnmarshalJSON(b []byte) (err error) {
	text := strings.Trim(string(b), `"`)
	if text == "auto" {
		*a = Amount{Auto: true}
		return nil
	}
	if a.N, err = strconv.Atoi(text); err != nil {
		return fmt.Errorf("%s is neither a number nor auto", b)
	}
	return nil
}

// ParsePlan reads a plan and fills in what it leaves out.
func ParsePlan(data []byte) (Plan, error) {
	var p Plan
	if len(data) > 0 {
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&p); err != nil {
			return p, &platform.Error{
				Kind: platform.KindInvalid, Msg: "the rollout plan cannot be read: " + mistake(err),
				Hint: "weir help rollout shows a plan",
			}
		}
	}
	return p, p.complete()
}

// mistake says what is wrong with a plan to those who wrote it, who need not
// know in what weir is written.
func mistake(err error) string {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(e.Value, " ")
		return fmt.Sprintf("%s: %s is wanted, not %s", e.Field, shape(e.Type), map[string]string{
			"string": "a text", "number": "a number", "array": "a list", "object": "a block of keys", "bool": "true or false",
		}[kind])
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if field, ok := strings.CutPrefix(text, "unknown field "); ok {
		return "there is no key " + field
	}
	return text
}

// shape says what a part of a plan looks like.
func shape(t reflect.Type) string {
	const step, condition = "{weight: 10, bake: 5m}", `{header: X-Team, exact: "yes"}`
	switch t {
	case reflect.TypeFor[Step]():
		return "a step such as " + step
	case reflect.TypeFor[CustomPlan]():
		return "a block such as {alpha: 0.002, events: [checkout-failed]}"
	case reflect.TypeFor[[]Step]():
		return "a list of steps such as [" + step + "]"
	case reflect.TypeFor[Match]():
		return "a condition such as " + condition
	case reflect.TypeFor[[]Match]():
		return "a list of conditions such as [" + condition + "]"
	case reflect.TypeFor[map[string][]Match]():
		return "a block of rings such as {team: [" + condition + "]}"
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list of texts"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	}
	return "a block of keys"
}

// readPlan reads a plan that was accepted once, whatever is asked of plans by
// now.
func readPlan(text string) (p Plan, err error) {
	if err = json.Unmarshal([]byte(text), &p); err == nil {
		err = p.fill()
	}
	return p, err
}

// JudgeConfig returns what the judge of a rollout is made with. instances is
// how many of the candidate there are.
func (p *Plan) JudgeConfig(sticky bool, instances int) judge.Config {
	alpha, _ := p.Judge.alphas()
	c := judge.Config{
		ErrorAlpha: alpha[judge.Errors], LatencyAlpha: alpha[judge.Slowness], CustomAlpha: alpha[judge.Custom],
		ErrorTolerance: float64(p.Judge.Error.Tolerate) / 100, LatencyTolerance: float64(p.Judge.Latency.Tolerate) / 100,
		CustomTolerance: float64(p.Judge.Custom.Tolerate) / 100,
		Warmup:          int64(*p.WarmupRequests * max(instances, 1)), Sticky: sticky,
	}
	if c.Warmup == 0 {
		c.Warmup = -1
	}
	if s := p.Judge.Latency.Slack; s != nil {
		if c.LatencySlack = s.Duration; c.LatencySlack == 0 {
			c.LatencySlack = -1
		}
	}
	return c
}
