package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	v3 "weir/api/v3"
	"weir/internal/auth"
	"weir/internal/platform"
	"weir/internal/release"
)

// rolloutRoutes are weir's own: Cloud Foundry's deployments know no shares
// and no judge.
func rolloutRoutes() []route {
	return []route{
		{get, "/v3/rollouts", auth.Read, handle((*API).listRollouts)},
		{get, "/v3/rollouts/:guid", auth.Read, handle((*API).getRollout)},
		{get, "/v3/rollouts/:guid/events", auth.Read, handle((*API).rolloutEvents)},
		{get, "/v3/rollouts/:guid/replay", auth.Read, handle((*API).replayRollout)},
		{post, "/v3/rollouts/:guid/actions/pause", auth.Write, handle((*API).pauseRollout)},
		{post, "/v3/rollouts/:guid/actions/resume", auth.Write, handle((*API).resumeRollout)},
		{post, "/v3/rollouts/:guid/actions/promote", auth.Write, handle((*API).promoteRollout)},
		{post, "/v3/rollouts/:guid/actions/abort", auth.Write, handle((*API).abortRollout)},
		{post, "/v3/rollouts/:guid/actions/retry", auth.Write, handle((*API).retryRollout)},

		{post, "/v3/rollouts/:guid/actions/report", auth.Write, handle((*API).reportToRollout)},
		{post, "/v3/apps/:guid/actions/report_events", auth.Write, handle((*API).reportToApp)},

		{get, "/v3/apps/:guid/rollouts", auth.Read, handle((*API).listAppRollouts)},
		{post, "/v3/apps/:guid/rollouts", auth.Write, handle((*API).createRollout)},
		{post, "/v3/apps/:guid/actions/simulate_rollout", auth.Write, handle((*API).simulateRollout)},

		{get, "/v3/freezes", auth.Read, handle((*API).listFreezes)},
		{post, "/v3/freezes", auth.Write, handle((*API).createFreeze)},
		{del, "/v3/freezes/:guid", auth.Write, handle((*API).deleteFreeze)},
	}
}

type listRollouts struct {
	List list `filters:"guids,app_guids,space_guids,organization_guids,states,active,numbers"`
}

func (a *API) listRollouts(ctx context.Context, c call, req listRollouts) (reply, error) {
	all, total, err := a.releases.List(ctx, req.List.Query)
	return ok(pageOf(c, req.List, all, total, c.rollout)), err
}

type listAppRollouts struct {
	GUID string `path:"guid"`
	List list   `filters:"guids,states,active,numbers"`
}

func (a *API) listAppRollouts(ctx context.Context, c call, req listAppRollouts) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	req.List.In["app_guids"] = []string{req.GUID}
	return a.listRollouts(ctx, c, listRollouts{List: req.List})
}

// getRollout can wait until the rollout is over, or needs somebody.
func (a *API) getRollout(ctx context.Context, c call, req getAndWait) (reply, error) {
	s, err := waitFor(ctx, a.store, req.Wait, req.GUID, a.releases.Status, func(s release.Status) bool {
		return s.Row.State.IsOver() || s.Row.State == platform.RolloutPaused
	})
	return ok(c.rollout(s)), err
}

type createRollout struct {
	GUID string           `path:"guid"`
	Body v3.RolloutCreate `body:"json"`
}

func (a *API) createRollout(ctx context.Context, c call, req createRollout) (reply, error) {
	plan, err := release.ParsePlan(req.Body.Plan)
	if err != nil {
		return reply{}, err
	}
	if req.Body.DryRun {
		return noContent(), a.releases.Check(ctx, req.GUID, plan)
	}
	v, err := a.versionRequest(ctx, req.GUID, req.Body.VersionCreate)
	if err != nil {
		return reply{}, err
	}
	r := release.Request{
		AppGUID: req.GUID, DropletGUID: v.DropletGUID, RevisionGUID: v.RevisionGUID, VersionGUID: req.Body.VersionGUID, Label: v.Label,
		Plan: plan, Replace: v.Replace, Config: v.Config, Metadata: v.Metadata,
	}
	if v.Instances != nil {
		r.Instances = *v.Instances
	}
	row, err := a.releases.Start(ctx, c.actor(), r)
	if err != nil {
		return reply{}, err
	}
	return a.rolloutNow(ctx, c, row.GUID, http.StatusCreated)
}

func (a *API) rolloutNow(ctx context.Context, c call, guid string, status int) (reply, error) {
	s, err := a.releases.Status(ctx, guid)
	return reply{status: status, body: c.rollout(s)}, err
}

type rolloutAction struct {
	GUID string           `path:"guid"`
	Body v3.RolloutAction `body:"json"`
}

func (a *API) pauseRollout(ctx context.Context, c call, req rolloutAction) (reply, error) {
	if _, err := a.releases.Pause(ctx, c.actor(), req.GUID, req.Body.Reason); err != nil {
		return reply{}, err
	}
	return a.rolloutNow(ctx, c, req.GUID, http.StatusOK)
}

