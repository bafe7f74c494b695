package router

import (
	"net/http"
	"testing"
)

// besides returns a route to apps and a shadow of all of them, which is another
// app.
func besides(host, shadow string, percent int, live ...Destination) Route {
	copies := to("next", shadow)
	copies.Version, copies.Shadow, copies.OfRoute, copies.Weight = "n1", percent, true, 0
	return Route{Host: host, GUID: host, Destinations: append(live, copies)}
}

func TestShadowOfARoute_GetsCopiesOfWhatAnyAppAnswers(t *testing.T) {
	for road, client := range map[string]func(*rig) *http.Client{"h1": (*rig).client, "h2": (*rig).h2c} {
		t.Run(road, func(t *testing.T) {
			g := run(t)
			var shadow visits
			blue, green := to("blue", serveApp(t, sayName("one"))), to("green", serveApp(t, sayName("one")))
			green.Version, green.Label = "g2", "v2"
			g.upsert(besides("a.test", serveApp(t, shadow.app("two")), 100, blue, green))
			c := client(g)
			for range 10 {
				if got := get(t, c, "http://a.test/"); got.body != "one" {
					t.Fatalf("the client got %+v", got)
				}
			}
			pairs, counts := g.pairs(10)
			of := map[string]int{}
			for _, p := range pairs {
				of[p.Of]++
				if p.App != "next" || p.Version != "n1" || string(p.Main.Body) != "one" || string(p.Shadow.Body) != "two" {
					t.Errorf("pair %+v", p)
				}
			}
			if of[""] < 4 || of["g2"] < 4 || counts.Copied != 10 {
				t.Errorf("of whom: %v, counts %+v", of, counts)
			}
			seen := map[string]int{}
			reqs, _ := shadow.all()
			for _, req := range reqs {
				seen[req.Header.Get("X-Shadow-Of")]++
				if h := req.Header; h.Get("X-Shadow") != "1" || h.Get("X-Cf-Applicationid") != "next" || h.Get("X-Cf-Instanceid") != "next-0" || h.Get("X-Route-Version") != "" {
					t.Errorf("the shadow saw %v", h)
				}
			}
			if len(reqs) != 10 || seen["blue"] != of[""] || seen["green:v2"] != of["g2"] {
				t.Errorf("%d copies, of %v", len(reqs), seen)
			}
			g.freed()
		})
	}
}

// Nobody reaches it as long as it is a shadow, by whatever name.
func TestShadowOfARoute_AnswersNobody(t *testing.T) {
	g := run(t)
	var shadow visits
	addr := serveApp(t, shadow.app("two"))
	alone := besides("a.test", addr, 100)
	alone.Destinations[0].Label = "v9"
	alone.Options = map[string]string{"version-header": "on", "sticky": "cookie"}
	g.upsert(alone)
	for what, header := range map[string][]string{
		"by share": {}, "by version": {"X-Route-Version", "v9"}, "by instance": {"X-Cf-App-Instance", "next:0"},
		"by session": {"Cookie", "JSESSIONID=a; __VCAP_ID__=next-0"}, "by page": {"X-Deployment-Id", "v9"},
	} {
		if got := get(t, g.client(), "http://a.test/", header...); got.status == http.StatusOK {
			t.Errorf("%s: %+v", what, got)
		}
	}
	if got := get(t, g.client(), "http://a.test/"); got.status != http.StatusServiceUnavailable || got.header.Get("X-Cf-Routererror") != "no_endpoints" {
		t.Errorf("a route with a shadow alone answers %+v", got)
	}
	// Nor does it when who answers is out of reach.
	g.upsert(besides("b.test", addr, 100, to("app", deadAddr(t))))
	if got := get(t, g.client(), "http://b.test/"); got.status != http.StatusBadGateway {
		t.Errorf("with an app that is out of reach it answers %+v", got)
	}
	if reqs, _ := shadow.all(); len(reqs) != 0 {
		t.Errorf("the shadow got %d requests", len(reqs))
	}
}

// A refused request belongs to the app that would have got it.
func TestShadowOfARoute_LeavesTheLogToTheAppThatAnswers(t *testing.T) {
	g := run(t)
	rt := besides("a.test", serveApp(t, sayName("two")), 100, to("app", serveApp(t, sayName("one"))))
	rt.Options = map[string]string{"deny-ips": "127.0.0.0/8,::1"}
	g.upsert(rt)
	if got := get(t, g.client(), "http://a.test/"); got.status != http.StatusForbidden {
		t.Fatalf("got %+v", got)
	}
	if rec := g.nthRecord(1); rec.AppGUID != "app" {
		t.Errorf("the record is of %q", rec.AppGUID)
	}
}

// A copy that comes back to the router is answered and not copied again.
func TestShadowOfARoute_IsNotCopiedAgain(t *testing.T) {
	g := run(t)
	var inner, shadow visits
	g.upsert(besides("inner.test", serveApp(t, inner.app("copied twice")), 100, to("leaf", serveApp(t, sayName("leaf")))))
	ask := g.client()
	g.upsert(besides("a.test", serveApp(t, func(w http.ResponseWriter, req *http.Request) {
		shadow.app("two")(w, req)
		get(t, ask, "http://inner.test/", "X-Shadow", req.Header.Get("X-Shadow"))
	}), 100, to("app", serveApp(t, sayName("one")))))
	get(t, g.client(), "http://a.test/")
	g.pairs(1)
	if reqs, _ := inner.all(); len(reqs) != 0 {
		t.Errorf("%d copies were made of what a shadow asked for", len(reqs))
	}
}
