package api_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v3 "weir/api/v3"
	"weir/router"
)

// Whoever waited for a shadow may count on copies, and with any other version
// on its own address.
func TestWait_EndsWhenTheRouterKnowsTheVersion(t *testing.T) {
	f := newFixture(t)
	app, _ := f.started("shop")
	f.mapped(app, "shop")
	var open atomic.Bool
	f.gate.Lock()
	defer func() {
		if !open.Load() {
			f.gate.Unlock()
		}
	}()
	path := "/v3/versions/" + f.wants(201, "POST", "/v3/apps/"+app.GUID+"/versions", `{"label":"v2","mode":"shadow"}`).guid(t)
	f.eventually("v2 is healthy", func() bool { return strings.Contains(string(f.wants(200, "GET", path, "").body), `"health":"healthy"`) })
	early := make(chan bool)
	go func() {
		_ = f.do("GET", path+"?wait=60", "")
		early <- !open.Load()
	}()
	time.Sleep(50 * time.Millisecond) // an answer that does not wait has come by then
	open.Store(true)
	f.gate.Unlock()
	if <-early {
		t.Error("it was answered before the router had the table")
	}
}

// A version has its label, and with it an address, once it is deployed: that is
// one more table.
func TestWait_EndsWhenTheRouterKnowsWhatWasDeployed(t *testing.T) {
	f := newFixture(t)
	app, _ := f.app("shop")
	f.mapped(app, "shop")
	var known atomic.Bool
	takes := func(u router.Update) {
		if slices.ContainsFunc(u.Upsert, func(r router.Route) bool { return strings.HasPrefix(r.Host, "v1--shop.") }) {
			time.Sleep(100 * time.Millisecond) // whoever does not wait for it is faster
			known.Store(true)
		}
	}
	f.takes.Store(&takes)
	f.startsAs(app, "v1")
	if !known.Load() {
		t.Error("the wait was over before the router knew the version's address")
	}
}

