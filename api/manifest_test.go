package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
)

func ptr[T any](v T) *T { return &v }

func TestParseManifest_ReadsEverything(t *testing.T) {
	got, err := parseManifest([]byte(`
version: 1
x-defaults: &defaults
  memory: 256M
  env: {TIER: web}
applications:
- <<: *defaults
  name: shop
  path: /home/me/shop
  stack: cflinuxfs4
  buildpacks: [go, https://example.com/bp.git]
  disk_quota: 1G
  log-rate-limit-per-second: 16K
  instances: 2
  timeout: 30
  command: null
  no-route: no
  default-route: true
  health-check-type: http
  health-check-http-endpoint: /up
  health_check_invocation_timeout: 3
  readiness-health-check-type: port
  features: {revisions: on, ssh: false}
  metadata:
    labels: {team_a: blue, old: ~}
    annotations: {note: any thing}
  env:
    A_B: 1.10
    C: true
    D: {x: [1, two, false]}
    E:
  routes:
  - route: shop.example.com/api
    protocol: http2
    weight: 20
    options: {loadbalancing: least-connection}
  services:
  - db
  - {name: cache, binding_name: c, parameters: {a: 1}}
  sidecars:
  - {name: s, command: run, process_types: [web], memory: 10M}
  processes:
  - type: worker
    command: ./work
    instances: 0
    memory: 1G
- name: other
`))
	if err != nil {
		t.Fatal(err)
	}
	want := platform.Manifest{Version: 1, Applications: []platform.ManifestApp{
		{
			Name: "shop", Stack: ptr("cflinuxfs4"), Buildpacks: []string{"go", "https://example.com/bp.git"},
			Env:      map[string]string{"A_B": "1.10", "C": "true", "D": `{"x":[1,"two",false]}`, "E": ""},
			Features: map[string]bool{"revisions": true, "ssh": false},
			Labels:   map[string]*string{"team_a": ptr("blue"), "old": nil}, Annotations: map[string]*string{"note": ptr("any thing")},
			Routes: []platform.ManifestRoute{{
				Route: "shop.example.com/api", Protocol: "http2", Weight: ptr(20),
				Options: map[string]string{"loadbalancing": "least-connection"},
			}},
			DefaultRoute: true,
			Services:     []platform.ManifestService{{Name: "db"}, {Name: "cache", BindingName: "c"}},
			Sidecars:     []platform.Sidecar{{Name: "s", Command: "run", ProcessTypes: []string{"web"}}},
			Web: platform.ManifestProcess{
				Command: ptr(""), Instances: ptr(2), Memory: ptr("256M"), DiskQuota: ptr("1G"), LogRateLimit: ptr("16K"), Timeout: ptr(30),
				HealthCheckType: ptr("http"), HealthCheckHTTPEndpoint: ptr("/up"), HealthCheckInvocationTimeout: ptr(3),
				ReadinessHealthCheckType: ptr("port"),
			},
			Processes: []platform.ManifestProcess{{Type: "worker", Command: ptr("./work"), Instances: ptr(0), Memory: ptr("1G")}},
		},
		{Name: "other", Features: map[string]bool{}},
	}}
	if !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}

