package api_test

import (
	"strings"
	"testing"
	"time"

	v3 "weir/api/v3"
)

func TestGolden_Root(t *testing.T) {
	tr := newFixture(t).transcript()
	tr.do(200, "GET", "/", "")
	tr.do(200, "GET", "/v3", "")
	tr.do(200, "GET", "/v3/info", "")
	tr.golden("root")
}

func TestGolden_OrganizationsAndSpaces(t *testing.T) {
	f := newFixture(t)
	tr := f.transcript()
	tr.do(200, "GET", "/v3/organizations?names=default&page=1&per_page=1", "")
	org := tr.do(201, "POST", "/v3/organizations", `{"name":"acme","suspended":false,"metadata":{"labels":{"tier":"gold"}}}`).guid(t)
	tr.do(422, "POST", "/v3/organizations", `{"name":"acme","suspended":false}`)
	space := tr.do(201, "POST", "/v3/spaces", `{"name":"dev","relationships":{"organization":{"data":{"guid":"`+org+`"}}}}`).guid(t)
	tr.do(422, "POST", "/v3/spaces", `{"name":"dev","relationships":{"organization":{"data":{"guid":"`+org+`"}}}}`)
	tr.do(422, "POST", "/v3/roles", `{"type":"space_manager","relationships":{"user":{"data":{"username":"admin","origin":"uaa"}},"space":{"data":{"guid":"`+space+`"}}}}`)
	tr.do(200, "GET", "/v3/spaces?names=dev&organization_guids="+org+"&include=organization", "")
	tr.do(200, "PATCH", "/v3/spaces/"+space, `{"name":"prod","metadata":{"annotations":{"note":"x"}}}`)
	tr.do(200, "PATCH", "/v3/organizations/"+org, `{"name":"acme2","metadata":{"labels":{"tier":null}}}`)
	tr.do(200, "GET", "/v3/organizations/"+org+"/usage_summary", "")
	tr.do(200, "GET", "/v3/organizations/"+org+"/domains", "")
	tr.do(200, "GET", "/v3/organizations/"+org+"/domains/default", "")
	tr.do(200, "GET", "/v3/organizations/"+org+"/relationships/default_isolation_segment", "")
	tr.do(200, "GET", "/v3/spaces/"+space+"/relationships/isolation_segment", "")
	tr.do(200, "GET", "/v3/spaces/"+space+"/running_security_groups", "")
	tr.do(200, "GET", "/v3/spaces/"+space+"/features", "")
	tr.do(200, "GET", "/v3/organization_quotas", "")
	tr.do(200, "GET", "/v3/audit_events?organization_guids="+org+"&order_by=created_at", "")
	deleted := tr.do(202, "DELETE", "/v3/organizations/"+org, "")
	if j := f.job(deleted); j.State != v3.JobComplete {
		t.Errorf("the job is %+v", j)
	}
	tr.do(404, "GET", "/v3/organizations/"+org, "")
	tr.do(404, "GET", "/v3/spaces/"+space, "")
	tr.golden("orgs")
}

