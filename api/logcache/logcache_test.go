package logcache

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/internal/auth"
	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/store"
)

// fixture is a log-cache with one app.
type fixture struct {
	t     *testing.T
	s     *Server
	logs  *logs.Store
	token string
	app   platform.App
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	db, err := store.Open(ctx, filepath.Join(dir, "weir.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	must(t, db.EnsureDefaults(ctx, "apps.localhost"))
	a := auth.New(auth.Config{Store: db})
	must(t, a.Bootstrap(ctx, "a long password"))
	tokens, err := a.Password(ctx, "cf", "admin", "a long password")
	must(t, err)
	l, err := logs.Open(filepath.Join(dir, "logs"), logs.Options{})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	spaces, _, err := db.Spaces(ctx, store.Query{})
	must(t, err)
	app := platform.App{Resource: platform.NewResource(time.Now()), SpaceGUID: spaces[0].GUID, Name: "shop", State: platform.AppStopped}
	must(t, db.InsertApp(ctx, app))
	return &fixture{t, New(Config{Auth: a, Logs: l, Store: db}), l, tokens.Access, app}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) get(path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Authorization", "bearer "+f.token)
	w := httptest.NewRecorder()
	f.s.ServeHTTP(w, r)
	return w
}

func (f *fixture) append(source, text string, at int64) {
	f.t.Helper()
	must(f.t, f.logs.Append(logs.Envelope{Timestamp: at, App: f.app.GUID, SourceType: source, Instance: "0", Payload: []byte(text)}))
}

// strictEnvelopes has exactly the fields the CLI's protobuf library knows.
type strictEnvelopes struct {
	Envelopes struct {
		Batch []struct {
			Timestamp      string            `json:"timestamp"`
			SourceID       string            `json:"source_id"`
			InstanceID     string            `json:"instance_id"`
			DeprecatedTags map[string]string `json:"deprecated_tags"`
			Tags           map[string]string `json:"tags"`
			Log            struct {
				Payload string `json:"payload"`
				Type    string `json:"type"`
			} `json:"log"`
		} `json:"batch"`
	} `json:"envelopes"`
}

// read returns "SOURCE text" of what a query answers with, decoded as strictly
// as the cf CLI does.
func (f *fixture) read(query string) []string {
	f.t.Helper()
	w := f.get("/api/v1/read/" + f.app.GUID + query)
	if w.Code != 200 {
		f.t.Fatalf("%s: %d %s", query, w.Code, w.Body)
	}
	dec := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	dec.DisallowUnknownFields()
	var e strictEnvelopes
	must(f.t, dec.Decode(&e))
	if e.Envelopes.Batch == nil {
		f.t.Errorf("%s: no batch in %s", query, w.Body)
	}
	out := []string{}
	for _, b := range e.Envelopes.Batch {
		text, err := base64.StdEncoding.DecodeString(b.Log.Payload)
		must(f.t, err)
		out = append(out, b.Tags["source_type"]+" "+string(text))
		if b.SourceID != f.app.GUID || b.Tags["app_name"] != "shop" || b.InstanceID == "" {
			f.t.Errorf("envelope %+v", b)
		}
	}
	return out
}

const fromTheBeginning = "start_time=-6795364578871345152"

func TestRead_OrdersAndLimits(t *testing.T) {
	f := newFixture(t)
	if got := f.read("?descending=true&limit=1&" + fromTheBeginning); len(got) != 0 {
		t.Errorf("an empty log has %v", got)
	}
	base := time.Now().Add(-time.Hour).UnixNano()
	for i := range 150 {
		f.append("APP/PROC/WEB", fmt.Sprint(i), base+1000*int64(i))
	}
	for _, tc := range []struct {
		query, first, last string
		n                  int
	}{
		{"?" + fromTheBeginning, "0", "99", 100}, // the oldest, up to the default limit
		{"?descending=true&envelope_types=LOG&limit=1000&" + fromTheBeginning, "149", "0", 150},
		{"?descending=true&limit=1&" + fromTheBeginning, "149", "149", 1},
		{fmt.Sprintf("?envelope_types=LOG&start_time=%d", base+140_000), "140", "149", 10},
		{fmt.Sprintf("?start_time=%d&end_time=%d", base+10_000, base+20_000), "10", "19", 10},
		{fmt.Sprintf("?start_time=%d&end_time=%d&descending=true&limit=2", base+10_000, base+20_000), "19", "18", 2},
		{"?envelope_types=ANY&envelope_types=GAUGE&limit=2", "0", "1", 2},
	} {
		got := f.read(tc.query)
		if len(got) != tc.n || got[0] != "APP/PROC/WEB "+tc.first || got[len(got)-1] != "APP/PROC/WEB "+tc.last {
			t.Errorf("%s: %d lines, %v", tc.query, len(got), got)
		}
	}
	for _, none := range []string{"?envelope_types=GAUGE", "?name_filter=cpu", "?end_time=1", "?start_time=-5&end_time=-1"} {
		if got := f.read(none); len(got) != 0 {
			t.Errorf("%s: %v", none, got)
		}
	}
}

func TestRead_StagingIsPresentedEarlier(t *testing.T) {
	f := newFixture(t)
	now := time.Now()
	f.append("APP/PROC/WEB", "serving", now.Add(-3*time.Second).UnixNano())
	f.append("STG", "compiling", now.UnixNano())
	f.append("APP/PROC/WEB", "still serving", now.Add(time.Millisecond).UnixNano())

	// The CLI's probe: the newest envelope, then from a second before it on;
	// whatever is younger than two seconds is for later.
	old := fmt.Sprintf("&end_time=%d", now.Add(-2*time.Second).UnixNano()+1000)
	if got := f.read("?" + fromTheBeginning + old); fmt.Sprint(got) != "[APP/PROC/WEB serving STG compiling]" {
		t.Errorf("older than two seconds: %q", got)
	}
	// A client that has shown the app's line from two seconds ago still gets it.
	if got := f.read(fmt.Sprintf("?start_time=%d", now.Add(-2*time.Second-time.Millisecond).UnixNano())); fmt.Sprint(got) != "[STG compiling APP/PROC/WEB still serving]" {
		t.Errorf("from there on: %q", got)
	}
	if got := f.read("?descending=true&" + fromTheBeginning); fmt.Sprint(got) != "[APP/PROC/WEB still serving STG compiling APP/PROC/WEB serving]" {
		t.Errorf("newest first: %q", got)
	}
}

func TestRead_Refusals(t *testing.T) {
	f := newFixture(t)
	for path, want := range map[string]int{
		"/api/v1/read/nothing":                                    404,
		"/api/v1/read/" + f.app.GUID + "?limit=1001":              400,
		"/api/v1/read/" + f.app.GUID + "?limit=-1":                400,
		"/api/v1/read/" + f.app.GUID + "?start_time=yesterday":    400,
		"/api/v1/read/" + f.app.GUID + "?start_time=5&end_time=4": 400,
		"/api/v1/query": 404,
	} {
		if w := f.get(path); w.Code != want || !strings.Contains(w.Body.String(), `"errors"`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	f.token = "x"
	if w := f.get("/api/v1/read/" + f.app.GUID); w.Code != 401 {
		t.Errorf("with a bad token: %d", w.Code)
	}
	w := httptest.NewRecorder()
	f.s.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/meta", nil))
	if w.Code != 401 {
		t.Errorf("without a token: %d", w.Code)
	}
}

func TestInfoAndMeta(t *testing.T) {
	f := newFixture(t)
	w := httptest.NewRecorder()
	f.s.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/info", nil)) // no token
	var info map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &info); err != nil || info["version"] != "3.0.0" || info["vm_uptime"] == "" {
		t.Errorf("%s", w.Body)
	}
	f.append("APP/PROC/WEB", "one", 1000)
	f.append("RTR", "two", 2000)
	var meta struct {
		Meta map[string]map[string]string
	}
	must(t, json.Unmarshal(f.get("/api/v1/meta").Body.Bytes(), &meta))
	want := map[string]string{"count": "2", "expired": "0", "oldest_timestamp": "1000", "newest_timestamp": "2000"}
	if got := meta.Meta[f.app.GUID]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
