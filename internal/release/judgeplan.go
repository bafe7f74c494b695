package release

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"weir/internal/judge"
	"weir/internal/platform"
)

// CustomPlan says how strict the judge is about bad events that only the app
// or somebody else can know of.
type CustomPlan struct {
	StreamPlan
	// Events are the names of those that count, whatever their case. None: all.
	Events []string `json:"events,omitempty"`
}

// UnmarshalJSON implements json.Unmarshaler. A list is that of Events.
func (c *CustomPlan) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		return json.Unmarshal(b, &c.Events)
	}
	if kind := map[byte]string{'"': "string", 't': "bool", 'f': "bool"}[b[0]]; b[0] != '{' && b[0] != 'n' {
		return &json.UnmarshalTypeError{Value: cmp.Or(kind, "number"), Type: reflect.TypeFor[CustomPlan]()}
	}
	type plain CustomPlan
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode((*plain)(c))
}

const (
	maxEvents    = 32
	maxEventName = 64 // bytes
)

func (c *CustomPlan) check() error {
	if len(c.Events) > maxEvents {
		return platform.Invalidf("judge: at most %d events can count (got %d)", maxEvents, len(c.Events))
	}
	for _, e := range c.Events {
		if err := checkEvent(e); err != nil {
			return within("judge", err)
		}
	}
	return nil
}

// checkEvent refuses names that no answer can be marked with.
func checkEvent(name string) error {
	if name == "" || len(name) > maxEventName || strings.TrimSpace(name) != name ||
		strings.ContainsFunc(name, func(r rune) bool { return r == ',' || r < ' ' || r > '~' }) {
		return platform.Invalidf("an event has a name such as checkout-failed, of at most %d plain characters (got %q)", maxEventName, name)
	}
	return nil
}

// counts reports whether an event counts.
func (c *CustomPlan) counts(name string) bool {
	for _, e := range c.Events {
		if strings.EqualFold(e, name) {
			return true
		}
	}
	return len(c.Events) == 0
}

// totalAlpha bounds the probability that a good version is ever taken back:
// all streams share it.
const totalAlpha = 0.01

// alphas returns the alpha of each stream, negative if it is not judged, and
// what those that the plan gives come to. Those that it leaves out get their
// defaults, or what is left of totalAlpha in that proportion.
func (j *JudgePlan) alphas() (alpha [3]float64, given float64) {
	defaults := judge.New(judge.Config{}).Config()
	alpha = [...]float64{judge.Errors: defaults.ErrorAlpha, judge.Slowness: defaults.LatencyAlpha, judge.Custom: defaults.CustomAlpha}
	var open [len(alpha)]bool
	rest := 0.0
	for i, s := range [len(alpha)]StreamPlan{judge.Errors: j.Error, judge.Slowness: j.Latency, judge.Custom: j.Custom.StreamPlan} {
		switch {
		case s.Off:
			alpha[i] = -1
		case s.Alpha != 0:
			alpha[i] = s.Alpha
			given += s.Alpha
		default:
			open[i] = true
			rest += alpha[i]
		}
	}
	left := totalAlpha - given
	if rest <= left*(1+1e-9) {
		return alpha, given
	}
	for i := range alpha {
		switch {
		case !open[i]:
		case left < 1e-6: // nothing
			alpha[i] = -1
		default:
			alpha[i] *= left / rest
		}
	}
	return alpha, given
}

// checkAlphas refuses a judge that is wrong more often than weir promises.
func (j *JudgePlan) checkAlphas() error {
	alpha, given := j.alphas()
	switch {
	case given > totalAlpha*(1+1e-9):
		return &platform.Error{
			Kind: platform.KindInvalid,
			Msg:  fmt.Sprintf("judge: the alphas of error, latency and custom are %s together: that a good version is taken back may happen in 1%% of the rollouts", percent(given)),
			Hint: "the defaults are 0.005, 0.003 and 0.002; {off: true} turns one off",
		}
	case alpha[judge.Custom] < 0 && !j.Custom.Off && (len(j.Custom.Events) > 0 || j.Custom.Tolerate > 0):
		return platform.Invalidf("judge: error and latency have all of the 1%%: nothing is left for custom; give them a smaller alpha")
	}
	return nil
}