func TestGolden_Apps(t *testing.T) {
	f := newFixture(t)
	tr := f.transcript()
	rel := `"relationships":{"space":{"data":{"guid":"` + f.space + `"}}}`
	app := tr.do(201, "POST", "/v3/apps", `{"name":"shop","environment_variables":{"A":"1"},`+rel+`,"metadata":{"labels":{"env":"prod"}}}`).guid(t)
	tr.do(422, "POST", "/v3/apps", `{"name":"shop",`+rel+`}`)
	tr.do(422, "POST", "/v3/apps", `{"name":"",`+rel+`}`)
	tr.do(422, "POST", "/v3/apps", `{"name":"x","relationships":{"space":{"data":{"guid":"nowhere"}}}}`)
	tr.do(422, "POST", "/v3/apps", `{"name":"x","lifecycle":{"type":"docker","data":{}},`+rel+`}`)
	tr.do(200, "GET", "/v3/apps?names=shop&space_guids="+f.space, "")
	tr.do(200, "GET", "/v3/apps/"+app+"?include=Space", "")
	tr.do(200, "GET", "/v3/apps?include=space.organization&label_selector=env+in+(prod)", "")
	tr.do(200, "GET", "/v3/apps?label_selector=env!%3Dprod", "")
	tr.do(200, "PATCH", "/v3/apps/"+app, `{"name":"store","metadata":{"labels":{"env":null}}}`)
	tr.do(422, "POST", "/v3/apps/"+app+"/actions/start", "")
	tr.do(404, "GET", "/v3/apps/"+app+"/droplets/current", "")
	tr.do(200, "PATCH", "/v3/apps/"+app+"/environment_variables", `{"var":{"B":"2","A":null}}`)
	tr.do(200, "GET", "/v3/apps/"+app+"/environment_variables", "")
	tr.do(200, "GET", "/v3/apps/"+app+"/env", "")
	tr.do(200, "GET", "/v3/apps/"+app+"/features", "")
	tr.do(200, "PATCH", "/v3/apps/"+app+"/features/revisions", `{"enabled":false}`)
	tr.do(422, "PATCH", "/v3/apps/"+app+"/features/ssh", `{"enabled":true}`)
	tr.do(200, "GET", "/v3/apps/"+app+"/ssh_enabled", "")
	tr.do(200, "GET", "/v3/apps/"+app+"/permissions", "")
	tr.do(200, "GET", "/v3/apps/"+app+"/routes", "")
	tr.do(200, "GET", "/v3/apps/"+app+"/manifest", "")
	if j := f.job(tr.do(202, "DELETE", "/v3/apps/"+app, "")); j.State != v3.JobComplete {
		t.Errorf("the job is %+v", j)
	}
	tr.do(404, "GET", "/v3/apps/"+app, "")
	tr.do(404, "DELETE", "/v3/apps/"+app, "")
	tr.golden("apps")
}

// started makes an app that runs and waits until it does.
func (f *fixture) started(name string) (v3.App, string) {
	f.t.Helper()
	app, droplet := f.app(name)
	f.startsAs(app, "")
	return app, droplet
}

// startsAs starts an app as a version with a label, if it is not empty.
func (f *fixture) startsAs(app v3.App, label string) {
	f.t.Helper()
	p, err := f.client.Process(f.t.Context(), app.GUID, "web")
	f.must(err)
	none := "process"
	_, err = f.client.UpdateProcess(f.t.Context(), p.GUID, v3.ProcessUpdate{HealthCheck: &v3.HealthCheckUpdate{Type: &none}})
	f.must(err)
	_, deployment, err := f.client.StartAppAs(f.t.Context(), app.GUID, label)
	f.must(err)
	d, err := f.client.WaitDeployment(f.t.Context(), deployment)
	f.must(err)
	if d.Status.Reason != v3.ReasonDeployed {
		f.t.Fatalf("%s did not start: %+v", app.Name, d)
	}
}

func TestGolden_Processes(t *testing.T) {
	f := newFixture(t)
	app, _ := f.started("shop")
	tr := f.transcript()
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/processes", "")
	p, err := f.client.Process(t.Context(), app.GUID, "web")
	f.must(err)
	self := "/v3/processes/" + p.GUID
	tr.do(200, "GET", self, "")
	tr.do(200, "GET", "/v3/processes?embed=process_instances&space_guids="+f.space, "")
	tr.do(200, "GET", self+"/stats", "")
	tr.do(200, "GET", self+"/process_instances", "")
	tr.do(200, "GET", self+"/sidecars", "")
	tr.do(200, "PATCH", self, `{"command":"./other","health_check":{"type":"http","data":{"endpoint":"/x","invocation_timeout":5,"timeout":null}},
		"readiness_health_check":{"type":"port","data":{"interval":3}}}`)
	tr.do(422, "PATCH", self, `{"health_check":{"type":"tcp"}}`)
	tr.do(422, "PATCH", self, `{"health_check":{"type":"port","data":{"endpoint":"/x"}}}`)
	tr.do(422, "PATCH", self, `{"health_check":{"data":{"timeout":0}}}`)
	tr.do(202, "POST", "/v3/apps/"+app.GUID+"/processes/web/actions/scale", `{"instances":2}`)
	tr.do(422, "POST", "/v3/apps/"+app.GUID+"/processes/web/actions/scale", `{"instances":-1}`)
	tr.do(202, "POST", self+"/actions/scale", `{"memory_in_mb":512,"disk_in_mb":2048,"log_rate_limit_in_bytes_per_second":-1}`)
	tr.do(404, "POST", "/v3/apps/"+app.GUID+"/processes/worker/actions/scale", `{"instances":2}`)
	f.eventually("two instances to run", func() bool {
		s, err := f.client.Stats(t.Context(), p.GUID)
		return err == nil && len(s) == 2 && s[0].State == "RUNNING" && s[1].State == "RUNNING"
	})
	tr.do(204, "DELETE", "/v3/apps/"+app.GUID+"/processes/web/instances/1", "")
	tr.do(404, "DELETE", "/v3/apps/"+app.GUID+"/processes/web/instances/9", "")
	tr.do(404, "DELETE", self+"/instances/x", "")
	tr.do(200, "POST", "/v3/apps/"+app.GUID+"/actions/stop", "")
	tr.do(200, "GET", self+"/stats", "")
	tr.golden("processes")
}

