package api_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	v3 "weir/api/v3"
	"weir/internal/release"
)

// The plan that help shows can be read, and has every key.
func TestRollouts_TheExampleOfAPlanIsWhole(t *testing.T) {
	var manifest struct {
		Applications []struct{ Rollout map[string]any }
	}
	if err := yaml.Unmarshal([]byte(v3.RolloutPlanExample), &manifest); err != nil {
		t.Fatal(err)
	}
	block := manifest.Applications[0].Rollout
	text, err := json.Marshal(block)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := release.ParsePlan(text)
	if err != nil || len(plan.Steps) != 6 {
		t.Fatalf("%v: %d steps", err, len(plan.Steps))
	}
	for f := range reflect.TypeFor[release.Plan]().Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if _, has := block[key]; !has && key != "hotfix" {
			t.Errorf("it does not show %s", key)
		}
	}
}

func TestRollouts_AVersionGetsEverything(t *testing.T) {
	f := newFixture(t)
	app, _ := f.started("shop")
	all := "/v3/apps/" + app.GUID + "/rollouts"
	second := f.droplet(app.GUID, "second")
	for _, bad := range []string{`{"plan":{"preset":"sideways"}}`, `{"label":"v 2"}`, `{"plan":{"steps":[{"weight":50},{"weight":10}]}}`} {
		f.wants(422, "POST", all, bad)
	}
	made := f.wants(201, "POST", all, `{"label":"v2","droplet":{"guid":"`+second+`"},"plan":{"preset":"all-at-once"},"environment_variables":{"COLOR":"green"}}`).guid(t)
	var r v3.Rollout
	f.get("/v3/rollouts/"+made+"?wait=30", &r)
	if r.State != v3.RolloutDone || r.To.Label != "v2" || !r.Over || r.Number != 1 {
		t.Fatalf("the rollout is %+v", r)
	}
	var versions v3.List[v3.Version]
	f.get("/v3/apps/"+app.GUID+"/versions", &versions)
	if v := versions.Resources[0]; v.Label != "v2" || v.Role != v3.RoleMain || v.SharePercent != 100 {
		t.Errorf("the main version is %+v", v)
	}
	if a := f.wants(200, "GET", "/v3/apps/"+app.GUID+"/environment_variables", ""); !strings.Contains(string(a.body), "green") {
		t.Errorf("what was promoted has not become the app's configuration: %s", a.body)
	}
	var h v3.RolloutHistory
	f.get("/v3/rollouts/"+made+"/events", &h)
	if n := len(h.Resources); n < 3 || h.Resources[n-1].State != v3.RolloutDone {
		t.Errorf("its history is %+v", h.Resources)
	}
	var replay v3.RolloutReplay
	f.get("/v3/rollouts/"+made+"/replay", &replay)
	if !replay.Same {
		t.Errorf("its replay is %+v", replay)
	}
	f.wants(200, "POST", "/v3/rollouts/"+made+"/actions/abort", `{}`) // it is over: nothing happens
	f.wants(422, "POST", "/v3/rollouts/"+made+"/actions/promote", `{}`)
}

// Requests may be moved in steps to a version that is there already; nobody takes
// either away afterwards.
func TestRollouts_AVersionThatIsThereGetsEverything(t *testing.T) {
	f := newFixture(t)
	app, _ := f.started("shop")
	all := "/v3/apps/" + app.GUID + "/rollouts"
	v2 := f.wants(201, "POST", "/v3/apps/"+app.GUID+"/versions", `{"label":"v2"}`).guid(t)
	f.wants(200, "GET", "/v3/versions/"+v2+"?wait=30", "")
	shadow := f.wants(201, "POST", "/v3/apps/"+app.GUID+"/versions", `{"label":"v3","mode":"shadow"}`).guid(t)
	var versions v3.List[v3.Version]
	f.get("/v3/apps/"+app.GUID+"/versions", &versions)
	plan := `,"plan":{"steps":[{"weight":50},{"weight":100}],"bake":"10ms","warmup":"0s","min-requests":0}}`
	for _, bad := range []string{"nope", shadow, versions.Resources[0].GUID} {
		f.wants(422, "POST", all, `{"version_guid":"`+bad+`"`+plan)
	}
	for _, more := range []string{`"label":"v9"`, `"environment_variables":{"A":"b"}`, `"droplet":{"guid":"x"}`} {
		f.wants(422, "POST", all, `{"version_guid":"`+v2+`",`+more+plan)
	}
	made := f.wants(201, "POST", all, `{"version_guid":"`+v2+`"`+plan).guid(t)
	var r v3.Rollout
	f.get("/v3/rollouts/"+made+"?wait=30", &r)
	if r.State != v3.RolloutDone || r.To.GUID != v2 || r.To.Label != "v2" || !r.KeptUntil.IsZero() {
		t.Fatalf("the rollout is %+v", r)
	}
	f.get("/v3/apps/"+app.GUID+"/versions", &versions)
	if v := versions.Resources[0]; len(versions.Resources) != 3 || v.GUID != v2 || v.Role != v3.RoleMain || v.SharePercent != 100 {
		t.Errorf("the versions are %+v", versions.Resources)
	}
}