func TestParseManifest_SaysWhatIsWrongWithWhichApp(t *testing.T) {
	for _, tc := range []struct {
		text string
		want string
	}{
		{"applications:\n- name: x\n  instances: many", "For application 'x': Instances must be an integer"},
		{"applications:\n- instances: many", "For application at index 0: Instances must be an integer"},
		{"applications:\n- just text", "For application at index 0: it must be an object"},
		{"applications:\n- {name: x, env: [a]}", "For application 'x': Env must be an object"},
		{"applications:\n- {name: x, no-route: maybe}", "For application 'x': No route must be true or false"},
		{"applications:\n- {name: x, routes: [x.y]}", "For application 'x': Routes[0] must be an object with a key 'route'"},
		{"applications:\n- {name: x, routes: [{route: a.b, protocol: ftp}]}", "For application 'x': Route protocol must be 'http1' or 'http2'"},
		{"applications:\n- {name: x, processes: [{type: worker, instances: many}]}", "For application 'x': Process \"worker\": Instances must be an integer"},
		{"applications:\n- {name: x, metadata: {labels: {'a b': c}}}", "For application 'x': Metadata label key error: key 'a b' contains invalid characters"},
		{"applications: {name: x}", "Applications must be an array of application configurations"},
		{"apps: []", "Cannot parse manifest with no 'applications' field."},
		{"", "Cannot parse manifest with no 'applications' field."},
		{"version: 2\napplications: []", "Unsupported manifest schema version. Currently supported versions: [1]."},
		{"applications: [", "Request invalid due to parse error: invalid YAML"},
	} {
		_, err := parseManifest([]byte(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: got %v, want %q", tc.text, err, tc.want)
		}
	}
	_, err := parseManifest([]byte("applications:\n- {name: a, instances: x}\n- {name: b, timeout: y}"))
	if status, errs := presentError(err, ""); status != 422 || len(errs) != 2 {
		t.Errorf("two bad apps: %d %+v", status, errs)
	}
}

// Manifests from before 2018 have it, and Cloud Foundry still takes it.
func TestParseManifest_TakesTheHealthCheckNone(t *testing.T) {
	m, err := parseManifest([]byte("applications: [{name: a, health-check-type: none, processes: [{type: w, health_check_type: none}]}]"))
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []*string{m.Applications[0].Web.HealthCheckType, m.Applications[0].Processes[0].HealthCheckType} {
		if got == nil || *got != platform.HealthProcess {
			t.Errorf("got %v, want %q", got, platform.HealthProcess)
		}
	}
}

func TestParseManifest_SurvivesAliasBombs(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := range 12 {
		prev, name := string(rune('a'+i)), string(rune('b'+i))
		bomb += name + ": &" + name + " [" + strings.Repeat("*"+prev+",", 9) + "]\n"
	}
	if _, err := parseManifest([]byte(bomb)); platform.KindOf(err) != platform.KindBadRequest {
		t.Errorf("got %v", err)
	}
}

func TestEncodeManifest_IsReadBack(t *testing.T) {
	m := platform.Manifest{Applications: []platform.ManifestApp{{
		Name: "shop", Stack: ptr(""), Buildpacks: []string{"go"}, Env: map[string]string{"A": "1", "B": "yes"},
		Features: map[string]bool{"revisions": true}, Labels: map[string]*string{"k": ptr("v")},
		Routes:   []platform.ManifestRoute{{Route: "shop.x.y/z", Protocol: "http1", Weight: ptr(5)}},
		Services: []platform.ManifestService{{Name: "db", BindingName: "main"}},
		Processes: []platform.ManifestProcess{{
			Type: "web", Instances: ptr(2), Memory: ptr("256M"), DiskQuota: ptr("1G"), LogRateLimit: ptr("-1B"), HealthCheckType: ptr("port"),
		}},
	}}}
	text, err := encodeManifest(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseManifest(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	m.Applications[0].Stack = nil // not written: the default
	if !cmp.Equal(got, m) {
		t.Errorf("%s\n%s", text, cmp.Diff(m, got))
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add("applications:\n- name: x\n  instances: 2\n  env: {A: 1}")
	f.Add("applications:\n- &a\n  name: x\n  <<: *a")
	f.Add("a: &a [*a]")
	f.Add("? {a: b}\n: c\napplications: [{? [1] : 2}]")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseManifest([]byte(text))
		if err != nil {
			if k := platform.KindOf(err); k != platform.KindInvalid && k != platform.KindBadRequest {
				t.Fatalf("%s: %v", k, err)
			}
			return
		}
		if _, err := encodeManifest(m); err != nil {
			t.Fatal(err)
		}
	})
}
