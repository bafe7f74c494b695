package v3

import (
	"encoding/json"
	"testing"
	"time"
)

func TestTime_IsWrittenAsCloudFoundryDoes(t *testing.T) {
	at := time.Date(2026, 1, 2, 4, 4, 5, 999, time.FixedZone("", 3600))
	for _, tc := range []struct {
		in   any
		want string
	}{
		{At(at), `"2026-01-02T03:04:05Z"`},
		{Time{}, `null`},
		{Nanos(-5), `"-5"`},
		{ProcessUpdate{}, `{}`},
		{HealthCheckDataUpdate{Timeout: Null[int]{Set: true}, Interval: NullOf(3)}, `{"timeout":null,"interval":3}`},
		{DestinationUpdate{Weight: NullOf(0)}, `{"weight":0}`},
		{To(""), `{"data":null}`},
		{Relationships{"app": To("g"), "revision": nil}, `{"app":{"data":{"guid":"g"}},"revision":null}`},
		{LifecycleInput{Type: "buildpack", Data: &LifecycleDataInput{Buildpacks: []string{}}}, `{"type":"buildpack","data":{"buildpacks":[]}}`},
		{LifecycleInput{Data: &LifecycleDataInput{}}, `{"data":{}}`},
	} {
		if b, err := json.Marshal(tc.in); err != nil || string(b) != tc.want {
			t.Errorf("%#v: %s, %v; want %s", tc.in, b, err, tc.want)
		}
	}
}

func TestReading_IsStrictAboutNothing(t *testing.T) {
	var a App
	err := json.Unmarshal([]byte(`{"guid":"g","created_at":"yesterday","updated_at":null,"surprise":1,"relationships":{"space":null}}`), &a)
	if err != nil || a.GUID != "g" || !a.CreatedAt.IsZero() || a.Relationships.GUID("space") != "" || a.Relationships.GUID("x") != "" {
		t.Errorf("%+v, %v", a, err)
	}
	var n []Nanos
	if err := json.Unmarshal([]byte(`["12",13,"-6795364578871345152"]`), &n); err != nil || n[0] != 12 || n[1] != 13 || n[2] != -6795364578871345152 {
		t.Errorf("%v, %v", n, err)
	}
	var d HealthCheckDataUpdate
	if err := json.Unmarshal([]byte(`{"timeout":null,"interval":4}`), &d); err != nil || !d.Timeout.Set || d.Timeout.Value != nil || *d.Interval.Value != 4 || d.Endpoint.Set {
		t.Errorf("%+v, %v", d, err)
	}
}