func TestGolden_Versions(t *testing.T) {
	f := newFixture(t)
	app, _ := f.started("shop")
	f.mapped(app, "shop")
	tr := f.transcript()
	all := "/v3/apps/" + app.GUID + "/versions"
	tr.do(200, "GET", all, "")
	second := f.droplet(app.GUID, "second")
	tr.do(422, "POST", all, `{"label":"v 2"}`)
	tr.do(422, "POST", all, `{"label":"v2","mode":"sideways"}`)
	tr.do(422, "POST", all, `{"label":"v2","droplet":{"guid":"nothing"}}`)
	tr.do(409, "POST", all, `{"label":"v1"}`)
	// Not in the transcript: its instance may have started meanwhile or not.
	v2 := f.wants(201, "POST", all, `{"label":"v2","droplet":{"guid":"`+second+`"},"instances":1,"environment_variables":{"COLOR":"green"},
		"memory_in_mb":64,"health_check":{"data":{"timeout":30}}}`).guid(t)
	tr.do(200, "GET", "/v3/versions/"+v2+"?wait=20", "")
	var list v3.List[v3.Version]
	f.get(all, &list)
	v1 := list.Resources[0].GUID
	split := "/v3/apps/" + app.GUID + "/split"
	tr.do(200, "GET", split, "")
	tr.do(200, "PATCH", split, fmt.Sprintf(`{"weights":{%q:95,%q:5},"dry_run":true}`, v1, v2))
	tr.do(200, "PATCH", split, fmt.Sprintf(`{"weights":{%q:95,%q:5},"verb":"weight"}`, v1, v2))
	tr.do(200, "GET", split, "")
	tr.do(200, "GET", all, "")
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/processes?embed=process_instances", "")
	tr.do(200, "GET", "/v3/processes/"+v2, "")
	tr.do(200, "GET", "/v3/processes/"+v2+"/process_instances", "")
	tr.do(202, "POST", "/v3/processes/"+v2+"/actions/scale", `{"instances":1}`)
	tr.do(422, "POST", "/v3/processes/"+v2+"/actions/scale", `{"memory_in_mb":1}`)
	if a := f.wants(200, "GET", "/v3/processes/"+v2+"/stats", ""); !strings.Contains(string(a.body), `"state":"RUNNING"`) {
		t.Errorf("stats of a version: %s", a.body)
	}
	f.wants(204, "DELETE", "/v3/processes/"+v2+"/instances/0", "")
	tr.do(404, "DELETE", "/v3/processes/"+v2+"/instances/7", "")
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/revisions/deployed", "")
	f.eventually("a new instance", func() bool {
		var v v3.Version
		f.get("/v3/versions/"+v2, &v)
		return v.Health == "healthy"
	})
	tr.do(200, "PATCH", "/v3/versions/"+v2, `{"match":[{"header":"X-Ring","exact":"0"},{"cidr":"10.0.0.0/8"}]}`)
	tr.do(422, "PATCH", "/v3/versions/"+v2, `{"match":[{"header":"X-Ring","cidr":"10.0.0.0/8"}]}`)
	tr.do(422, "PATCH", "/v3/versions/"+v2, `{"match":[{"cookie":"ring","regex":"("}]}`)
	tr.do(200, "PATCH", "/v3/versions/"+v2, `{"match":[]}`)
	tr.do(422, "PATCH", split, fmt.Sprintf(`{"weights":{%q:1001}}`, v2))
	tr.do(404, "PATCH", split, `{"weights":{"nothing":1}}`)
	tr.do(409, "PATCH", split, fmt.Sprintf(`{"weights":{%q:5},"if_table":1}`, v2))
	tr.do(422, "DELETE", "/v3/versions/"+v2, "")
	tr.do(422, "DELETE", "/v3/versions/"+v1, "")
	tr.do(200, "POST", "/v3/versions/"+v2+"/actions/promote", "")
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/promotions", "")
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/revisions/diff?from=1&to=2", "")
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/revisions/diff", "")
	f.wants(200, "PATCH", "/v3/apps/"+app.GUID+"/environment_variables", `{"var":{"COLOR":null,"SIZE":"9"}}`)
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/revisions/diff", "")
	tr.do(404, "GET", "/v3/apps/"+app.GUID+"/revisions/diff?from=9", "")
	tr.do(422, "GET", "/v3/apps/"+app.GUID+"/revisions/diff?from=last", "")
	tr.do(200, "POST", "/v3/apps/"+app.GUID+"/actions/rollback", "{}")
	tr.do(404, "POST", "/v3/apps/"+app.GUID+"/actions/rollback", "{}")
	tr.do(200, "POST", "/v3/apps/"+app.GUID+"/actions/undo", "")
	tr.do(200, "POST", "/v3/versions/"+v1+"/actions/stop", "")
	tr.do(200, "PATCH", "/v3/versions/"+v1, `{"mode":"shadow","shadow_percent":20,"instances":2,"metadata":{"labels":{"a":"b"}}}`)
	f.wants(200, "POST", "/v3/versions/"+v1+"/actions/start", "") // its instances may have started meanwhile or not
	tr.do(200, "GET", "/v3/versions/"+v1+"?wait=20", "")
	tr.do(422, "PATCH", split, fmt.Sprintf(`{"weights":{%q:5}}`, v1))
	tr.do(204, "DELETE", "/v3/versions/"+v1, "")
	tr.do(404, "GET", "/v3/versions/"+v1, "")
	tr.do(200, "GET", "/v3/versions?space_guids="+f.space+"&main=true", "")
	tr.golden("versions")
}

// mapped makes a route of the default domain and maps it to app.
func (f *fixture) mapped(app v3.App, host string) {
	f.t.Helper()
	r := f.wants(201, "POST", "/v3/routes", `{"host":"`+host+`","relationships":{"space":{"data":{"guid":"`+f.space+`"}},"domain":{"data":{"guid":"`+f.defaultDomain()+`"}}}}`)
	f.wants(200, "POST", "/v3/routes/"+r.guid(f.t)+"/destinations", `{"destinations":[{"app":{"guid":"`+app.GUID+`"}}]}`)
}

// defaultDomain returns the GUID of the domain that is there from the start.
func (f *fixture) defaultDomain() string {
	f.t.Helper()
	var all v3.List[v3.Domain]
	f.get("/v3/domains", &all)
	return all.Resources[0].GUID
}

