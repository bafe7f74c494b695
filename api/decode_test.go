package api

import (
	"strings"
	"testing"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

func TestDecodeJSON_NamesWhatDoesNotFit(t *testing.T) {
	for _, tc := range []struct{ name, body, kind, want string }{
		{"unknown field", `{"name":"a","colour":"red"}`, "invalid", "Unknown field(s): 'colour'"},
		{"two unknown fields", `{"x":1,"lifecycle":{"data":{"y":[{"z":1}]}}}`, "invalid", "Unknown field(s): 'x', 'lifecycle.data.y'"},
		{"wrong case", `{"Name":"a"}`, "invalid", "Unknown field(s): 'Name'"},
		{"number for string", `{"name":3}`, "invalid", "name must be a string"},
		{"string for list", `{"lifecycle":{"data":{"buildpacks":"go"}}}`, "invalid", "lifecycle.data.buildpacks must be a list"},
		{"list item", `{"lifecycle":{"data":{"buildpacks":["go",1]}}}`, "invalid", "lifecycle.data.buildpacks[1] must be a string"},
		{"object for string", `{"name":{"a":"b"}}`, "invalid", "name must be a string"},
		{"value of a map", `{"environment_variables":{"A":1}}`, "invalid", "environment_variables.A must be a string"},
		{"list for the body", `[]`, "invalid", "the body must be an object"},
		{"duplicate key", `{"name":"a","name":"b"}`, "bad-request", "the key 'name' is given twice"},
		{"nested duplicate key", `{"metadata":{"labels":{"k":"1","k":"2"}}}`, "bad-request", "the key 'metadata.labels.k' is given twice"},
		{"not JSON", `{"name":`, "bad-request", "the JSON ends too early"},
		{"trailing", `{"name":"a"} {}`, "bad-request", "after the end"},
		{"deep", strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), "bad-request", "nested more than 64 deep"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var into v3.AppCreate
			err := decodeJSON([]byte(tc.body), &into)
			if err == nil || !strings.Contains(err.Error(), tc.want) || string(platform.KindOf(err)) != tc.kind {
				t.Errorf("got %v (%s), want %s: %q", err, platform.KindOf(err), tc.kind, tc.want)
			}
		})
	}
}

func TestDecodeJSON_TakesTheNullsThatClientsSend(t *testing.T) {
	var d v3.DeploymentCreate
	err := decodeJSON([]byte(`{"droplet":{"guid":"d"},"revision":null,"strategy":"canary","relationships":{"app":{"data":{"guid":"a"}}},
		"options":{"max_in_flight":2,"canary":{"steps":[{"instance_weight":20}]},"web_instances":null,"memory_in_mb":null,
		"disk_in_mb":null,"log_rate_limit_in_bytes_per_second":null},"metadata":null}`), &d)
	if err != nil || d.Options.MemoryMB != nil || *d.Options.MaxInFlight != 2 || d.Relationships.GUID("app") != "a" {
		t.Errorf("deployment: %+v, %v", d, err)
	}
	var p v3.ProcessUpdate
	err = decodeJSON([]byte(`{"command":null,"health_check":{"type":"http","data":{"timeout":null,"endpoint":"/x"}}}`), &p)
	if err != nil || p.Command != nil {
		t.Errorf("process: %+v, %v", p, err)
	}
	if d := p.HealthCheck.Data; !d.Timeout.Set || d.Timeout.Value != nil || d.Interval.Set || *d.Endpoint.Value != "/x" {
		t.Errorf("health check: %+v", d)
	}
	var r v3.RouteCreate
	if err := decodeJSON([]byte(`{"host":"h","port":null,"options":{"a":null}}`), &r); err != nil || r.Port != nil {
		t.Errorf("route: %+v, %v", r, err)
	}
	err = decodeJSON([]byte(`{"health_check":{"data":{"timeout":"soon","interval":1.5}}}`), &p)
	if want := "health_check.data.timeout must be an integer, health_check.data.interval must be an integer"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add(`{"name":"a","metadata":{"labels":{"k":null}}}`)
	f.Add(`{"lifecycle":{"data":{"buildpacks":["x",[]]}}}`)
	f.Add(`[[[{"a":1e999}]]]`)
	f.Fuzz(func(t *testing.T, body string) {
		for _, into := range []any{&v3.AppCreate{}, &v3.ProcessUpdate{}, &v3.DeploymentCreate{}, &v3.DestinationsUpdate{}, &v3.ServiceInstanceCreate{}} {
			if err := decodeJSON([]byte(body), into); err != nil {
				if k := platform.KindOf(err); k != platform.KindInvalid && k != platform.KindBadRequest {
					t.Fatalf("%s: %v", k, err)
				}
			}
		}
	})
}
