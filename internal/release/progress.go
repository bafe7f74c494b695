package release

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"time"

	"weir/internal/judge"
	"weir/internal/platform"
)

// Progress is what a rollout remembers besides its row's columns.
type Progress struct {
	// Before is the state that a paused rollout goes on with.
	Before platform.RolloutState `json:"before,omitempty"`
	// StepBegan is when the step's share was published. Baked is how long it
	// has been judged, and Silent how much of that was before somebody said to
	// go on waiting.
	StepBegan time.Time     `json:"step_began,omitzero"`
	Baked     time.Duration `json:"baked"`
	Silent    time.Duration `json:"silent,omitempty"`

	// What people said: leave the rest of this step out, or of all steps; go
	// on although the judge has rejected the candidate.
	Skip      bool `json:"skip,omitempty"`
	Full      bool `json:"full,omitempty"`
	Overruled bool `json:"overruled,omitempty"`
	// GateOpen says that the step's gate is open; GateText what it answered.
	GateOpen   bool   `json:"gate_open,omitempty"`
	GateClosed bool   `json:"gate_closed,omitempty"`
	GateText   string `json:"gate_text,omitempty"`
	// GateSilent is when the gate was asked for the first time since its last
	// answer: yes, no, or not yet.
	GateSilent time.Time `json:"gate_silent,omitzero"`

	// Auto is what MinRequests auto means at present.
	Auto     int    `json:"auto,omitempty"`
	AutoBase uint64 `json:"auto_base,omitempty"`
	// CouldSee is the smallest regression of the error rate, as a factor, that
	// the first CouldBase requests of the candidate in this step would have
	// shown with a probability of 90 %; 0: none that is asked about.
	CouldSee  float64 `json:"could_see,omitempty"`
	CouldBase uint64  `json:"could_base,omitempty"`

	// Step and All count the step's requests and those of all steps, of the
	// stable version and of the candidate.
	Step [2]Usage `json:"step"`
	All  [2]Usage `json:"all"`

	// Compared is how many answers of a shadow were compared in this step, and
	// Different what is different in them. DifferentTold says that the rollout
	// is paused for that, and DifferentFine that somebody who was told said to go
	// on.
	Compared      uint64   `json:"compared,omitempty"`
	Different     []string `json:"different,omitempty"`
	DifferentTold bool     `json:"different_told,omitempty"`
	DifferentFine bool     `json:"different_fine,omitempty"`

	// Custom are the bad events that were reported, of the stable version and of
	// the candidate; Reports are the newest of the reports.
	Custom  [2]uint64  `json:"custom"`
	Reports []Reported `json:"reports,omitempty"`

	// Newest is when the youngest instance began to run, of the stable version
	// and of the candidate, and Cooled how often in this step one of them was
	// started again and latencies were left out for it.
	Newest [2]time.Time `json:"newest,omitzero"`
	Cooled [2]int       `json:"cooled,omitzero"`

	Probed      int    `json:"probed,omitempty"` // probes that went well in this step
	ProbeFailed int    `json:"probe_failed,omitempty"`
	ProbeText   string `json:"probe_text,omitempty"`

	// Splits are the shares of which evidence is counted, the newest last.
	Splits []Split `json:"splits,omitempty"`
	// Router is the router whose counters were read.
	Router string `json:"router,omitempty"`

	FirstBad []BadRequest `json:"first_bad,omitempty"`

	// Clean says that the platform was stopped, rather than killed.
	Clean bool `json:"clean,omitempty"`
	// Kept is a version that runs on without requests until KeptUntil.
	Kept      string    `json:"kept,omitempty"`
	KeptUntil time.Time `json:"kept_until,omitzero"`
	// Taken says that the candidate was there before the rollout: neither version
	// is taken away after it.
	Taken bool `json:"taken,omitempty"`
	// Weight is the main version's weight before the rollout.
	Weight int `json:"weight,omitempty"`
	// Instances is how many the candidate should have in the end.
	Instances int `json:"instances,omitempty"`
	// Sized is the weight, out of 1000, that the stable version was left instances
	// for; 0: it has all. Regrown says that it was given some again for the step to
	// come.
	Sized   int  `json:"sized,omitempty"`
	Regrown bool `json:"regrown,omitempty"`
	// Back is how far requests are on their way back, if that takes time.
	Back Back `json:"back,omitzero"`
	// Ending is what the judge knew when the rollout was decided.
	Ending *Ending `json:"ending,omitempty"`
	// Request is how to start a rollout that is queued.
	Request *Request `json:"request,omitempty"`
}