func TestGolden_PackagesBuildsDroplets(t *testing.T) {
	f := newFixture(t)
	app, droplet := f.app("shop")
	tr := f.transcript()
	rel := `"relationships":{"app":{"data":{"guid":"` + app.GUID + `"}}}`
	pkg := tr.do(201, "POST", "/v3/packages", `{"type":"bits",`+rel+`,"metadata":{"annotations":{"source-version":"abc"}}}`).guid(t)
	tr.do(400, "POST", "/v3/builds", `{"package":{"guid":"`+pkg+`"}}`)
	tr.do(422, "POST", "/v3/builds", `{"package":{"guid":"nothing"}}`)
	tr.do(422, "POST", "/v3/packages", `{"type":"docker","data":{"image":"x"},`+rel+`}`)
	tr.do(422, "POST", "/v3/packages", `{"type":"git","data":{},`+rel+`}`)
	tr.do(422, "POST", "/v3/packages", `{"type":"bits","relationships":{"app":{"data":{"guid":"x"}}}}`)
	tr.do(200, "GET", "/v3/packages?app_guids="+app.GUID+"&order_by=-created_at", "")
	tr.do(200, "PATCH", "/v3/packages/"+pkg, `{"metadata":{"labels":{"a":"b"}}}`)
	tr.do(422, "GET", "/v3/packages/"+pkg+"/download", "")
	tr.do(200, "GET", "/v3/droplets/"+droplet, "")
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/droplets?current=true", "")
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/droplets/current", "")
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/relationships/current_droplet", "")
	tr.do(302, "GET", "/v3/droplets/"+droplet+"/download", "")
	tr.do(201, "POST", "/v3/droplets", `{`+rel+`,"process_types":{"web":"./x"}}`)
	tr.do(201, "POST", "/v3/droplets?source_guid="+droplet, `{`+rel+`}`)
	tr.do(200, "PATCH", "/v3/droplets/"+droplet, `{"metadata":{"labels":{"a":"b"}}}`)
	tr.do(422, "PATCH", "/v3/apps/"+app.GUID+"/relationships/current_droplet", `{"data":{"guid":"nothing"}}`)
	tr.do(200, "GET", "/v3/builds?app_guids="+app.GUID, "")
	tr.do(404, "GET", "/v3/builds/x", "")
	if j := f.job(tr.do(202, "DELETE", "/v3/packages/"+pkg, "")); j.State != v3.JobComplete {
		t.Errorf("the job is %+v", j)
	}
	tr.golden("sources")
}

