package cli

import (
	"fmt"
	"strings"
	"time"

	v3 "weir/api/v3"
)

// rolloutRow is a rollout in a list.
type rolloutRow struct {
	GUID   string    `json:"guid"`
	Number int       `json:"number"`
	From   string    `json:"from"` // labels
	To     string    `json:"to"`
	State  string    `json:"state"`
	Over   bool      `json:"over"`
	Step   int       `json:"step"` // from 1; 0 before the first
	Steps  int       `json:"steps"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

func rowOf(r v3.Rollout) rolloutRow {
	return rolloutRow{
		GUID: r.GUID, Number: r.Number, From: r.From.Label, To: r.To.Label, State: r.State, Over: r.Over,
		Step: r.Step, Steps: r.Steps, Since: r.Since.Time, Reason: r.Reason,
	}
}

// rolloutView is a rollout as the command line shows it.
type rolloutView struct {
	rolloutRow
	App       string              `json:"app"`
	Share     string              `json:"share"`  // what the step gives the new version: "5%"
	Judged    bool                `json:"judged"` // both versions get requests in it
	Why       string              `json:"why"`
	Decided   time.Time           `json:"decidedAt"`     // zero as long as it is not
	Switch    float64             `json:"switchSeconds"` // from then until the router ran it, of one that was taken back
	Table     uint64              `json:"table"`         // of its last change of traffic
	Baked     float64             `json:"bakedSeconds"`
	Bake      float64             `json:"bakeSeconds"`
	Missing   []string            `json:"missing"` // usage the step has not seen
	Stable    rolloutUsage        `json:"stable"`
	Candidate rolloutUsage        `json:"candidate"`
	Evidence  map[string]evidence `json:"evidence"` // by stream: errors, latency, custom
	CouldSee  float64             `json:"couldSee"` // factor of errors that would have been seen; 0: none
	FirstBad  []rolloutBadRequest `json:"firstBad"`
	Reports   []rolloutReported   `json:"reports"`   // the newest
	Log       map[string][]string `json:"log"`       // of why: lines that belong to a request, by its id
	Processes []rolloutProcess    `json:"processes"` // of why: those without requests that do not all run
}

// rolloutProcess is a process that gets no requests and follows at the end.
type rolloutProcess struct {
	Type      string `json:"type"`
	Running   int    `json:"running"`
	Instances int    `json:"instances"`
	Details   string `json:"details"` // of the last one that crashed
}

// rolloutUsage counts requests of a version in the step.
type rolloutUsage struct {
	Requests uint64  `json:"requests"`
	Bad      uint64  `json:"bad"`
	Custom   uint64  `json:"custom"` // marked answers and reported events
	Clients  uint64  `json:"clients"`
	P50      float64 `json:"p50Ms"`
	P95      float64 `json:"p95Ms"`
}

// evidence is what one stream says against the new version.
type evidence struct {
	Evidence float64 `json:"evidence"`
	Limit    float64 `json:"limit"`
	P        float64 `json:"p"`
}

// rolloutBadRequest is one of the first requests that failed or, with Event,
// whose answer the version marked.
type rolloutBadRequest struct {
	Version   string    `json:"version"`
	RequestID string    `json:"requestId"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Status    int       `json:"status"`
	Event     string    `json:"event"`
	At        time.Time `json:"at"`
}

// rolloutReported is a report of bad events.
type rolloutReported struct {
	At        time.Time `json:"at"`
	By        string    `json:"by"`
	Event     string    `json:"event"`
	Reason    string    `json:"reason"`
	Stable    uint64    `json:"stable"`
	Candidate uint64    `json:"candidate"`
}

// rolloutEvent is one transition.
type rolloutEvent struct {
	At    time.Time      `json:"at"`
	State string         `json:"state"`
	Step  int            `json:"step"`
	Table uint64         `json:"table"`
	Text  string         `json:"text"`
	Actor string         `json:"actor"`
	Data  map[string]any `json:"data"`
}

// rolloutReplay is what a replay came to.
type rolloutReplay struct {
	Entries  int                 `json:"entries"`
	Bytes    int                 `json:"bytes"`
	Same     bool                `json:"same"`
	Rejected bool                `json:"rejected"`
	Evidence map[string]evidence `json:"evidence"` // by stream, as it ended
	Curve    []v3.RolloutPoint   `json:"curve"`
}

// rolloutSimulation says how soon a regression would be caught.
type rolloutSimulation struct {
	Share  float64 `json:"sharePercent"`
	Ratio  float64 `json:"ratio"`
	Rate   float64 `json:"rate"`
	Median int     `json:"median"`
	P90    int     `json:"p90"`
	Failed int     `json:"failed"`
	Text   string  `json:"text"`
}