// Usage counts requests of one version.
type Usage struct {
	Requests uint64 `json:"requests"`
	Bad      uint64 `json:"bad"`
	// Custom are answers that the version marked as bad events, and events that
	// were reported of it.
	Custom    uint64 `json:"custom,omitempty"`
	Clients   uint64 `json:"clients,omitempty"`
	Endpoints []byte `json:"endpoints,omitempty"` // bits
	// Latency of the version's requests, zeros at the end left out.
	Latency []uint32 `json:"latency,omitempty"`
}

func (u *Usage) add(c *judge.Counts) {
	u.Requests += c.Requests
	u.Bad += c.Bad
	u.Custom += c.Marked + c.Custom
	for i, n := range c.Latency {
		if n == 0 {
			continue
		}
		for len(u.Latency) <= i {
			u.Latency = append(u.Latency, 0)
		}
		u.Latency[i] += n
	}
}

// Quantile returns the latency that a share q of the requests do not exceed.
func (u *Usage) Quantile(q float64) time.Duration {
	var h judge.Histogram
	copy(h[:], u.Latency)
	return h.Quantile(q)
}

// BadRate returns the share of requests that failed.
func (u *Usage) BadRate() float64 {
	if u.Requests == 0 {
		return 0
	}
	return float64(u.Bad) / float64(u.Requests)
}

// CustomRate returns the share of requests that were bad events.
func (u *Usage) CustomRate() float64 {
	if u.Requests == 0 {
		return 0
	}
	return float64(u.Custom) / float64(u.Requests)
}

// Split is a set of shares that the rollout has published.
type Split struct {
	Number uint64  `json:"number"`
	Step   int     `json:"step"`
	Share  float64 `json:"share"`
	// Read is how far the router's counters of it were read.
	Read   [2]Counters `json:"read"`
	LastID uint64      `json:"last_id,omitempty"` // of bad events
}

// Counters are what the router had counted of one version.
type Counters struct {
	Requests uint64   `json:"requests"`
	Bad      uint64   `json:"bad"`
	Marked   uint64   `json:"marked,omitempty"`
	Latency  []uint32 `json:"latency,omitempty"`
	// Matched are those that a rule sent to the version.
	Matched       uint64 `json:"matched,omitempty"`
	MatchedBad    uint64 `json:"matched_bad,omitempty"`
	MatchedMarked uint64 `json:"matched_marked,omitempty"`
}

// BadRequest is one of the first requests that failed or, with Event, whose
// answer the version marked.
type BadRequest struct {
	Candidate bool      `json:"candidate"`
	RequestID string    `json:"request_id"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Status    int       `json:"status"`
	Reason    string    `json:"reason,omitempty"`
	Event     string    `json:"event,omitempty"`
	At        time.Time `json:"at"`
}

// Reported is a report of bad events.
type Reported struct {
	At        time.Time `json:"at"`
	By        string    `json:"by"`
	Event     string    `json:"event,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Stable    uint64    `json:"stable"`
	Candidate uint64    `json:"candidate"`
}