func TestGolden_Traffic(t *testing.T) {
	f := newFixture(t)
	app, _ := f.started("shop")
	traffic := "/v3/apps/" + app.GUID + "/traffic"
	tr := f.transcript()
	tr.do(200, "GET", traffic, "")
	tr.do(200, "PATCH", traffic, `{"drain_seconds":120,"pause":{"max_seconds":10},"wait_drained":5}`)
	tr.do(200, "PATCH", traffic, `{"pause":null,"maintenance":{"page":"<h1>Back soon</h1>","allow":["192.0.2.7","header:X-Staff=yes"]}}`)
	tr.do(200, "GET", traffic, "")
	tr.do(422, "PATCH", traffic, `{"maintenance":{"allow":["somebody"]}}`)
	tr.do(422, "PATCH", traffic, `{"pause":{"max_seconds":601}}`)
	tr.do(422, "PATCH", traffic, `{"drain_seconds":-1}`)
	tr.do(200, "PATCH", traffic, `{"maintenance":null,"drain_seconds":null}`)
	tr.golden("traffic")
}

// A change of several things of a version is one change: if one of them cannot
// be, none is made.
func TestUpdateVersion_IsOneChangeOrNone(t *testing.T) {
	f := newFixture(t)
	app, _ := f.started("shop")
	f.mapped(app, "shop")
	path := "/v3/versions/" + f.wants(201, "POST", "/v3/apps/"+app.GUID+"/versions", `{"label":"v2"}`).guid(t)
	f.wants(200, "GET", path+"?wait=30", "")
	table := func() uint64 {
		var s v3.Split
		f.get("/v3/apps/"+app.GUID+"/split", &s)
		return s.Table
	}
	const shadow, match, size, label = `"mode":"shadow","shadow_percent":20,"shadow":{"all_methods":true,"ignore":["$.at"]}`,
		`"match":[{"header":"X-Ring"}]`, `"instances":2`, `"metadata":{"labels":{"tier":"gold"}}`
	before := table()
	for _, bad := range []string{
		shadow + `,` + match + `,` + size + `,"metadata":{"labels":{"a b":"c"}}`,
		shadow + `,` + match + `,"instances":0,` + label,
		shadow + `,"match":[{"header":"X-Ring","cidr":"10.0.0.0/8"}],` + size + `,` + label,
		`"mode":"shadow","shadow_percent":200,` + match + `,` + size + `,` + label,
		size + `,"metadata":{"labels":{"a b":"c"}}`,
	} {
		f.wants(422, "PATCH", path, `{`+bad+`}`)
	}
	f.wants(409, "PATCH", path, fmt.Sprintf(`{%s,%s,%s,%s,"if_table":1}`, shadow, match, size, label))
	f.wants(200, "PATCH", path, fmt.Sprintf(`{%s,%s,%s,%s,"dry_run":true}`, shadow, match, size, label))
	f.wants(200, "PATCH", path, fmt.Sprintf(`{%s,%s,"dry_run":true}`, size, label))
	var v v3.Version
	f.get(path, &v)
	if v.Mode != "live" || len(v.Match) != 0 || v.Instances.Wanted != 1 || len(v.Metadata.Labels) != 0 || table() != before {
		t.Errorf("a refused change left %+v, table %d after %d", v, table(), before)
	}
	f.wants(200, "PATCH", path, fmt.Sprintf(`{%s,%s,%s,%s}`, shadow, match, size, label))
	f.get(path, &v)
	if v.Mode != "shadow" || v.ShadowPercent != 20 || !v.Shadow.AllMethods || len(v.Match) != 1 || v.Instances.Wanted != 2 || v.Metadata.Labels["tier"] != "gold" {
		t.Errorf("after the change: %+v", v)
	}
	f.wants(200, "POST", "/v3/apps/"+app.GUID+"/actions/undo", `{}`) // one step takes all of the traffic back
	f.get(path, &v)
	if v.Mode != "live" || len(v.Match) != 0 {
		t.Errorf("after undo: %+v", v)
	}
}