func TestGolden_DeploymentsAndRevisions(t *testing.T) {
	f := newFixture(t)
	app, droplet := f.started("shop")
	tr := f.transcript()
	rel := `"relationships":{"app":{"data":{"guid":"` + app.GUID + `"}}}`
	a := tr.do(200, "POST", "/v3/apps/"+app.GUID+"/actions/restart", "")
	_, err := f.client.WaitDeployment(t.Context(), a.header.Get(v3.DeploymentHeader))
	f.must(err)
	tr.do(200, "GET", "/v3/deployments?app_guids="+app.GUID+"&order_by=-created_at&page=1&per_page=1&status_values=ACTIVE", "")
	second := f.droplet(app.GUID, "second")
	d := tr.do(201, "POST", "/v3/deployments", `{"droplet":{"guid":"`+second+`"},`+rel+`}`).guid(t)
	tr.do(200, "GET", "/v3/deployments/"+d+"?wait=20", "")
	tr.do(200, "PATCH", "/v3/deployments/"+d, `{"metadata":{"labels":{"a":"b"}}}`)
	tr.do(422, "POST", "/v3/deployments/"+d+"/actions/continue", "")
	tr.do(422, "POST", "/v3/deployments/"+d+"/actions/cancel", "")
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/revisions?order_by=-created_at", "")
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/revisions/deployed", "")
	var rs v3.List[v3.Revision]
	f.get("/v3/apps/"+app.GUID+"/revisions?versions=1&page=1&per_page=2", &rs)
	first := rs.Resources[0].GUID
	tr.do(200, "GET", "/v3/revisions/"+first, "")
	tr.do(200, "GET", "/v3/revisions/"+first+"/environment_variables", "")
	tr.do(200, "PATCH", "/v3/revisions/"+first, `{"metadata":{"labels":{"a":"b"}}}`)
	tr.do(422, "POST", "/v3/deployments", `{"droplet":{"guid":"`+droplet+`"},"revision":{"guid":"`+first+`"},`+rel+`}`)
	tr.do(422, "POST", "/v3/deployments", `{"strategy":"sideways",`+rel+`}`)
	tr.do(422, "POST", "/v3/deployments", `{"strategy":"rolling","options":{"canary":{"steps":[{"instance_weight":5}]}},`+rel+`}`)
	tr.do(422, "POST", "/v3/deployments", `{"strategy":"canary","options":{"canary":{"steps":[{"instance_weight":50},{"instance_weight":20}]}},`+rel+`}`)
	canary := tr.do(201, "POST", "/v3/deployments", `{"revision":{"guid":"`+first+`"},"strategy":"canary","options":{"max_in_flight":2,
		"canary":{"steps":[{"instance_weight":50}]},"web_instances":2,"memory_in_mb":null,"disk_in_mb":null,"log_rate_limit_in_bytes_per_second":null},`+rel+`}`).guid(t)
	tr.do(200, "GET", "/v3/deployments/"+canary+"?wait=20", "")
	if a := f.wants(200, "POST", "/v3/deployments/"+canary+"/actions/continue", ""); len(a.body) != 0 {
		t.Errorf("continue answers %s", a.body)
	}
	var now v3.Deployment
	f.get("/v3/deployments/"+canary, &now)
	if now.Status.Reason == v3.ReasonPaused {
		t.Error("continue left the deployment paused")
	}
	tr.do(200, "GET", "/v3/deployments/"+canary+"?wait=20", "")
	tr.do(400, "GET", "/v3/deployments/"+canary+"?wait=61", "")
	tr.golden("deployments")
}