// Ending is what was known when a rollout was decided.
type Ending struct {
	At time.Time `json:"at"`
	// Took is the time from the decision until the router ran it, of a
	// rollback; zero as long as it has not confirmed.
	Took    time.Duration `json:"took,omitempty"`
	Stream  string        `json:"stream,omitempty"`
	Verdict Figures       `json:"verdict"`
	Stable  Usage         `json:"stable"`
	Cand    Usage         `json:"candidate"`
}

// Figures are a verdict's findings by stream, for people.
type Figures map[string]Figure

// Figure is what one stream says.
type Figure struct {
	Evidence float64 `json:"evidence"`
	Limit    float64 `json:"limit"`
	P        float64 `json:"p"`
}

func figures(v judge.Verdict) Figures {
	f := Figures{}
	for _, s := range v.Findings {
		if s.Limit > 0 {
			f[s.Stream.String()] = Figure{Evidence: s.Evidence, Limit: s.Limit, P: s.P}
		}
	}
	return f
}

func readProgress(text string) (p Progress, err error) {
	if text == "" {
		return p, nil
	}
	err = json.Unmarshal([]byte(text), &p)
	return p, err
}

func (p *Progress) text() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic("release: a progress cannot be written: " + err.Error()) // it has no such fields
	}
	return string(b)
}

// beginStep forgets what belongs to the step before.
func (p *Progress) beginStep(now time.Time) {
	p.StepBegan, p.Baked, p.Silent = now, 0, 0
	p.Skip, p.GateOpen, p.GateClosed, p.GateText, p.GateSilent = false, false, false, "", time.Time{}
	p.Step = [2]Usage{}
	p.Probed, p.ProbeFailed, p.ProbeText = 0, 0, ""
	p.Cooled, p.Regrown = [2]int{}, false
	p.Compared, p.Different, p.DifferentTold, p.DifferentFine = 0, nil, false, false
	p.Auto, p.AutoBase, p.CouldSee, p.CouldBase = 0, 0, 0, 0
}

// keep notes that a version runs on without requests for some time.
func (p *Progress) keep(version string, until time.Time) {
	if !p.Taken {
		p.Kept, p.KeptUntil = version, until
	}
}

// missing says which usage goals of a step are not met.
func (p *Progress) missing(plan *Plan, step int) []string {
	s := &plan.Steps[step]
	var all []string
	candidate := &p.Step[1]
	if s.MinRequests.Auto && p.Auto == 0 {
		all = append(all, "requests to reckon with")
	}
	if want := p.minRequests(s); want > 0 {
		got := int(candidate.Requests)
		if plan.CountProbes {
			got += p.Probed
		}
		if got < want {
			all = append(all, fmt.Sprintf("%d of %d requests", got, want))
		}
	}
	if s.MinCompared != nil && p.Compared < uint64(*s.MinCompared) {
		all = append(all, fmt.Sprintf("%d of %d compared answers", p.Compared, *s.MinCompared))
	}
	if want := *s.MinClients; int(candidate.Clients) < want {
		all = append(all, fmt.Sprintf("%d of %d clients", candidate.Clients, want))
	}
	if want := *s.MinEndpoints; want > 0 {
		if got := p.endpoints(); got < want {
			all = append(all, fmt.Sprintf("%.0f%% of %.0f%% of the endpoints", float64(got), float64(want)))
		}
	}
	return all
}

func (p *Progress) minRequests(s *Step) int {
	if s.MinRequests.Auto {
		return p.Auto
	}
	return s.MinRequests.N
}

// endpoints returns how many of the endpoints that the stable version was
// asked for the candidate was asked for too.
func (p *Progress) endpoints() Percent {
	seen, both := 0, 0
	for i, b := range p.Step[0].Endpoints {
		seen += bits.OnesCount8(b)
		if i < len(p.Step[1].Endpoints) {
			both += bits.OnesCount8(b & p.Step[1].Endpoints[i])
		}
	}
	if seen == 0 {
		return 0
	}
	return Percent(100 * float64(both) / float64(seen))
}