// Whoever is about to build something can ask first.
func TestRollouts_CanBeAskedFor(t *testing.T) {
	f := newFixture(t)
	app, _ := f.started("shop")
	all := "/v3/apps/" + app.GUID + "/rollouts"
	f.wants(204, "POST", all, `{"dry_run":true,"plan":{"steps":[{"weight":10}]}}`)
	f.wants(422, "POST", all, `{"dry_run":true,"plan":{"on-fail":"cry"}}`)
	f.wants(404, "POST", "/v3/apps/nope/rollouts", `{"dry_run":true}`)
	f.wants(201, "POST", "/v3/freezes", `{"window":"00:00-13:00 UTC"}`)
	f.wants(201, "POST", "/v3/freezes", `{"window":"12:00-01:00 UTC"}`)
	f.wants(422, "POST", all, `{"dry_run":true}`)
	f.wants(204, "POST", all, `{"dry_run":true,"plan":{"hotfix":"fire"}}`)
	var list v3.List[v3.Rollout]
	if f.get(all, &list); len(list.Resources) != 0 {
		t.Errorf("asking began %d rollouts", len(list.Resources))
	}
	stopped, _ := f.app("later")
	f.wants(204, "POST", "/v3/apps/"+stopped.GUID+"/rollouts", `{"dry_run":true}`)
}

func TestRollouts_PauseAndAbort(t *testing.T) {
	f := newFixture(t)
	app, _ := f.started("shop")
	all := "/v3/apps/" + app.GUID + "/rollouts"
	made := f.wants(201, "POST", all, `{"label":"v2","droplet":{"guid":"`+f.droplet(app.GUID, "second")+`"},"plan":{"steps":[{"weight":10}],"warmup":0}}`).guid(t)
	self := "/v3/rollouts/" + made
	var r v3.Rollout
	f.eventually("the first step", func() bool {
		f.get(self, &r)
		return r.State == "baking"
	})
	f.wants(409, "POST", all, `{"label":"v3","plan":{"concurrency":"refuse"}}`)
	f.eventually("what is missing", func() bool {
		f.get(self, &r)
		return len(r.Missing) == 1
	})
	if r.Step != 1 || r.Steps != 2 || r.Share != "10%" || !r.Judged {
		t.Errorf("it is %+v", r)
	}
	f.wants(200, "POST", self+"/actions/pause", `{"reason":"lunch"}`)
	f.get(self, &r)
	if r.State != v3.RolloutPaused || r.Reason != "lunch" {
		t.Errorf("paused: %+v", r)
	}
	f.wants(200, "POST", self+"/actions/resume", `{}`)
	f.wants(200, "POST", self+"/actions/abort", `{"reason":"enough"}`)
	f.get(self+"?wait=30", &r)
	if r.State != v3.RolloutAborted || r.Reason != "enough" {
		t.Errorf("aborted: %+v", r)
	}
	var versions v3.List[v3.Version]
	f.get("/v3/apps/"+app.GUID+"/versions", &versions)
	if v := versions.Resources[0]; v.Label != "v1" || v.SharePercent != 100 {
		t.Errorf("the main version is %+v", v)
	}
}