func TestGolden_RoutesAndDomains(t *testing.T) {
	f := newFixture(t)
	app, _ := f.app("shop")
	tr := f.transcript()
	tr.do(200, "GET", "/v3/domains?names=apps.localhost&page=1&per_page=1", "")
	own := tr.do(201, "POST", "/v3/domains", `{"name":"Example.COM","internal":false}`).guid(t)
	tr.do(422, "POST", "/v3/domains", `{"name":"example.com"}`)
	private := tr.do(201, "POST", "/v3/domains", `{"name":"acme.test","relationships":{"organization":{"data":{"guid":"`+f.org+`"}}}}`).guid(t)
	rel := func(domain string) string {
		return `"relationships":{"space":{"data":{"guid":"` + f.space + `"}},"domain":{"data":{"guid":"` + domain + `"}}}`
	}
	r := tr.do(201, "POST", "/v3/routes", `{"host":"shop","path":"/api","port":null,"options":{"loadbalancing":"least-connection"},`+rel(own)+`}`).guid(t)
	tr.do(422, "POST", "/v3/routes", `{"host":"shop","path":"/api",`+rel(own)+`}`)
	tr.do(422, "POST", "/v3/routes", `{"host":"shop","path":"api",`+rel(own)+`}`)
	tr.do(422, "POST", "/v3/routes", `{"host":"sh op",`+rel(own)+`}`)
	tr.do(422, "POST", "/v3/routes", `{"host":"x","options":{"magic":"1"},`+rel(own)+`}`)
	tr.do(422, "POST", "/v3/routes", `{"host":"x",`+rel("nowhere")+`}`)
	tr.do(201, "POST", "/v3/routes", `{"host":"shop",`+rel(own)+`}`)
	tr.do(200, "GET", "/v3/routes?domain_guids="+own+"&hosts=shop&paths=&page=1&per_page=1", "")
	tr.do(200, "GET", "/v3/routes?domain_guids="+own+"&hosts=&paths=", "")
	tr.do(200, "GET", "/v3/domains/"+own+"/route_reservations?host=shop&path=/api", "")
	tr.do(200, "GET", "/v3/domains/"+own+"/route_reservations?host=nope", "")
	d := tr.do(200, "POST", "/v3/routes/"+r+"/destinations", `{"destinations":[{"app":{"guid":"`+app.GUID+`"}}]}`)
	tr.do(200, "POST", "/v3/routes/"+r+"/destinations", `{"destinations":[{"app":{"guid":"`+app.GUID+`","process":{"type":"web"}},"port":8080,"protocol":"http1"}]}`)
	tr.do(422, "POST", "/v3/routes/"+r+"/destinations", `{"destinations":[{"app":{"guid":"ghost"}}]}`)
	tr.do(422, "POST", "/v3/routes/"+r+"/destinations", `{"destinations":[{"app":{"guid":"`+app.GUID+`"},"weight":1001}]}`)
	tr.do(422, "POST", "/v3/routes/"+r+"/destinations", `{"destinations":[{"app":{"guid":"`+app.GUID+`"},"colour":"red"}]}`)
	tr.do(422, "POST", "/v3/routes/"+r+"/destinations", `{"destinations":[]}`)
	var made v3.Destinations
	decode(t, d, &made)
	tr.do(200, "PATCH", "/v3/routes/"+r+"/destinations/"+made.Destinations[0].GUID, `{"protocol":"http2","weight":20}`)
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/routes?include=domain", "")
	tr.do(200, "PATCH", "/v3/routes/"+r+"/destinations", `{"destinations":[{"app":{"guid":"`+app.GUID+`"},"weight":95},{"app":{"guid":"`+app.GUID+`","process":{"type":"worker"}},"weight":5}]}`)
	tr.do(200, "GET", "/v3/routes/"+r+"/destinations?app_guids="+app.GUID, "")
	f.get("/v3/routes/"+r+"/destinations", &made)
	tr.do(204, "DELETE", "/v3/routes/"+r+"/destinations/"+made.Destinations[0].GUID, "")
	tr.do(422, "DELETE", "/v3/routes/"+r+"/destinations/"+made.Destinations[0].GUID, "")
	tr.do(200, "PATCH", "/v3/routes/"+r, `{"options":{"loadbalancing":null},"metadata":{"labels":{"a":"b"}}}`)
	tr.do(200, "PATCH", "/v3/routes/"+r+"/destinations", `{"destinations":[]}`)
	if j := f.job(tr.do(202, "DELETE", "/v3/spaces/"+f.space+"/routes?unmapped=true", "")); j.State != v3.JobComplete {
		t.Errorf("the job is %+v", j)
	}
	tr.do(404, "GET", "/v3/routes/"+r, "")
	if j := f.job(tr.do(202, "DELETE", "/v3/domains/"+private, "")); j.State != v3.JobComplete {
		t.Errorf("the job is %+v", j)
	}
	tr.golden("routes")
}

func TestGolden_Services(t *testing.T) {
	f := newFixture(t)
	app, _ := f.app("shop")
	tr := f.transcript()
	rel := `"relationships":{"space":{"data":{"guid":"` + f.space + `"}}}`
	s := tr.do(201, "POST", "/v3/service_instances", `{"type":"user-provided","name":"db","credentials":{"uri":"postgres://x"},"tags":["sql"],
		"syslog_drain_url":"","route_service_url":"",`+rel+`}`).guid(t)
	tr.do(422, "POST", "/v3/service_instances", `{"type":"user-provided","name":"db",`+rel+`}`)
	tr.do(422, "POST", "/v3/service_instances", `{"type":"managed","name":"x",`+rel+`}`)
	tr.do(200, "GET", "/v3/service_instances?fields[service_plan]=guid,name&order_by=name&per_page=5000&space_guids="+f.space, "")
	bind := `{"type":"app","relationships":{"app":{"data":{"guid":"` + app.GUID + `"}},"service_instance":{"data":{"guid":"` + s + `"}}}}`
	b := tr.do(201, "POST", "/v3/service_credential_bindings", bind).guid(t)
	tr.do(422, "POST", "/v3/service_credential_bindings", bind)
	tr.do(200, "GET", "/v3/service_credential_bindings?include=app,service_instance&service_instance_guids="+s, "")
	tr.do(200, "GET", "/v3/service_credential_bindings/"+b+"/details", "")
	tr.do(200, "GET", "/v3/service_instances/"+s+"/credentials", "")
	tr.do(200, "PATCH", "/v3/service_instances/"+s, `{"name":"pg","credentials":{"uri":"postgres://y"},"tags":[]}`)
	tr.do(200, "GET", "/v3/apps/"+app.GUID+"/env", "")
	tr.do(422, "DELETE", "/v3/service_instances/"+s, "")
	tr.do(204, "DELETE", "/v3/service_credential_bindings/"+b, "")
	tr.do(204, "DELETE", "/v3/service_instances/"+s, "")
	tr.do(404, "GET", "/v3/service_instances/"+s, "")
	tr.golden("services")
}

