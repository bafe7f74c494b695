package acceptance

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The cf CLI itself cannot be a test dependency, so these tests make the calls
// it makes, in its order and with its parameters, and decode the answers as
// strictly as it does.

// cfCLI is a logged-in session of the cf command line.
type cfCLI struct {
	t     *testing.T
	api   string
	token string
	space string // GUIDs
	org   string
}

// TestCfCLI_PushAppMapUnmapLogsDelete replays cf push, cf app, cf map-route,
// cf unmap-route, cf logs and cf delete.
func TestCfCLI_PushAppMapUnmapLogsDelete(t *testing.T) {
	t.Parallel()
	s := start(t)
	cf := loginCf(t, s)
	app := cf.push("shop", filepath.Join(repo(t), "examples/hello-go"))
	s.answers("shop.apps.localhost", 200)
	cf.summary("shop", 1)

	cf.mapRoute("shop", "apps.localhost", "live")
	s.answers("live.apps.localhost", 200)
	cf.mapRoute("shop", "apps.localhost", "live") // again: nothing to do
	cf.routes()
	cf.apps()
	cf.unmapRoute("shop", "apps.localhost", "live")
	s.answers("live.apps.localhost", 404)

	cf.recentLogs("shop")
	cf.tail(app)
	cf.delete("shop")
	s.answers("shop.apps.localhost", 404)
}

// loginCf is cf api, cf auth and cf target.
func loginCf(t *testing.T, s *server) *cfCLI {
	t.Helper()
	cf := &cfCLI{t: t, api: s.api}
	var root struct {
		CFOnK8s bool `json:"cf_on_k8s"`
		Links   map[string]*struct {
			Href string
			Meta struct{ Version string }
		}
	}
	cf.decode(cf.do("GET", "/", nil, nil), 200, &root)
	if root.CFOnK8s {
		t.Error("cf_on_k8s must not be true")
	}
	for _, link := range []string{"cloud_controller_v3", "login", "uaa", "log_cache"} {
		if l := root.Links[link]; l == nil || !strings.HasPrefix(l.Href, "http://") {
			t.Fatalf("root link %s is %+v", link, l)
		}
	}
	if v := root.Links["cloud_controller_v3"].Meta.Version; !versionBetween(v, 211, 223) {
		t.Errorf("API version %q is outside 3.211 … 3.223", v)
	}

	var prompts struct{ Prompts map[string][]string }
	cf.decode(cf.do("GET", "/login", nil, nil), 200, &prompts)
	if got := prompts.Prompts["password"]; len(got) != 2 || got[0] != "password" {
		t.Errorf("login prompts are %v", prompts.Prompts)
	}

	password, err := os.ReadFile(filepath.Join(s.data(), "admin-password"))
	must(t, "reading the admin password", err)
	form := url.Values{"grant_type": {"password"}, "username": {"admin"}, "password": {strings.TrimSpace(string(password))}}
	req, _ := http.NewRequest("POST", root.Links["login"].Href+"/oauth/token", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("cf", "")
	req.Header.Set("Connection", "close")
	resp, err := http.DefaultClient.Do(req)
	must(t, "asking for a token", err)
	var token struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		TokenType    string `json:"token_type"`
	}
	cf.decode(readAll(t, resp), 200, &token)
	if token.TokenType != "bearer" || token.RefreshToken == "" {
		t.Errorf("token_type is %q, refresh_token %q", token.TokenType, token.RefreshToken)
	}
	checkJWT(t, token.AccessToken)
	cf.token = token.AccessToken

	var orgs list[struct{ GUID, Name string }]
	cf.get("/v3/organizations?names=default&page=1&per_page=1", &orgs)
	cf.org = orgs.one(t, "organization").GUID
	var spaces list[struct{ GUID, Name string }]
	cf.get("/v3/spaces?names=default&organization_guids="+cf.org+"&page=1&per_page=1", &spaces)
	cf.space = spaces.one(t, "space").GUID
	return cf
}