// A monitor cannot know which rollout is on its way; whoever does may say it.
func TestRollouts_TakeReportsOfBadEvents(t *testing.T) {
	f := newFixture(t)
	app, _ := f.started("shop")
	report := "/v3/apps/" + app.GUID + "/actions/report_events"
	if a := f.wants(422, "POST", report, `{"versions":{"v1":1}}`); !strings.Contains(string(a.body), v3.TitleRefused) || !strings.Contains(string(a.body), "no rollout on its way") {
		t.Errorf("without a rollout: %s", a.body)
	}
	f.wants(404, "POST", "/v3/apps/nope/actions/report_events", `{"versions":{"v1":1}}`)
	made := f.wants(201, "POST", "/v3/apps/"+app.GUID+"/rollouts",
		`{"label":"v2","droplet":{"guid":"`+f.droplet(app.GUID, "second")+`"},"plan":{"steps":[{"weight":10}],"warmup":0,"judge":{"custom":["refund"]}}}`).guid(t)
	self := "/v3/rollouts/" + made
	var r v3.Rollout
	f.eventually("the first step", func() bool {
		f.get(self, &r)
		return r.State == "baking"
	})
	for body, want := range map[string]string{
		`{"versions":{"v2":1}}`:                                   "without a name",
		`{"versions":{"v2":3},"event":"refund"}`:                  "how many events v1 had",
		`{"versions":{"v3":1},"event":"refund"}`:                  "has no part in rollout r-1",
		`{"versions":{"v2":1,"v1":10000000},"event":"refund"}`:    "at most 100000 events",
		`{"versions":{"v2":-1},"event":"refund"}`:                 "",
		`{"event":"refund"}`:                                      "no event",
		`{"versions":{"v2":1},"event":"refund","severity":"bad"}`: "",
	} {
		if a := f.do("POST", report, body); a.status != 422 && a.status != 400 || !strings.Contains(string(a.body), want) {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	f.wants(200, "POST", report, `{"versions":{"v2":1},"event":"refund","reason":"from the till"}`)
	f.wants(200, "POST", self+"/actions/report", `{"versions":{"v2":0,"v1":4},"event":"refund"}`)
	f.wants(200, "POST", self+"/actions/report", `{"stable":5,"candidate":0,"event":"refund"}`)
	f.get(self, &r)
	if s, c := r.Usage.Stable.Custom, r.Usage.Candidate.Custom; s != 9 || c != 1 || len(r.Reports) != 3 {
		t.Fatalf("counted are %d and %d: %+v", s, c, r.Reports)
	}
	if p := r.Reports[0]; p.Candidate != 1 || p.Stable != 0 || p.Event != "refund" || p.Reason != "from the till" || p.By == "" {
		t.Errorf("the first report is %+v", p)
	}
	f.wants(200, "POST", self+"/actions/abort", `{}`)
	f.get(self+"?wait=30", &r)
	f.wants(422, "POST", self+"/actions/report", `{"versions":{"v2":1},"event":"refund"}`)
}

func TestRollouts_FreezesAndSimulation(t *testing.T) {
	f := newFixture(t)
	app, _ := f.started("shop")
	f.wants(422, "POST", "/v3/freezes", `{"window":"sometimes"}`)
	freeze := f.wants(201, "POST", "/v3/freezes", `{"window":"00:00-23:59 UTC","reason":"audit","space_guid":"`+f.space+`"}`).guid(t)
	a := f.wants(422, "POST", "/v3/apps/"+app.GUID+"/rollouts", `{"label":"v2"}`)
	if !strings.Contains(string(a.body), v3.TitleRefused) || !strings.Contains(string(a.body), "audit") {
		t.Errorf("a start in a freeze: %s", a.body)
	}
	var list v3.FreezeList
	f.get("/v3/freezes?space_guid="+f.space, &list)
	if len(list.Resources) != 1 {
		t.Errorf("freezes: %+v", list)
	}
	f.wants(204, "DELETE", "/v3/freezes/"+freeze, "")
	b := f.wants(200, "POST", "/v3/apps/"+app.GUID+"/actions/simulate_rollout", `{"share":5,"ratio":5,"rate":0.01}`)
	if !strings.Contains(string(b.body), "would be caught after about") {
		t.Errorf("simulation: %s", b.body)
	}
	f.wants(422, "POST", "/v3/apps/"+app.GUID+"/actions/simulate_rollout", `{"share":0,"ratio":5}`)
}