func TestGolden_Platform(t *testing.T) {
	f := newFixture(t)
	f.eventually("the built-in buildpacks", func() bool {
		bs, err := f.client.Buildpacks(t.Context(), nil)
		return err == nil && len(bs) > 5
	})
	tr := f.transcript()
	tr.do(200, "GET", "/v3/feature_flags?per_page=2", "")
	tr.do(200, "GET", "/v3/feature_flags/diego_docker", "")
	tr.do(404, "GET", "/v3/feature_flags/nope", "")
	tr.do(200, "GET", "/v3/stacks?names=cflinuxfs4&page=1&per_page=1", "")
	tr.do(200, "GET", "/v3/stacks?names=windows", "")
	tr.do(200, "PATCH", "/v3/stacks/5ac00000-0000-4000-8000-000000000001", `{"metadata":{"labels":{"os":"linux"}}}`)
	tr.do(200, "GET", "/v3/users?usernames=admin", "")
	for _, empty := range []string{
		"/v3/service_route_bindings?include=service_instance&route_guids=x", "/v3/isolation_segments?organization_guids=x",
		"/v3/security_groups", "/v3/service_plans?available=true&include=service_offering&fields[service_offering.service_broker]=name,guid",
		"/v3/service_offerings", "/v3/service_brokers", "/v3/space_quotas?names=x", "/v3/roles?include=user&space_guids=x",
	} {
		f.wants(200, "GET", empty, "")
	}
	bp := tr.do(201, "POST", "/v3/buildpacks", `{"name":"mine","position":1,"enabled":true}`).guid(t)
	tr.do(422, "POST", "/v3/buildpacks", `{"name":"mine","position":1,"enabled":true}`)
	tr.do(200, "PATCH", "/v3/buildpacks/"+bp, `{"position":2,"enabled":false,"stack":null,"metadata":{"labels":{"a":"b"}}}`)
	tr.do(200, "GET", "/v3/buildpacks?names=mine", "")
	if j := f.job(tr.do(202, "DELETE", "/v3/buildpacks/"+bp, "")); j.State != v3.JobComplete {
		t.Errorf("the job is %+v", j)
	}
	tr.golden("platform")
}

func TestGolden_Manifests(t *testing.T) {
	f := newFixture(t)
	tr := f.transcript()
	apply := "/v3/spaces/" + f.space + "/actions/apply_manifest"
	diff := "/v3/spaces/" + f.space + "/manifest_diff"
	manifest := "applications:\n- name: shop\n  default-route: true\n  path: /home/me/shop\n  memory: 256M\n  instances: 2\n  env: {A: 1}\n"
	if j := f.job(tr.do(202, "POST", apply, manifest)); j.State != v3.JobComplete {
		t.Errorf("the job is %+v", j)
	}
	var apps v3.List[v3.App]
	f.get("/v3/apps?names=shop", &apps)
	tr.do(200, "GET", "/v3/apps/"+apps.Resources[0].GUID+"/manifest", "")
	tr.do(200, "GET", "/v3/routes", "")
	tr.do(201, "POST", diff, strings.ReplaceAll(manifest, "256M", "512M"))
	if j := f.job(tr.do(202, "POST", apply, manifest)); j.State != v3.JobComplete {
		t.Errorf("the second job is %+v", j)
	}
	var same v3.ManifestDiff
	decode(t, f.wants(201, "POST", diff, string(f.do("GET", "/v3/apps/"+apps.Resources[0].GUID+"/manifest", "").body)), &same)
	if len(same.Diff) != 0 {
		t.Errorf("an app's own manifest differs from it: %+v", same.Diff)
	}
	tr.do(422, "POST", apply, "applications:\n- name: shop\n  memory: 256\n- name: other\n  instances: many\n")
	tr.do(422, "POST", apply, "applications:\n- name: shop\n  memory: 256\n- instances: -1\n")
	tr.do(422, "POST", apply, "applications:\n- name: shop\n  routes: [{route: shop.nowhere.test}]\n")
	tr.do(422, "POST", apply, "applications:\n- name: shop\n  buildpacks: [nonesuch]\n")
	tr.do(422, "POST", apply, "version: 1\n")
	tr.do(400, "POST", apply, "applications: [\n")
	tr.do(400, "POST", apply, `{"applications":[]}`)
	tr.do(404, "POST", "/v3/spaces/nowhere/actions/apply_manifest", manifest)
	tr.golden("manifests")
}

