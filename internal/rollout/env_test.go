package rollout

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
	"weir/internal/runner"
)

func TestEnviron(t *testing.T) {
	e := New(Config{APIURL: "http://127.0.0.1:8181", Path: "/bin", Exe: "/opt/weir", Shell: "/bin/sh"})
	c := copySpec{
		revision: platform.Revision{
			Version: 3,
			Env:     map[string]string{"A": "1", "PORT": "1", "VCAP_X": "no", "VCAP_APPLICATION": "no", "PATH": "/mine"},
			Services: []platform.BoundService{{
				BindingGUID: "b", InstanceGUID: "s", InstanceName: "db", Tags: []string{"sql"},
				Credentials: map[string]any{"uri": "postgresql://u:p@h/x", "port": json.Number("5432")},
			}},
		},
		names: names{uris: []string{"shop.apps.localhost"}},
	}
	c.app.GUID, c.app.Name = "app", "shop"
	c.process = platform.Process{Type: "web", MemoryMB: 256, DiskMB: 1024}
	c.process.GUID = "app"
	c.revision.GUID = "rev"
	c.names.space.GUID, c.names.space.Name = "sp", "dev"
	c.names.org.GUID, c.names.org.Name = "or", "acme"
	list := e.environ(c, platform.Instance{GUID: "i", Index: 2}, runner.Endpoint{
		Host: "10.0.0.9", Port: 40001, Root: "/home/vcap", Home: "/home/vcap/app", IP: "10.0.0.2",
	})
	env := map[string]string{}
	for _, kv := range list {
		name, value, _ := strings.Cut(kv, "=")
		if _, twice := env[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		env[name] = value
	}
	var application, services map[string]any
	for name, to := range map[string]*map[string]any{"VCAP_APPLICATION": &application, "VCAP_SERVICES": &services} {
		if err := json.Unmarshal([]byte(env[name]), to); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		delete(env, name)
	}
	want := map[string]string{
		"A": "1", "PORT": "40001", "VCAP_APP_PORT": "40001", "VCAP_APP_HOST": "0.0.0.0",
		"HOME": "/home/vcap/app", "TMPDIR": "/home/vcap/tmp", "DEPS_DIR": "/home/vcap/deps", "USER": "vcap",
		"LANG": "C.UTF-8", "PATH": "/mine", "SHELL": "/bin/sh", "MEMORY_LIMIT": "256m", "WEIR_EXE": "/opt/weir",
		"INSTANCE_GUID": "i", "INSTANCE_INDEX": "2", "CF_INSTANCE_GUID": "i", "CF_INSTANCE_INDEX": "2",
		"CF_INSTANCE_IP": "10.0.0.2", "CF_INSTANCE_INTERNAL_IP": "10.0.0.2", "CF_INSTANCE_PORT": "40001",
		"CF_INSTANCE_ADDR": "10.0.0.2:40001", "CF_INSTANCE_PORTS": `[{"external":40001,"internal":40001}]`,
		"DATABASE_URL": "postgres://u:p@h/x",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Error(diff)
	}
	wantApplication := map[string]any{
		"application_id": "app", "application_name": "shop", "name": "shop",
		"application_uris": []any{"shop.apps.localhost"}, "uris": []any{"shop.apps.localhost"},
		"cf_api": "http://127.0.0.1:8181", "limits": map[string]any{"fds": 16384.0, "mem": 256.0, "disk": 1024.0},
		"process_id": "app", "process_type": "web", "space_id": "sp", "space_name": "dev",
		"organization_id": "or", "organization_name": "acme", "users": nil, "version": "rev", "application_version": "rev",
		"revision": 3.0, "host": "0.0.0.0", "instance_id": "i", "instance_index": 2.0, "port": 40001.0,
	}
	if diff := cmp.Diff(wantApplication, application); diff != "" {
		t.Error(diff)
	}
	wantServices := map[string]any{"user-provided": []any{map[string]any{
		"label": "user-provided", "name": "db", "tags": []any{"sql"}, "instance_guid": "s", "instance_name": "db",
		"binding_guid": "b", "binding_name": nil, "credentials": map[string]any{"uri": "postgresql://u:p@h/x", "port": 5432.0},
		"syslog_drain_url": "", "volume_mounts": []any{},
	}}}
	if diff := cmp.Diff(wantServices, services); diff != "" {
		t.Error(diff)
	}
}

func TestDatabaseURL(t *testing.T) {
	for uri, want := range map[string]string{
		"mysql://h/x": "mysql2://h/x", "mysql2://h/x": "mysql2://h/x", "postgres://h": "postgres://h",
		"db2://h": "ibmdb://h", "redis://h": "", "": "", "::": "",
	} {
		got := databaseURL([]platform.BoundService{{Credentials: map[string]any{"n": 1}}, {Credentials: map[string]any{"uri": uri}}})
		if got != want {
			t.Errorf("%q: got %q, want %q", uri, got, want)
		}
	}
}

func TestSetEnv_RefusesWhatThePlatformSets(t *testing.T) {
	b := newBench(t)
	app := b.app("shop", 0)
	x, nul := "x", "a\x00b"
	for name, v := range map[string]*string{"PORT": &x, "VCAP_SERVICES": &x, "": &x, "A=B": &x, "OK": &nul} {
		if _, err := b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{name: v}); platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("%q: %v", name, err)
		}
	}
	_, err := b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"A": &x, "B": &x})
	b.must(err)
	got, err := b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"A": nil, "NEVER": nil})
	b.must(err)
	if diff := cmp.Diff(map[string]string{"B": "x"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestStagingEnv(t *testing.T) {
	b := newBench(t)
	app := b.app("shop", 0)
	x := "x"
	_, err := b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"A": &x})
	b.must(err)
	env, err := b.e.StagingEnv(t.Context(), app.GUID)
	b.must(err)
	if env["A"] != "x" || !strings.Contains(env["VCAP_APPLICATION"], `"shop.apps.localhost"`) || env["VCAP_SERVICES"] != "{}" {
		t.Errorf("got %v", env)
	}
}

