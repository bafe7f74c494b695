package cli

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/api/client"
	v3 "weir/api/v3"
)

// rolloutWhy explains a rollout: what happened, the counts, how sure that is,
// the first requests that failed with what the log says about them, and what
// can be done.
func (c *call) rolloutWhy(ctx context.Context, r *rolloutCall) error {
	v := viewRollout(r.app.Name, r.r)
	failed := r.failed(ctx)
	v.Log = map[string][]string{}
	for _, f := range failed {
		v.Log[f.RequestID] = f.lines
	}
	versions, _ := r.AppVersions(ctx, r.app.GUID) // what happened can be explained without
	state := r.stateOf(ctx, versions)
	v.Processes = r.followers(ctx, versions)
	return c.out.print("Rollout", map[string]any{"rollout": v}, []string{r.r.Why}, func(p *page) {
		x := r.r.Explanation
		p.line(fmt.Sprintf("r-%d  %s (%s)", r.r.Number, x.What, r.r.Since.Local().Format(time.DateTime)))
		pair := func(name, text string) {
			if text != "" {
				p.line(fmt.Sprintf("%-9s %s", name, text))
			}
		}
		pair("reason", x.Reason)
		pair("meaning", x.Meaning)
		for _, f := range failed {
			what := "failed"
			if f.Event != "" {
				what = "marked"
			}
			pair(what, fmt.Sprintf("%s %s %s at %s, request-id %s", f.Method, f.Path, f.outcome(), f.At.Local().Format(time.TimeOnly), f.RequestID))
			for _, line := range f.lines {
				pair("", line)
			}
		}
		for _, rep := range v.Reports {
			pair("reported", rep.text(v.From, v.To))
		}
		pair("state", state)
		for _, f := range v.Processes {
			pair(f.Type, f.text())
		}
		pair("next", r.next(x.Advice, v.Processes))
	})
}

// next is the advice, with commands.
func (r *rolloutCall) next(advice string, processes []rolloutProcess) string {
	app := r.app.Name
	if slices.ContainsFunc(processes, func(p rolloutProcess) bool { return p.Details != "" }) {
		return fmt.Sprintf("see why it does not run (weir logs %s --recent), or go back (weir rollback %s)", app, app)
	}
	with := map[string]string{
		v3.RolloutDone:       "weir rollback " + app,
		v3.RolloutPaused:     "weir rollout resume|promote|abort " + app,
		v3.RolloutRolledBack: "weir logs " + app + " --recent",
	}[r.r.State]
	if advice == "" || with == "" {
		return advice
	}
	return advice + " (" + with + ")"
}

