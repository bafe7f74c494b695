package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const tenementExample = `
[settings]
data_dir = "/var/lib/x"
[settings.tls]
domain = "example.com"

[service.api]
command = "./api --listen 0.0.0.0:{port} --as {id}"
args = ["--mode", "live now"]
health = "/health"
startup_timeout = 20
request_timeout = 30
idle_timeout = 300
memory_limit_mb = 256
workdir = "api"
isolation = "namespace"
env = { LOG = "info", PORT = "1" }

[service.web]
command = "npm start"
restart = "on-failure"
colour = "red"

[instances]
api = ["prod", "green"]

[routing]
default = "web"
[routing.subdomain]
v1 = "api"
[routing.path]
"/api" = "api"
`

func TestImportTenement_MakesAManifestAndSaysWhatIsOtherwise(t *testing.T) {
	got, err := importTenement("etc/tenement.toml", []byte(tenementExample), "")
	if err != nil {
		t.Fatal(err)
	}
	want := `applications:
    - name: api
      path: etc/api
      command: ./api --listen 0.0.0.0:$PORT --as $WEIR_VERSION --mode "live now"
      memory: 256M
      timeout: 20
      health-check-type: http
      health-check-http-endpoint: /health
      env:
        LOG: info
      routes:
        - route: api.example.com
          options:
            timeout: 30s
        - route: v1.example.com
          options:
            timeout: 30s
        - route: example.com/api
          options:
            timeout: 30s
    - name: web
      path: etc
      command: npm start
      routes:
        - route: web.example.com
        - route: example.com
`
	if d := cmp.Diff(want, got.Manifest); d != "" {
		t.Error(d)
	}
	commands := []string{
		"weir push api --version prod", "weir push web", "weir spawn api:green", "weir weight api:prod=100 api:green=100",
	}
	if d := cmp.Diff(commands, got.Commands); d != "" {
		t.Error(d)
	}
	for _, want := range []string{
		"service api: idle_timeout was left out", "service api: isolation was left out", "variable PORT is the platform's own",
		`service web: restart = "on-failure"`, "service web: colour was left out: weir does not know it",
	} {
		if !slices.ContainsFunc(got.Notes, func(n string) bool { return strings.Contains(n, want) }) {
			t.Errorf("no note %q among %q", want, got.Notes)
		}
	}
	if _, err := parseManifest("manifest.yml", []byte(got.Manifest), variables{}); err != nil {
		t.Errorf("the manifest cannot be read: %v", err)
	}
}

func TestImportTenement_RefusesWhatItCannotRead(t *testing.T) {
	for text, want := range map[string]string{
		"[service":                              "line 1",
		"":                                      "it has no [service.NAME]",
		"[service.x]\nhealth = '/'":             "service x has no command",
		"[service.x]\ncommand = 3":              "line 2: command cannot be of the type integer",
		"[service.x]\nenv = ['A=1']":            "env cannot be of the type array",
		"[service.x]\ncommand = 'a'\ncommand=1": "already defined",
	} {
		_, err := importTenement("t.toml", []byte(text), "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

func TestImportTenement_NamesInstancesOfNoService(t *testing.T) {
	got, err := importTenement("t.toml", []byte("\ufeff[service.api]\ncommand = 'x'\n[instances]\nnosuch = ['prod']\n"), "")
	if err != nil || !slices.Contains(got.Notes, "[instances] nosuch was left out: there is no [service.nosuch]") {
		t.Errorf("%q %v", got.Notes, err)
	}
}

func FuzzImportTenement(f *testing.F) {
	f.Add([]byte(tenementExample))
	f.Add([]byte("[service.a]\ncommand='x'\n[instances]\na=['1']"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := importTenement("t.toml", data, "d.test")
		if err != nil {
			return
		}
		if _, err := parseManifest("m.yml", []byte(got.Manifest), variables{}); err != nil {
			t.Skip(err) // two names that come to the same, for one
		}
	})
}