// checkJWT holds the token to what the CLI's JWT library insists on.
func checkJWT(t *testing.T, token string) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("the access token has %d parts", len(parts))
	}
	var header struct{ Alg string }
	var claims struct {
		UserName *string `json:"user_name"`
		UserID   *string `json:"user_id"`
		Origin   *string `json:"origin"`
		Exp      *int64  `json:"exp"`
	}
	for i, into := range []any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		must(t, "decoding the token", err)
		must(t, "decoding the token", json.Unmarshal(b, into))
	}
	if !regexp.MustCompile(`^(HS|RS|ES|PS)(256|384|512)$`).MatchString(header.Alg) {
		t.Errorf("alg %q is not one the CLI knows", header.Alg)
	}
	if claims.UserName == nil || claims.UserID == nil || claims.Origin == nil || claims.Exp == nil {
		t.Fatalf("claims are incomplete: %+v", claims)
	}
	if left := time.Until(time.Unix(*claims.Exp, 0)); left < 10*time.Minute {
		t.Errorf("the token lives only %s", left)
	}
}

// push is cf push NAME -p DIR of a directory, plain, as in §2.2.
func (cf *cfCLI) push(name, dir string) (appGUID string) {
	t := cf.t
	t.Helper()
	body := "applications:\n- name: " + name + "\n  default-route: true\n"
	h := http.Header{"Content-Type": {"application/x-yaml"}}
	cf.job(cf.do("POST", "/v3/spaces/"+cf.space+"/actions/apply_manifest", strings.NewReader(body), h))
	app := cf.app(name)

	resources := cfResources(t, dir)
	var matched struct{ Resources []cfResource }
	cf.decode(cf.post("/v3/resource_matches", map[string]any{"resources": resources}), 201, &matched)

	var pkg struct {
		GUID, Type, State string
		Data              *struct{}
		Relationships     toOne
	}
	cf.decode(cf.post("/v3/packages", map[string]any{"type": "bits", "relationships": rel("app", app)}), 201, &pkg)
	cf.decode(cf.upload("/v3/packages/"+pkg.GUID+"/upload", dir, matched.Resources), 200, &pkg)
	cf.wait("/v3/packages/"+pkg.GUID, "READY", "FAILED", "EXPIRED")

	var build struct{ GUID, State string }
	cf.decode(cf.post("/v3/builds", map[string]any{"package": map[string]string{"guid": pkg.GUID}}), 201, &build)
	cf.wait("/v3/builds/"+build.GUID, "STAGED", "FAILED")
	var staged struct {
		Error   *string
		Droplet struct{ GUID string }
		Package struct{ GUID string }
	}
	cf.get("/v3/builds/"+build.GUID, &staged)
	if staged.Package.GUID != pkg.GUID {
		t.Errorf("the build names package %q", staged.Package.GUID)
	}
	cf.droplet("/v3/droplets/" + staged.Droplet.GUID)

	cf.decode(cf.do("PATCH", "/v3/apps/"+app+"/relationships/current_droplet", jsonBody(map[string]any{"data": map[string]string{"guid": staged.Droplet.GUID}}), nil), 200, &struct{}{})
	var restarted cfApp
	cf.decode(cf.do("POST", "/v3/apps/"+app+"/actions/restart", nil, nil), 200, &restarted)
	if restarted.State != "STARTED" {
		t.Errorf("a restarted app is %s", restarted.State)
	}
	deadline := time.Now().Add(time.Minute)
	for _, p := range cf.processes(app) {
		for {
			stats := cf.stats(p.GUID)
			running := len(stats) == 0
			for _, i := range stats {
				running = running || i.State == "RUNNING"
			}
			if running {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("process %s: no instance runs: %+v", p.Type, stats)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return app
}

// summary is the seven reads of cf app, §2.3.
func (cf *cfCLI) summary(name string, running int) {
	cf.t.Helper()
	app := cf.app(name)
	got := 0
	for _, p := range cf.processes(app) {
		var sidecars list[struct{ GUID string }]
		cf.get("/v3/processes/"+p.GUID+"/sidecars", &sidecars)
		var single cfProcess
		cf.get("/v3/processes/"+p.GUID, &single)
		if p.Type == "web" && (p.Command != "[PRIVATE DATA HIDDEN IN LISTS]" || single.Command == nil || *single.Command == "") {
			cf.t.Errorf("command is %q in the list and %v alone", p.Command, single.Command)
		}
		for _, i := range cf.stats(p.GUID) {
			if i.State == "RUNNING" {
				got++
				if i.Uptime == nil || i.MemQuota == nil || i.Usage == nil {
					cf.t.Errorf("a running instance lacks uptime, quota or usage: %+v", i)
				}
			}
		}
	}
	if got != running {
		cf.t.Errorf("%d instances run, want %d", got, running)
	}
	var routes list[cfRoute]
	cf.get("/v3/apps/"+app+"/routes", &routes)
	if r := routes.one(cf.t, "route"); r.URL != name+".apps.localhost" {
		cf.t.Errorf("route is %q", r.URL)
	}
	cf.droplet("/v3/apps/" + app + "/droplets/current")
	var deployments list[struct{ Relationships toOne }]
	cf.get("/v3/deployments?app_guids="+app+"&order_by=-created_at&page=1&per_page=1&status_values=ACTIVE", &deployments)
	if len(*deployments.Resources) != 0 {
		cf.t.Error("a plain push left an active deployment")
	}
}

func (cf *cfCLI) mapRoute(name, domain, host string) {
	cf.t.Helper()
	d := cf.domain(domain)
	app := cf.app(name)
	r, found := cf.route(d, host)
	if !found {
		cf.domain(domain)
		cf.decode(cf.post("/v3/routes", map[string]any{"host": host, "relationships": map[string]any{
			"space":  map[string]any{"data": map[string]string{"guid": cf.space}},
			"domain": map[string]any{"data": map[string]string{"guid": d}},
		}}), 201, &r)
	}
	for _, dest := range r.Destinations {
		if dest.App.GUID == app && dest.App.Process.Type == "web" {
			return // "is already mapped": the CLI makes no call
		}
	}
	var got struct{ Destinations []cfDestination }
	cf.decode(cf.post("/v3/routes/"+r.GUID+"/destinations", map[string]any{"destinations": []any{map[string]any{"app": map[string]string{"guid": app}}}}), 200, &got)
	if len(got.Destinations) != 1 || got.Destinations[0].Weight != nil || got.Destinations[0].Port != 8080 || got.Destinations[0].Protocol != "http1" {
		cf.t.Errorf("destinations are %+v", got.Destinations)
	}
}

func (cf *cfCLI) unmapRoute(name, domain, host string) {
	cf.t.Helper()
	d := cf.domain(domain)
	app := cf.app(name)
	r, found := cf.route(d, host)
	if !found {
		cf.t.Fatalf("route %s.%s is not found", host, domain)
	}
	for _, dest := range r.Destinations {
		if dest.App.GUID == app && dest.App.Process.Type == "web" {
			if a := cf.do("DELETE", "/v3/routes/"+r.GUID+"/destinations/"+dest.GUID, nil, nil); a.status != 204 {
				cf.t.Fatalf("deleting a destination: %d %s", a.status, a.body)
			}
			return
		}
	}
	cf.t.Fatalf("%s is not mapped", name)
}

// route looks a route up as the CLI does: hosts and paths are both sent, and
// an empty one means empty, not any.
func (cf *cfCLI) route(domain, host string) (cfRoute, bool) {
	cf.t.Helper()
	var routes list[cfRoute]
	cf.get("/v3/routes?domain_guids="+domain+"&hosts="+host+"&page=1&paths=&per_page=1", &routes)
	if len(*routes.Resources) == 0 {
		return cfRoute{}, false
	}
	return (*routes.Resources)[0], true
}

func (cf *cfCLI) routes() {
	cf.t.Helper()
	var routes list[cfRoute]
	cf.get("/v3/routes?per_page=5000&space_guids="+cf.space, &routes)
	if len(*routes.Resources) != 2 {
		cf.t.Errorf("%d routes, want 2", len(*routes.Resources))
	}
	var apps []string
	for _, r := range *routes.Resources {
		for _, d := range r.Destinations {
			apps = append(apps, d.App.GUID)
		}
	}
	cf.get("/v3/spaces?guids="+cf.space, &list[struct{ GUID string }]{})
	cf.get("/v3/apps?guids="+strings.Join(apps, "%2C"), &list[cfApp]{})
	cf.get("/v3/service_route_bindings?include=service_instance&route_guids="+(*routes.Resources)[0].GUID, &list[struct{ GUID string }]{})
}

func (cf *cfCLI) apps() {
	cf.t.Helper()
	var apps list[cfApp]
	cf.get("/v3/apps?order_by=name&per_page=5000&space_guids="+cf.space, &apps)
	var procs list[struct {
		cfProcess
		Instances []struct {
			Index int
			State string
			Since int64
		} `json:"process_instances"`
	}]
	cf.get("/v3/processes?embed=process_instances&space_guids="+cf.space, &procs)
	for _, p := range *procs.Resources {
		if p.Type == "web" && (len(p.Instances) != 1 || p.Instances[0].State != "RUNNING") {
			cf.t.Errorf("embedded instances are %+v", p.Instances)
		}
	}
	cf.get("/v3/routes?app_guids="+apps.one(cf.t, "app").GUID, &list[cfRoute]{})
}

const fromTheBeginning = "-6795364578871345152"

func (cf *cfCLI) recentLogs(name string) {
	cf.t.Helper()
	app := cf.app(name)
	var info struct {
		Version  string
		VMUptime string `json:"vm_uptime"`
	}
	cf.get("/api/v1/info", &info)
	if !versionLike(info.Version) {
		cf.t.Errorf("log-cache version is %q", info.Version)
	}
	es := cf.readLogs(app, "descending=true&envelope_types=LOG&limit=1000&start_time="+fromTheBeginning)
	sources := map[string]bool{}
	for i, e := range es {
		sources[e.Tags["source_type"]] = true
		if i > 0 && e.time(cf.t) > es[i-1].time(cf.t) {
			cf.t.Error("envelopes are not in descending order")
		}
	}
	for _, want := range []string{"STG", "APP/PROC/WEB", "API"} {
		if !sources[want] {
			cf.t.Errorf("no %s line among %v", want, sources)
		}
	}
}

// tail is cf logs without --recent, §4.4, for as long as it takes to see one
// new request in the access log.
func (cf *cfCLI) tail(app string) {
	cf.t.Helper()
	newest := cf.readLogs(app, "descending=true&limit=1&start_time="+fromTheBeginning)
	if len(newest) != 1 {
		cf.t.Fatalf("the probe got %d envelopes", len(newest))
	}
	cursor := newest[0].time(cf.t) - int64(time.Second)
	seen := map[int64]bool{}
	for range 40 {
		for _, e := range cf.readLogs(app, "envelope_types=LOG&start_time="+strconv.FormatInt(cursor, 10)) {
			ts := e.time(cf.t)
			if ts < cursor {
				cf.t.Fatalf("an envelope of %d for start_time %d", ts, cursor)
			}
			if time.Since(time.Unix(0, ts)) < 2*time.Second {
				break // the CLI reads it again later
			}
			if seen[ts] {
				cf.t.Fatalf("two envelopes have the timestamp %d", ts)
			}
			seen[ts] = true
			cursor = ts + 1
		}
		if len(seen) > 0 {
			return
		}
		time.Sleep(250 * time.Millisecond)
	}
	cf.t.Error("the tail saw nothing within ten seconds")
}

func (cf *cfCLI) delete(name string) {
	cf.t.Helper()
	app := cf.app(name)
	var routes list[cfRoute]
	cf.get("/v3/apps/"+app+"/routes", &routes)
	cf.job(cf.do("DELETE", "/v3/apps/"+app, nil, nil))
	for _, r := range *routes.Resources {
		cf.job(cf.do("DELETE", "/v3/routes/"+r.GUID, nil, nil))
	}
	var apps list[cfApp]
	cf.get("/v3/apps?names="+name+"&space_guids="+cf.space, &apps)
	if len(*apps.Resources) != 0 {
		cf.t.Error("the app is still there")
	}
}

// ---- the shapes the CLI decodes into ----

type list[T any] struct {
	Pagination struct {
		Next *struct{ Href string }
	}
	Resources *resources[T] `json:"resources"`
}

// resources fails to decode from anything but an array.
type resources[T any] []T

type toOne map[string]struct {
	Data *struct{ GUID string }
}

type cfApp struct {
	GUID, Name, State string
	Lifecycle         struct {
		Type string
		Data struct {
			Buildpacks []string
			Stack      string
		}
	}
	Relationships toOne
}

type cfProcess struct {
	GUID, Type    string
	Command       *string
	Instances     *uint64
	MemoryInMB    *uint64 `json:"memory_in_mb"`
	DiskInMB      *uint64 `json:"disk_in_mb"`
	LogRateLimit  *int64  `json:"log_rate_limit_in_bytes_per_second"`
	Relationships toOne
}

type cfStats struct {
	Type     string
	Index    int
	State    string
	Routable *bool
	Uptime   *int64
	MemQuota *uint64 `json:"mem_quota"`
	Disk     *uint64 `json:"disk_quota"`
	LogRate  *int64  `json:"log_rate_limit"`
	Details  *string
	Usage    *struct {
		CPU     float64
		Mem     uint64
		Disk    uint64
		LogRate uint64 `json:"log_rate"`
	}
}

type cfRoute struct {
	GUID, Protocol, Host, Path, URL string
	Port                            *int
	Options                         map[string]string
	Destinations                    []cfDestination
}

type cfDestination struct {
	GUID string
	App  struct {
		GUID    string
		Process struct{ Type string }
	}
	Weight   *int
	Port     int
	Protocol string
}

type cfResource struct {
	Path     string            `json:"path"`
	Mode     string            `json:"mode"`
	Checksum map[string]string `json:"checksum"`
	Size     int64             `json:"size_in_bytes"`
}

type cfEnvelope struct {
	Timestamp      json.Number       `json:"timestamp"`
	SourceID       string            `json:"source_id"`
	InstanceID     string            `json:"instance_id"`
	DeprecatedTags map[string]any    `json:"deprecated_tags"`
	Tags           map[string]string `json:"tags"`
	Log            *struct {
		Payload []byte `json:"payload"`
		Type    string `json:"type"`
	} `json:"log"`
}

func (e cfEnvelope) time(t *testing.T) int64 {
	t.Helper()
	ns, err := e.Timestamp.Int64()
	must(t, "reading a timestamp", err)
	return ns
}

// ---- calls ----

type answer struct {
	status int
	header http.Header
	body   []byte
}

func readAll(t *testing.T, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, "reading an answer", err)
	return answer{resp.StatusCode, resp.Header, b}
}

func (cf *cfCLI) do(method, path string, body io.Reader, h http.Header) answer {
	cf.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = cf.api + path
	}
	req, err := http.NewRequest(method, path, body)
	must(cf.t, "making a request", err)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json") // also on GET and DELETE
	for k, v := range h {
		req.Header[k] = v
	}
	if cf.token != "" {
		req.Header.Set("Authorization", "bearer "+cf.token)
	}
	resp, err := http.DefaultClient.Do(req)
	must(cf.t, method+" "+path, err)
	return readAll(cf.t, resp)
}

func (cf *cfCLI) post(path string, body any) answer {
	cf.t.Helper()
	return cf.do("POST", path, jsonBody(body), nil)
}

func (cf *cfCLI) get(path string, into any) {
	cf.t.Helper()
	cf.decode(cf.do("GET", path, nil, nil), 200, into)
}

// decode insists on the status and on JSON of the given shape.
func (cf *cfCLI) decode(a answer, status int, into any) {
	cf.t.Helper()
	if a.status != status {
		cf.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if ct := a.header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
		cf.t.Errorf("Content-Type is %q", ct)
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		cf.t.Fatalf("decoding %s: %v", a.body, err)
	}
}

// job follows the Location of a 202 until the job is complete.
func (cf *cfCLI) job(a answer) {
	cf.t.Helper()
	where := a.header.Get("Location")
	if a.status != 202 || !strings.HasPrefix(where, "http://") || !strings.Contains(where, "/v3/jobs/") {
		cf.t.Fatalf("status %d, Location %q: %s", a.status, where, a.body)
	}
	cf.wait(where, "COMPLETE", "FAILED")
}

// wait polls a resource until its state is good.
func (cf *cfCLI) wait(path, good string, bad ...string) {
	cf.t.Helper()
	for range 1800 {
		var r struct {
			State string
			Error any
		}
		a := cf.do("GET", path, nil, nil)
		cf.decode(a, 200, &r)
		for _, b := range bad {
			if r.State == b {
				cf.t.Fatalf("%s is %s: %s", path, r.State, a.body)
			}
		}
		if r.State == good {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	cf.t.Fatalf("%s did not get %s", path, good)
}

func (l list[T]) one(t *testing.T, what string) T {
	t.Helper()
	if l.Resources == nil || len(*l.Resources) != 1 {
		t.Fatalf("want exactly one %s, got %+v", what, l.Resources)
	}
	return (*l.Resources)[0]
}

func (cf *cfCLI) app(name string) string {
	cf.t.Helper()
	var apps list[cfApp]
	cf.get("/v3/apps?names="+name+"&space_guids="+cf.space, &apps)
	return apps.one(cf.t, "app").GUID
}

func (cf *cfCLI) domain(name string) string {
	cf.t.Helper()
	var domains list[struct{ GUID, Name string }]
	cf.get("/v3/domains?names="+name+"&page=1&per_page=1", &domains)
	return domains.one(cf.t, "domain").GUID
}

type listedProcess struct{ GUID, Type, Command string }

func (cf *cfCLI) processes(app string) []listedProcess {
	cf.t.Helper()
	var procs list[listedProcess]
	cf.get("/v3/apps/"+app+"/processes", &procs)
	return *procs.Resources
}

func (cf *cfCLI) stats(process string) []cfStats {
	cf.t.Helper()
	var stats list[cfStats]
	cf.get("/v3/processes/"+process+"/stats", &stats)
	return *stats.Resources
}

func (cf *cfCLI) droplet(path string) {
	cf.t.Helper()
	var d struct {
		GUID, State, Stack string
		Lifecycle          struct{ Type string }
		Buildpacks         []struct {
			Name         string
			DetectOutput string `json:"detect_output"`
		}
		Relationships toOne
	}
	cf.get(path, &d)
	if d.State != "STAGED" || len(d.Buildpacks) == 0 {
		cf.t.Errorf("droplet is %+v", d)
	}
}

// readLogs reads log-cache as strictly as the CLI's protobuf decoder.
func (cf *cfCLI) readLogs(app, query string) []cfEnvelope {
	cf.t.Helper()
	a := cf.do("GET", "/api/v1/read/"+app+"?"+query, nil, nil)
	if a.status != 200 {
		cf.t.Fatalf("reading logs: %d %s", a.status, a.body)
	}
	var body struct {
		Envelopes struct {
			Batch []cfEnvelope `json:"batch"`
		} `json:"envelopes"`
	}
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	must(cf.t, "decoding envelopes strictly", dec.Decode(&body))
	for _, e := range body.Envelopes.Batch {
		if e.Log == nil || e.Log.Type != "OUT" && e.Log.Type != "ERR" {
			cf.t.Fatalf("an envelope that is no log line: %+v", e)
		}
	}
	return body.Envelopes.Batch
}

// upload sends the multipart form of §3.2: resources, then what they lack.
func (cf *cfCLI) upload(path, dir string, matched []cfResource) answer {
	cf.t.Helper()
	if matched == nil {
		matched = []cfResource{}
	}
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	b, _ := json.Marshal(matched)
	must(cf.t, "writing the form", w.WriteField("resources", string(b)))
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="bits"; filename="package.zip"`},
		"Content-Type":        {"application/octet-stream"},
	})
	must(cf.t, "writing the form", err)
	_, err = part.Write(zipDir(cf.t, dir))
	must(cf.t, "writing the form", err)
	must(cf.t, "writing the form", w.Close())
	return cf.do("POST", path, &buf, http.Header{"Content-Type": {w.FormDataContentType()}})
}

func cfResources(t *testing.T, dir string) []cfResource {
	t.Helper()
	var out []cfResource
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		sum := sha1.Sum(b)
		name, _ := filepath.Rel(dir, path)
		out = append(out, cfResource{name, fmt.Sprintf("%o", info.Mode().Perm()), map[string]string{"value": hex.EncodeToString(sum[:])}, int64(len(b))})
		return nil
	})
	must(t, "listing files", err)
	return out
}

func jsonBody(v any) io.Reader {
	b, _ := json.Marshal(v)
	return bytes.NewReader(b)
}

func rel(name, guid string) map[string]any {
	return map[string]any{name: map[string]any{"data": map[string]string{"guid": guid}}}
}

func versionLike(v string) bool { return regexp.MustCompile(`^\d+\.\d+\.\d+`).MatchString(v) }

func versionBetween(v string, low, high int) bool {
	m := regexp.MustCompile(`^3\.(\d+)\.\d+$`).FindStringSubmatch(v)
	if m == nil {
		return false
	}
	minor, _ := strconv.Atoi(m[1])
	return low <= minor && minor <= high
}