// stateOf says what both versions get now and where they answer.
func (r *rolloutCall) stateOf(ctx context.Context, versions []v3.Version) string {
	kept := r.r.To.GUID // the one that runs on without requests
	if r.r.State == v3.RolloutDone {
		kept = r.r.From.GUID
	}
	var parts []string
	for _, v := range r.versionRows(ctx, r.app.Name, versions) {
		if v.GUID != r.r.From.GUID && v.GUID != r.r.To.GUID {
			continue
		}
		text := v.Version + " " + v.shareText()
		if until := r.r.KeptUntil.Time; v.GUID == kept && v.Share == 0 && v.Running > 0 && r.r.Over && until.After(time.Now()) && len(v.URLs) > 0 {
			text += fmt.Sprintf(" (runs on until %s at %s)", onClock(until, "15:04"), v.URLs[0])
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// followers returns the processes of the new version that get no requests and
// do not all run. They follow when the rollout is through; nothing has judged
// them.
func (r *rolloutCall) followers(ctx context.Context, versions []v3.Version) []rolloutProcess {
	all := []rolloutProcess{}
	if r.r.State != v3.RolloutDone || !slices.ContainsFunc(versions, func(v v3.Version) bool { return v.GUID == r.r.To.GUID && v.Role == v3.RoleMain }) {
		return all
	}
	processes, _ := r.Processes(ctx, r.app.GUID)
	for _, p := range processes {
		if p.Type == "web" {
			continue
		}
		stats, err := r.Stats(ctx, p.GUID)
		if err != nil {
			continue
		}
		f := rolloutProcess{Type: p.Type, Instances: len(stats)}
		for _, i := range stats {
			switch {
			case i.State == v3.InstanceRunning:
				f.Running++
			case i.State == v3.InstanceCrashed, i.InstanceGUID != "" && i.Details != nil: // or it is tried again
				f.Details = crashText(i)
			}
		}
		if f.Running < f.Instances {
			all = append(all, f)
		}
	}
	return all
}

func (f rolloutProcess) text() string {
	text := fmt.Sprintf("%d of %d instances run", f.Running, f.Instances)
	if f.Details != "" {
		text += ": " + f.Details + "; those of the version before go on working"
	}
	return text
}

// failedRequest is one of the first that failed, with its lines of the log.
type failedRequest struct {
	v3.RolloutBadRequest
	lines []string
}

func (f *failedRequest) outcome() string {
	if f.Event != "" {
		return fmt.Sprintf("%d %s", f.Status, f.Event)
	}
	if f.Reason != "" {
		return strings.TrimSpace(fmt.Sprintf("%d %s", f.Status, f.Reason))
	}
	return strconv.Itoa(f.Status)
}

// text says what was reported: "3 of v2 and 57 of v1: refund, by dana at 12:03:04".
func (r *rolloutReported) text(from, to string) string {
	text := fmt.Sprintf("%d of %s and %d of %s", r.Candidate, to, r.Stable, from)
	if r.Event != "" {
		text += ": " + r.Event
	}
	text += fmt.Sprintf(", by %s at %s", r.By, r.At.Local().Format(time.TimeOnly))
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}

// failed returns the first requests that the new version failed, or marked. A line of
// the log is shown once.
func (r *rolloutCall) failed(ctx context.Context) []failedRequest {
	var all []failedRequest
	var shown []string
	for _, b := range r.r.FirstBad {
		if b.Version != r.r.To.Label {
			continue
		}
		f := failedRequest{RolloutBadRequest: b, lines: []string{}}
		for _, line := range r.linesOf(ctx, b) {
			if !slices.Contains(shown, line) {
				f.lines, shown = append(f.lines, line), append(shown, line)
			}
		}
		all = append(all, f)
	}
	return all
}

// timesOf finds in a line of the access log when a request began and how many
// seconds it took.
var timesOf = regexp.MustCompile(`\[([0-9TZ:.+-]+)\].* response_time:([0-9.]+)`)

// linesOf returns the lines of the app's log that belong to a request: those
// of the app that name it; else what the app wrote to stderr while it was
// answered; else the line of the access log.
func (r *rolloutCall) linesOf(ctx context.Context, b v3.RolloutBadRequest) []string {
	const linesShown, slack = 3, 20 * time.Millisecond
	// Without its log a rollout can be explained as well.
	lines, _ := r.ReadLogs(ctx, r.app.GUID, client.ReadLogsOptions{
		StartTime: b.At.Add(-2 * time.Second).UnixNano(), EndTime: b.At.Add(time.Second).UnixNano(), Limit: 1000,
	})
	var named, around, access []string
	began, ended := b.At.Time, b.At.Add(time.Second) // the API's times are whole seconds; the access log knows better
	for _, l := range lines {
		if l.Log == nil || l.Tags["source_type"] != "RTR" || !strings.Contains(string(l.Log.Payload), b.RequestID) {
			continue
		}
		access = append(access, "RTR: "+string(l.Log.Payload))
		if m := timesOf.FindSubmatch(l.Log.Payload); m != nil {
			at, err := time.Parse(time.RFC3339Nano, string(m[1]))
			seconds, err2 := strconv.ParseFloat(string(m[2]), 64)
			if err == nil && err2 == nil {
				began, ended = at.Add(-slack), at.Add(time.Duration(seconds*float64(time.Second))+slack)
			}
		}
	}
	for _, l := range lines {
		if l.Log == nil || !strings.HasPrefix(l.Tags["source_type"], "APP") {
			continue
		}
		line := l.Tags["source_type"] + "/" + l.InstanceID + ": " + string(l.Log.Payload)
		at := time.Unix(0, int64(l.Timestamp))
		switch {
		case b.RequestID != "" && strings.Contains(line, b.RequestID):
			named = append(named, line)
		case l.Log.Type == v3.LogErr && at.After(began) && at.Before(ended):
			around = append(around, line)
		}
	}
	for _, found := range [][]string{named, around, access} {
		if len(found) > 0 {
			return found[:min(len(found), linesShown)]
		}
	}
	return nil
}
