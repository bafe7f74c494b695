package api_test

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	v3 "weir/api/v3"
	"weir/internal/shadow"
	"weir/router"
)

// pairsOf is a router that has compared some requests once.
type pairsOf chan []router.ShadowPair

func (p pairsOf) Shadows(ctx context.Context, _ time.Duration) ([]router.ShadowPair, []router.ShadowCounts, error) {
	select {
	case pairs := <-p:
		return pairs, nil, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// shadows compares what is sent to f.compared, by the rules in the store.
func (f *fixture) shadows(dir string) *shadow.Collector {
	f.compared = make(pairsOf)
	c := shadow.New(shadow.Config{
		Dir: filepath.Join(dir, "shadow"), Source: f.compared, Logger: slog.New(slog.DiscardHandler),
		Ignores: func(ctx context.Context, version string) ([]string, error) {
			v, err := f.store.Version(ctx, version)
			return v.Shadow.Ignore, err
		},
	})
	ctx, stop := context.WithCancel(f.t.Context())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	f.t.Cleanup(func() { stop(); <-ended })
	return c
}

func TestShadow_ReportAndSettings(t *testing.T) {
	f := newFixture(t)
	app, _ := f.started("shop")
	all := "/v3/apps/" + app.GUID + "/versions"
	f.wants(201, "POST", all, `{"label":"v2","droplet":{"guid":"`+f.droplet(app.GUID, "second")+`"},"mode":"shadow"}`)
	var list v3.List[v3.Version]
	f.get(all+"?labels=v2", &list)
	v2 := "/v3/versions/" + list.Resources[0].GUID
	answer := func(body string) router.ShadowAnswer {
		return router.ShadowAnswer{
			Status: 200, Header: map[string][]string{"Content-Type": {"application/json"}},
			Body: []byte(body), Size: int64(len(body)), SHA256: sha256.Sum256([]byte(body)),
		}
	}
	for range 20 {
		probe := answer(`{"n":1,"ts":3}`)
		f.compared <- []router.ShadowPair{{
			App: app.GUID, Version: list.Resources[0].GUID, Method: "GET", Path: "/cart/7", RequestID: "r1",
			Main: answer(`{"n":1,"ts":1}`), Shadow: answer(`{"n":2,"ts":2}`), Probe: &probe,
		}}
	}
	f.compared <- nil // the others were counted when this is taken
	var r v3.ShadowReport
	f.get(v2+"/shadow_report", &r)
	if r.Compared != 20 || r.Equal != 0 || r.Probed != 20 || len(r.Endpoints) != 1 || r.Endpoints[0].Endpoint != "GET /cart/{id}" {
		t.Fatalf("%+v", r)
	}
	if first := r.Endpoints[0].Fields[0]; first.Field != "$.n" || !first.IsDifferent || first.Examples[0].Shadow != "2" {
		t.Errorf("%+v", first)
	}
	if noise := r.Endpoints[0].Fields[1]; noise.Field != "$.ts" || noise.IsDifferent {
		t.Errorf("%+v", noise)
	}
	f.wants(422, "PATCH", v2, `{"shadow":{"ignore":["ts"]}}`)
	f.wants(422, "PATCH", v2, `{"shadow":{"noise_percent":101}}`)
	f.wants(200, "PATCH", v2, `{"shadow":{"all_methods":true,"ignore":["$.ts"]}}`)
	var v v3.Version
	f.get(v2, &v)
	if !v.Shadow.AllMethods || v.Shadow.Noise != 10 || !slices.Equal(v.Shadow.Ignore, []string{"$.ts"}) {
		t.Errorf("%+v", v.Shadow)
	}
	f.get(v2+"/shadow_report", &r)
	if r.Compared != 0 {
		t.Errorf("other rules, and the report did not begin anew: %+v", r)
	}
	f.wants(200, "POST", v2+"/actions/reset_shadow_report", "")
	f.wants(404, "GET", "/v3/versions/nothing/shadow_report", "")
	v3rd := `{"label":"v3","mode":"shadow","shadow":`
	f.wants(422, "POST", all, v3rd+`{"ignore":["ts"]}}`)
	f.wants(422, "POST", all, v3rd+`{"paths":["search"]}}`)
	f.get("/v3/versions/"+f.wants(201, "POST", all, v3rd+`{"methods":["GET"],"paths":["/search"]}}`).guid(t), &v)
	if !slices.Equal(v.Shadow.Methods, []string{"GET"}) || !slices.Equal(v.Shadow.Paths, []string{"/search"}) {
		t.Errorf("%+v", v.Shadow)
	}
}