func TestGolden_Events(t *testing.T) {
	f := newFixture(t)
	app, _ := f.app("shop")
	f.wants(200, "GET", "/v3/apps/"+app.GUID+"/env", "")
	tr := f.transcript()
	tr.do(200, "GET", "/v3/audit_events?order_by=created_at&target_guids="+app.GUID, "")
	tr.do(200, "GET", "/v3/audit_events?types=audit.app.create&created_ats[gt]=2020-01-01T00:00:00Z&target_guids[not]=x", "")
	tr.do(200, "GET", "/v3/audit_events?created_ats[lt]=2020-01-01T00:00:00Z", "")
	tr.golden("events")
}

func TestGolden_Refusals(t *testing.T) {
	f := newFixture(t)
	tr := f.transcript()
	tr.do(404, "GET", "/v3/nothing", "")
	tr.do(404, "PUT", "/v3/apps", `{}`)
	tr.do(404, "GET", "/v2/info", "")
	tr.do(404, "GET", "/v3/jobs/nothing", "")
	tr.do(404, "GET", "/v3/processes/nothing", "")
	tr.do(404, "GET", "/v3/processes/nothing/stats", "")
	tr.do(404, "GET", "/v3/deployments/nothing", "")
	tr.do(404, "GET", "/v3/routes/nothing/destinations", "")
	tr.do(404, "GET", "/v3/domains/nothing", "")
	tr.do(404, "GET", "/v3/packages/nothing", "")
	tr.do(404, "GET", "/v3/droplets/nothing", "")
	tr.do(404, "GET", "/v3/users/nothing", "")
	tr.do(404, "GET", "/v3/revisions/nothing", "")
	tr.do(404, "GET", "/v3/buildpacks/nothing", "")
	tr.do(404, "GET", "/v3/stacks/nothing", "")
	tr.do(400, "GET", "/v3/apps?colour=red&names=x", "")
	tr.do(400, "GET", "/v3/apps?per_page=0", "")
	tr.do(400, "GET", "/v3/apps?per_page=5001", "")
	tr.do(400, "GET", "/v3/apps?page=0", "")
	tr.do(400, "GET", "/v3/apps?order_by=colour", "")
	tr.do(400, "GET", "/v3/apps?include=moon", "")
	tr.do(400, "GET", "/v3/apps?label_selector=a+b", "")
	tr.do(400, "GET", "/v3/apps?created_ats[gt]=yesterday", "")
	tr.do(400, "GET", "/v3/processes?embed=moon", "")
	tr.do(400, "POST", "/v3/apps", `{"name":`)
	tr.do(400, "POST", "/v3/apps", `{"name":"a","name":"b"}`)
	tr.do(422, "POST", "/v3/apps", `{"name":3,"colour":"red"}`)
	if a := f.do("POST", "/v3/apps", `{"name":"`+strings.Repeat("x", 2<<20)+`"}`); a.status != 413 {
		t.Errorf("a 2 MB body: %d %s", a.status, a.body)
	}
	tr.golden("refusals")
}

func (a answer) guid(t *testing.T) string {
	t.Helper()
	var r v3.Resource
	decode(t, a, &r)
	return r.GUID
}

func (f *fixture) eventually(what string, cond func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("waited too long for %s", what)
		}
	}
}