func (a *API) resumeRollout(ctx context.Context, c call, req rolloutAction) (reply, error) {
	if _, err := a.releases.Resume(ctx, c.actor(), req.GUID, req.Body.Reason); err != nil {
		return reply{}, err
	}
	return a.rolloutNow(ctx, c, req.GUID, http.StatusOK)
}

func (a *API) promoteRollout(ctx context.Context, c call, req rolloutAction) (reply, error) {
	if _, err := a.releases.PromoteFrom(ctx, c.actor(), req.GUID, req.Body.Step, req.Body.Full, req.Body.Reason); err != nil {
		return reply{}, err
	}
	return a.rolloutNow(ctx, c, req.GUID, http.StatusOK)
}

func (a *API) abortRollout(ctx context.Context, c call, req rolloutAction) (reply, error) {
	abort := a.releases.Abort
	if req.Body.Now {
		abort = a.releases.AbortNow
	}
	if _, err := abort(ctx, c.actor(), req.GUID, req.Body.Reason); err != nil {
		return reply{}, err
	}
	return a.rolloutNow(ctx, c, req.GUID, http.StatusOK)
}

func (a *API) retryRollout(ctx context.Context, c call, req rolloutGUID) (reply, error) {
	row, err := a.releases.Retry(ctx, c.actor(), req.GUID)
	if err != nil {
		return reply{}, err
	}
	return a.rolloutNow(ctx, c, row.GUID, http.StatusCreated)
}

type rolloutReport struct {
	GUID string           `path:"guid"`
	Body v3.RolloutReport `body:"json"`
}

func (a *API) reportToRollout(ctx context.Context, c call, req rolloutReport) (reply, error) {
	b := &req.Body
	r := release.Report{Versions: b.Versions, Event: b.Event, Reason: b.Reason}
	if len(r.Versions) == 0 {
		row, err := a.store.Rollout(ctx, req.GUID)
		if err != nil {
			return reply{}, err
		}
		r.Versions = map[string]uint64{row.FromGUID: b.Stable, row.ToGUID: b.Candidate}
	}
	if _, err := a.releases.Report(ctx, c.actor(), req.GUID, r); err != nil {
		return reply{}, err
	}
	return a.rolloutNow(ctx, c, req.GUID, http.StatusOK)
}

type appReport struct {
	GUID string         `path:"guid"`
	Body v3.EventReport `body:"json"`
}

// reportToApp is for those who cannot know which rollout is on its way.
func (a *API) reportToApp(ctx context.Context, c call, req appReport) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	b := &req.Body
	row, err := a.releases.ReportToApp(ctx, c.actor(), req.GUID, release.Report{Versions: b.Versions, Event: b.Event, Reason: b.Reason})
	if err != nil {
		return reply{}, err
	}
	return a.rolloutNow(ctx, c, row.GUID, http.StatusOK)
}

type rolloutGUID struct {
	GUID string `path:"guid"`
}