// shells returns the shells of this machine that the launcher has to work with.
func shells(t *testing.T) []string {
	var found []string
	for _, name := range []string{"sh", "bash", "dash"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		t.Skip("no shell")
	}
	return found
}

func TestLaunch(t *testing.T) {
	for _, shell := range shells(t) {
		t.Run(filepath.Base(shell), func(t *testing.T) {
			root := t.TempDir()
			for name, text := range map[string]string{
				"profile.d/a.sh":      "export A=1 ORDER=a; set -- clobbered",
				"profile.d/b.sh":      "ORDER=${ORDER}b",
				"app/.profile.d/c.sh": "ORDER=${ORDER}c",
				"app/.profile":        "ORDER=${ORDER}d",
				"app/hello.txt":       "hello",
			} {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			run := func(command string) string {
				t.Helper()
				args := launch(shell, command)
				cmd := exec.Command(args[0], args[1:]...)
				cmd.Dir = filepath.Join(root, "app")
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PORT=8080"}
				out, err := cmd.CombinedOutput()
				if err != nil {
					return strings.TrimSpace(string(out)) + " " + err.Error()
				}
				return strings.TrimSpace(string(out))
			}
			for command, want := range map[string]string{
				`echo $A $ORDER`:                     "1 abcd",
				`echo "it's $PORT"`:                  "it's 8080",
				`cat hello.txt`:                      "hello",
				`cd / && pwd`:                        "/",
				`echo "$#" "$weir_command"`:          "0",
				`exit 3`:                             "exit status 3",
				`echo '$(echo no)' "$(echo "yes)")"`: "$(echo no) yes)",
			} {
				if got := strings.TrimSpace(run(command)); got != want {
					t.Errorf("%s: got %q, want %q", command, got, want)
				}
			}
		})
	}
}

func TestLaunch_WithoutProfiles(t *testing.T) {
	for _, shell := range shells(t) {
		dir := t.TempDir()
		args := launch(shell, "echo ok; kill -TERM $$; sleep 5")
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if string(out) != "ok\n" || err == nil || !strings.Contains(err.Error(), "signal: terminated") {
			t.Errorf("%s: %q, %v", shell, out, err)
		}
	}
	if !slices.Contains(launch("/bin/sh", "x y"), "x y") {
		t.Error("the command is not an argument of its own")
	}
}
