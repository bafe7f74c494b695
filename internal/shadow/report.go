package shadow

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"weir/internal/judge"
	"weir/router"
)

// Threshold is the evidence at which a field is said to differ: a field that
// does not differ reaches it with a probability of at most 1 in 10,000, so
// that a report of a hundred noisy fields is wrong in at most 1 of 100.
const Threshold = 10_000

// Bounds of a report, so that it stays small whatever the app answers.
const (
	maxReportFields = 500 // of one endpoint
	maxExamples     = 20  // of one field
	maxExampleBytes = 4096
	otherFields     = "(other fields)"
)

// Report is what the comparison of one shadow version with the main version
// has found. It is used by one goroutine.
type Report struct {
	App     string    `json:"app"`     // GUID
	Version string    `json:"version"` // GUID
	Since   time.Time `json:"since"`

	Compared uint64 `json:"compared"`
	Equal    uint64 `json:"equal"` // no field differed but such in which main was seen to differ from itself
	Probed   uint64 `json:"probed"`

	Endpoints map[string]*Endpoint `json:"endpoints"`
	Statuses  map[string]uint64    `json:"statuses"` // "200 → 500" counts
	Main      judge.Histogram      `json:"main"`     // times of answers
	Shadow    judge.Histogram      `json:"shadow"`

	Copied  uint64            `json:"copied"`
	Dropped map[string]uint64 `json:"dropped"`
}

// Endpoint is what was found at one method and path.
type Endpoint struct {
	Compared uint64            `json:"compared"`
	Equal    uint64            `json:"equal"`
	Fields   map[string]*Field `json:"fields"` // that ever differed
}

// Field is what was found about one field of an endpoint's answers.
type Field struct {
	Differs  uint64       `json:"differs"` // requests for which the shadow's differed
	Noisy    uint64       `json:"noisy"`   // of those asked twice, for which main differed from itself
	Test     judge.Paired `json:"test"`
	Examples []Example    `json:"examples,omitempty"`
}

// Example is one difference, secrets masked.
type Example struct {
	At        time.Time `json:"at"`
	RequestID string    `json:"request_id"`
	Request   string    `json:"request"`
	Main      string    `json:"main"`
	Shadow    string    `json:"shadow"`
	Probe     string    `json:"probe,omitempty"`
}

// IsFound reports whether the field differs by more than noise.
func (f *Field) IsFound() bool { return f.Test.Peak >= Threshold }

// NewReport returns an empty report that began at since.
func NewReport(app, version string, since time.Time) *Report {
	return &Report{
		App: app, Version: version, Since: since,
		Endpoints: map[string]*Endpoint{}, Statuses: map[string]uint64{}, Dropped: map[string]uint64{},
	}
}

// Add counts one compared request.
func (r *Report) Add(p *router.ShadowPair, skip Ignores) {
	// Of answers that are the same no field differs, whatever they are.
	var main, shadow, probe map[string]string
	if !p.IsSame() {
		main, shadow = fields(&p.Main, skip), fields(&p.Shadow, skip)
		if p.Probe != nil {
			probe = fields(p.Probe, skip)
		}
	}
	if p.Probe != nil {
		r.Probed++
	}
	r.Compared++
	r.Statuses[statusOf(&p.Main)+" → "+statusOf(&p.Shadow)]++
	if p.Main.Status != 0 && p.Shadow.Status != 0 {
		r.Main[judge.Bucket(p.Main.Took)]++
		r.Shadow[judge.Bucket(p.Shadow.Took)]++
	}
	e := r.endpoint(Template(p.Method, p.Path))
	e.Compared++
	if e.compare(p, main, shadow, probe) {
		e.Equal++
		r.Equal++
	}
}

func statusOf(a *router.ShadowAnswer) string {
	if a.Status == 0 {
		return cmp.Or(a.Error, "none")
	}
	return strconv.Itoa(a.Status)
}

func (r *Report) endpoint(name string) *Endpoint {
	e := r.Endpoints[name]
	if e == nil && len(r.Endpoints) >= maxEndpoints {
		name = otherEndpoints
		e = r.Endpoints[name]
	}
	if e == nil {
		e = &Endpoint{Fields: map[string]*Field{}}
		r.Endpoints[name] = e
	}
	return e
}

// verdict of one field of one request: all elements of a list are one field.
type verdict struct {
	shadow, probe         bool // differs from the main version's
	main, other, answered string
}

// compare counts the fields that differ and reports whether none of the
// shadow's does but where main differs from itself.
func (e *Endpoint) compare(p *router.ShadowPair, main, shadow, probe map[string]string) (equal bool) {
	found := map[string]*verdict{}
	look := func(name string) {
		m, inMain := main[name]
		s, inShadow := shadow[name]
		differs := inMain != inShadow || m != s
		noisy := false
		if probe != nil {
			again, inProbe := probe[name]
			noisy = inMain != inProbe || m != again
		}
		if !differs && !noisy {
			return
		}
		folded := anyIndex(name)
		v := found[folded]
		if v == nil {
			v = &verdict{}
			found[folded] = v
		}
		if differs && !v.shadow {
			v.main, v.other, v.answered = shown(m, inMain), shown(s, inShadow), shown(probe[name], probe != nil)
		}
		v.shadow, v.probe = v.shadow || differs, v.probe || noisy
	}
	for name := range union(main, shadow, probe) {
		look(name)
	}
	equal = true
	for _, name := range slices.Sorted(maps.Keys(found)) {
		v := found[name]
		f := e.note(name, v, p, probe != nil)
		if v.shadow && f.Noisy == 0 {
			equal = false
		}
	}
	return equal
}

func shown(value string, is bool) string {
	if !is {
		return "(absent)"
	}
	return value
}

func union(all ...map[string]string) map[string]struct{} {
	out := map[string]struct{}{}
	for _, m := range all {
		for name := range m {
			out[name] = struct{}{}
		}
	}
	return out
}

// note counts what was found about one field of one request.
func (e *Endpoint) note(name string, v *verdict, p *router.ShadowPair, probed bool) *Field {
	f := e.Fields[name]
	if f == nil && len(e.Fields) >= maxReportFields {
		name = otherFields
		f = e.Fields[name]
	}
	if f == nil {
		f = &Field{}
		e.Fields[name] = f
	}
	if probed && v.shadow != v.probe {
		f.Test.Add(v.shadow)
	}
	if v.probe {
		f.Noisy++
	}
	if !v.shadow {
		return f
	}
	f.Differs++
	if len(f.Examples) < maxExamples {
		x := Example{
			At: p.At, RequestID: p.RequestID, Request: p.Method + " " + p.Path,
			Main: mask(name, v.main, maxExampleBytes), Shadow: mask(name, v.other, maxExampleBytes),
		}
		if probed {
			x.Probe = mask(name, v.answered, maxExampleBytes)
		}
		f.Examples = append(f.Examples, x)
	}
	return f
}