func viewRollout(app string, r v3.Rollout) rolloutView {
	usage := func(u v3.RolloutUsage) rolloutUsage {
		return rolloutUsage{Requests: u.Requests, Bad: u.Bad, Custom: u.Custom, Clients: u.Clients, P50: u.P50, P95: u.P95}
	}
	v := rolloutView{
		rolloutRow: rowOf(r), App: app, Share: r.Share, Judged: r.Judged, Why: r.Why,
		Decided: r.Explanation.DecidedAt.Time, Switch: r.Explanation.SwitchSeconds, Table: r.Table,
		Baked: r.BakedSeconds, Bake: r.BakeSeconds, Missing: append([]string{}, r.Missing...),
		Stable: usage(r.StepUsage.Stable), Candidate: usage(r.StepUsage.Candidate),
		Evidence: evidences(r.Evidence), CouldSee: r.CouldSee, FirstBad: []rolloutBadRequest{}, Log: map[string][]string{},
		Reports:   []rolloutReported{},
		Processes: []rolloutProcess{},
	}
	for _, b := range r.FirstBad {
		v.FirstBad = append(v.FirstBad, rolloutBadRequest{
			Version: b.Version, RequestID: b.RequestID, Method: b.Method, Path: b.Path, Status: b.Status, Event: b.Event, At: b.At.Time,
		})
	}
	for _, p := range r.Reports {
		v.Reports = append(v.Reports, rolloutReported{At: p.At.Time, By: p.By, Event: p.Event, Reason: p.Reason, Stable: p.Stable, Candidate: p.Candidate})
	}
	return v
}

func evidences(of map[string]v3.RolloutEvidence) map[string]evidence {
	all := map[string]evidence{}
	for stream, e := range of {
		all[stream] = evidence(e)
	}
	return all
}

func drawEvidence(p *page, of map[string]evidence) {
	for _, stream := range []string{"errors", "latency", "custom"} {
		if e, ok := of[stream]; ok {
			p.line(fmt.Sprintf("evidence  %s %.2f of %.0f", stream, e.Evidence, e.Limit))
		}
	}
}

// showRollout prints a rollout.
func (c *call) showRollout(app string, r v3.Rollout) error {
	v := viewRollout(app, r)
	return c.out.print("Rollout", map[string]any{"rollout": v}, []string{r.GUID}, func(p *page) { v.draw(p) })
}

func (v rolloutView) draw(p *page) {
	state := words(v.State)
	if v.Step > 0 && !v.Over {
		state += fmt.Sprintf(" (step %d of %d, %s)", v.Step, v.Steps, v.Share)
	}
	p.pairs("name", v.App, "rollout", fmt.Sprintf("r-%d %s", v.Number, state), "reason", v.Reason)
	if v.Step == 0 {
		return
	}
	p.blank()
	row := func(label string, u rolloutUsage) []string {
		rate := "-"
		if u.Requests > 0 {
			rate = fmt.Sprintf("%.1f%%", 100*float64(u.Bad)/float64(u.Requests))
		}
		return []string{label, fmt.Sprint(u.Requests), fmt.Sprint(u.Bad), rate, fmt.Sprint(u.Clients), fmt.Sprintf("%.1fms", u.P50), fmt.Sprintf("%.1fms", u.P95)}
	}
	p.table("", []string{"version", "requests", "failed", "err%", "clients", "p50", "p95"}, [][]string{row(v.From, v.Stable), row(v.To, v.Candidate)})
	p.blank()
	p.line(fmt.Sprintf("baked     %s of %s", clock(v.Baked), clock(v.Bake)))
	if v.Stable.Custom+v.Candidate.Custom > 0 {
		p.line(fmt.Sprintf("custom    %s %d, %s %d: marked answers and reported events", v.From, v.Stable.Custom, v.To, v.Candidate.Custom))
	}
	drawEvidence(p, v.Evidence)
	if len(v.Missing) > 0 {
		p.line("missing   " + strings.Join(v.Missing, ", "))
	}
	if v.CouldSee > 0 {
		p.line(fmt.Sprintf("with %d requests, %s as many failures would have been caught nine times of ten", v.Candidate.Requests, timesText(v.CouldSee)))
	} else if !v.Over && v.Judged {
		p.line("too few requests yet to have caught even twenty times as many failures reliably")
	}
}

func timesText(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " times" }

// words writes a state as people do.
func words(state string) string { return strings.ReplaceAll(state, "-", " ") }

// onClock writes a time as layout, one of a clock, and with its day unless all
// of the times beside it are of today.
func onClock(t time.Time, layout string, beside ...time.Time) string {
	today := time.Now().Format(time.DateOnly)
	for _, b := range append(beside, t) {
		if b.Local().Format(time.DateOnly) != today {
			layout = time.DateOnly + " " + layout
			break
		}
	}
	return t.Local().Format(layout)
}