func (a *API) rolloutEvents(ctx context.Context, _ call, req rolloutGUID) (reply, error) {
	if _, err := a.releases.Status(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	all, err := a.releases.Events(ctx, req.GUID)
	out := v3.RolloutHistory{Resources: []v3.RolloutEvent{}}
	for _, e := range all {
		data := e.Data
		if data == nil {
			data = map[string]any{}
		}
		out.Resources = append(out.Resources, v3.RolloutEvent{
			At: v3.At(e.CreatedAt), State: string(e.State), Step: e.Step + 1, Table: e.Table, Text: e.Text, Data: data, Actor: e.Actor.Name,
		})
	}
	return ok(out), err
}

func (a *API) replayRollout(ctx context.Context, _ call, req rolloutGUID) (reply, error) {
	r, err := a.releases.Replay(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	out := v3.RolloutReplay{
		Entries: r.Entries, Bytes: r.Bytes, Same: r.Same, Rejected: r.Verdict.Rejected,
		Evidence: presentFigures(r.Evidence), Curve: []v3.RolloutPoint{},
	}
	for _, p := range r.Curve {
		out.Curve = append(out.Curve, v3.RolloutPoint{Stable: p.Stable, Candidate: p.Candidate, Evidence: presentFigures(p.Evidence)})
	}
	return ok(out), nil
}

type simulateRollout struct {
	GUID string             `path:"guid"`
	Body v3.RolloutSimulate `body:"json"`
}

func (a *API) simulateRollout(ctx context.Context, _ call, req simulateRollout) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	plan, err := release.ParsePlan(req.Body.Plan)
	if err != nil {
		return reply{}, err
	}
	s, err := a.releases.Simulate(ctx, release.SimulateRequest{
		AppGUID: req.GUID, Share: release.Percent(req.Body.Share), Ratio: req.Body.Ratio, Rate: req.Body.Rate, Plan: plan,
	})
	if err != nil {
		return reply{}, err
	}
	return ok(v3.RolloutSimulated{
		Share: float64(s.Share), Ratio: s.Ratio, Rate: s.Rate, Median: s.Median, P90: s.P90, Failed: s.Failed, Text: s.Text(),
	}), nil
}

type listFreezes struct {
	Space string `query:"space_guid"`
}

func (a *API) listFreezes(ctx context.Context, _ call, req listFreezes) (reply, error) {
	all, err := a.releases.Freezes(ctx, req.Space)
	out := v3.FreezeList{Resources: []v3.Freeze{}}
	for _, f := range all {
		out.Resources = append(out.Resources, presentFreeze(f))
	}
	return ok(out), err
}

type createFreeze struct {
	Body v3.FreezeCreate `body:"json"`
}

func (a *API) createFreeze(ctx context.Context, c call, req createFreeze) (reply, error) {
	if req.Body.SpaceGUID != "" {
		if _, err := a.store.Space(ctx, req.Body.SpaceGUID); err != nil {
			return reply{}, whenMissing(err, "The space does not exist")
		}
	}
	f, err := a.releases.AddFreeze(ctx, c.actor(), req.Body.SpaceGUID, req.Body.Window, req.Body.Reason)
	return created(presentFreeze(f)), err
}

func (a *API) deleteFreeze(ctx context.Context, _ call, req rolloutGUID) (reply, error) {
	return noContent(), a.releases.RemoveFreeze(ctx, req.GUID)
}

func presentFreeze(f platform.Freeze) v3.Freeze {
	return v3.Freeze{Resource: resource(f.Resource), Window: f.Window, Reason: f.Reason, SpaceGUID: f.SpaceGUID, CreatedBy: f.CreatedBy.Name}
}

// rollout presents a rollout.
func (u urls) rollout(s release.Status) v3.Rollout {
	r, p := &s.Row, &s.Progress
	self := "/v3/rollouts/" + r.GUID
	out := v3.Rollout{
		Resource: resource(r.Resource), Number: r.Number,
		From: v3.VersionName{GUID: r.FromGUID, Label: r.FromLabel}, To: v3.VersionName{GUID: r.ToGUID, Label: r.ToLabel},
		State: string(r.State), Over: r.State.IsOver(), Steps: len(s.Plan.Steps), Reason: r.Reason, Why: s.Why(),
		Returning: s.IsGoingBack(), Since: v3.At(r.Since), Table: r.Table, BakedSeconds: p.Baked.Seconds(), Missing: orEmptyList(s.Missing),
		StepUsage: v3.RolloutUsages{Stable: presentUsage(p.Step[0]), Candidate: presentUsage(p.Step[1])},
		Usage:     v3.RolloutUsages{Stable: presentUsage(p.All[0]), Candidate: presentUsage(p.All[1])},
		Evidence:  presentFigures(s.Figures), CouldSee: s.CouldSee, FirstBad: []v3.RolloutBadRequest{}, Reports: []v3.RolloutReported{},
		Explanation: presentExplanation(&s), KeptUntil: v3.At(p.KeptUntil), Plan: json.RawMessage(r.Plan), CreatedBy: r.CreatedBy.Name,
		Relationships: v3.Relationships{"app": v3.To(r.AppGUID)},
		Links:         v3.Links{"self": u.link(self), "app": u.link("/v3/apps/" + r.AppGUID)},
	}
	for _, action := range []string{"pause", "resume", "promote", "abort", "retry"} {
		out.Links[action] = u.linkWith(http.MethodPost, self+"/actions/"+action)
	}
	if !p.StepBegan.IsZero() && r.Step < len(s.Plan.Steps) {
		out.Step, out.Share, out.Judged, out.BakeSeconds = r.Step+1, s.StepText(), s.IsJudged(), s.Bake().Seconds()
	}
	for _, b := range p.FirstBad {
		label := r.FromLabel
		if b.Candidate {
			label = r.ToLabel
		}
		out.FirstBad = append(out.FirstBad, v3.RolloutBadRequest{
			Version: label, RequestID: b.RequestID, Method: b.Method, Path: strings.ToValidUTF8(b.Path, "?"), Status: b.Status, Reason: b.Reason,
			Event: strings.ToValidUTF8(b.Event, "?"), At: v3.At(b.At),
		})
	}
	for _, p := range p.Reports {
		out.Reports = append(out.Reports, v3.RolloutReported{At: v3.At(p.At), By: p.By, Event: p.Event, Reason: p.Reason, Stable: p.Stable, Candidate: p.Candidate})
	}
	return out
}

func presentExplanation(s *release.Status) v3.RolloutExplanation {
	x := s.Explain()
	out := v3.RolloutExplanation{What: x.What, Reason: x.Reason, Meaning: x.Meaning, Advice: x.Advice}
	if e := s.Progress.Ending; e != nil {
		out.DecidedAt, out.SwitchSeconds = v3.At(e.At), e.Took.Seconds()
	}
	return out
}

func presentUsage(u release.Usage) v3.RolloutUsage {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return v3.RolloutUsage{Requests: u.Requests, Bad: u.Bad, BadRate: u.BadRate(), Custom: u.Custom, Clients: u.Clients, P50: ms(u.Quantile(0.5)), P95: ms(u.Quantile(0.95))}
}

func presentFigures(f release.Figures) map[string]v3.RolloutEvidence {
	out := map[string]v3.RolloutEvidence{}
	for stream, v := range f {
		out[stream] = v3.RolloutEvidence(v)
	}
	return out
}
