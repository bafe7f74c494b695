package router

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weir/router/wire"
)

// marking is an app all of whose answers are 200, but marked.
func marking(events ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, e := range events {
			w.Header().Add("X-Weir-Event", e)
		}
		_, _ = io.WriteString(w, "canary")
	}
}

// serveHTTP2 serves an app that speaks HTTP/2 in the clear.
func serveHTTP2(t *testing.T, h http.HandlerFunc) string {
	srv := httptest.NewUnstartedServer(h)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// Whatever a client speaks, and an instance: the mark is counted, for the
// version that the shares assigned the request to, and stays here.
func TestMark_IsCountedOnEveryRoadAndSentOnToNobody(t *testing.T) {
	for _, protocol := range []string{"", ProtocolHTTP2} {
		for _, road := range []string{"http/1.1", "net/http", "h2"} {
			t.Run(fmt.Sprint(road, " to ", protocol), func(t *testing.T) {
				g := run(t)
				serve := func(h http.HandlerFunc) string { return serveApp(t, h) }
				if protocol == ProtocolHTTP2 {
					serve = func(h http.HandlerFunc) string { return serveHTTP2(t, h) }
				}
				r := versions("a.test", serve(sayName("main")), serve(marking("checkout-failed, slow", "more")), 7, 50, 50)
				for i := range r.Destinations {
					r.Destinations[i].Protocol = protocol
				}
				g.upsert(r)
				c, header := g.client(), []string{"X-Weir-Event", "of a client"}
				switch road {
				case "h2":
					c = g.h2c()
				case "net/http":
					header = append(header, "Expect", "100-continue") // rare enough to be net/http's
				}
				for i := range 20 {
					got := get(t, c, fmt.Sprintf("http://a.test/items/%d", i), header...)
					if got.status != 200 || got.header.Get("X-Weir-Event") != "" {
						t.Fatalf("got %+v", got)
					}
				}
				var e Evidence
				var by map[string]VersionEvidence
				eventually(t, "all are counted", func() bool {
					e, by = evidenceOf(t, g, EvidenceQuery{})
					return by["g1/7"].Requests+by["g2/7"].Requests == 20
				})
				one, two := by["g1/7"], by["g2/7"]
				if one.Marked != 0 || one.Bad+two.Bad != 0 || two.Marked != two.Requests || two.Marked < 8 {
					t.Errorf("main %+v, canary %+v", one, two)
				}
				bad := e.Splits[0].Bad
				if len(bad) != int(two.Marked) {
					t.Fatalf("%d events of %d marks", len(bad), two.Marked)
				}
				if b := bad[0]; b.Event != "checkout-failed" || b.Version != "g2" || b.Status != 200 || b.RequestID == "" || !strings.HasPrefix(b.Path, "/items/") {
					t.Errorf("got %+v", b)
				}
			})
		}
	}
}

func TestMark_OnlyEventsThatAreAskedForCount(t *testing.T) {
	g := run(t)
	r := versions("a.test", serveApp(t, marking("hello")), serveApp(t, marking("hello, Checkout-Failed")), 7, 50, 50)
	for i := range r.Destinations {
		r.Destinations[i].Counting = &Counting{Events: []string{"checkout-failed"}, Exclude: []string{"/health"}}
	}
	g.upsert(r)
	c := g.client()
	for range 20 {
		get(t, c, "http://a.test/")
		get(t, c, "http://a.test/health")
	}
	e, by := evidenceOf(t, g, EvidenceQuery{})
	if one, two := by["g1/7"], by["g2/7"]; one.Marked != 0 || two.Marked != two.Requests || one.Requests+two.Requests != 20 {
		t.Errorf("main %+v, canary %+v", one, two)
	}
	if b := e.Splits[0].Bad[0]; b.Event != "Checkout-Failed" {
		t.Errorf("got %+v", b)
	}
}

// One that failed besides is evidence of both kinds; those that a ring got are
// counted apart.
func TestMark_GoesWithFailuresAndRings(t *testing.T) {
	g := run(t)
	failing := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Weir-Event", strings.Repeat("e", 100))
		w.WriteHeader(500)
	}
	r := versions("a.test", serveApp(t, sayName("main")), serveApp(t, failing), 7, 50, 50)
	r.Destinations[1].Match = []Match{{Header: "X-Ring", Exact: "0"}}
	g.upsert(r)
	c := g.client()
	for range 10 {
		get(t, c, "http://a.test/")
	}
	for range 3 {
		get(t, c, "http://a.test/", "X-Ring", "0")
	}
	e, by := evidenceOf(t, g, EvidenceQuery{})
	two := by["g2/7"]
	if two.Requests < 4 || two.Bad != two.Requests || two.Marked != two.Requests || two.Matched != 3 || two.MatchedBad != 3 || two.MatchedMarked != 3 {
		t.Errorf("got %+v", two)
	}
	names := map[string]int{}
	for _, b := range e.Splits[0].Bad {
		names[b.Event]++
	}
	if n := int(two.Requests) + 3; names[""] != n || names[strings.Repeat("e", 64)] != n {
		t.Errorf("%d failed, got %v", n, names)
	}
}

// What takes the place of an assigned version does not mark for it.
func TestMark_OfAnotherVersionIsNotTheFirsts(t *testing.T) {
	g := run(t)
	gone := serveRaw(t, func(c net.Conn) { _ = c.Close() })
	r := versions("a.test", serveApp(t, marking("late")), gone, 7, 50, 50)
	g.upsert(r)
	c := g.client()
	for range 20 {
		if got := get(t, c, "http://a.test/"); got.status != 200 && got.status != 502 {
			t.Fatalf("got %+v", got)
		}
	}
	_, by := evidenceOf(t, g, EvidenceQuery{})
	if one, two := by["g1/7"], by["g2/7"]; two.Marked != 0 || two.Bad != two.Requests || one.Marked != one.Requests {
		t.Errorf("main %+v, canary %+v", one, two)
	}
}

// What an answer without a mark pays is one comparison.
func TestMark_CostsNothingWhereThereIsNone(t *testing.T) {
	var res wire.Response
	head := []byte("HTTP/1.1 200 OK\r\nX-Request-Cost: 1\r\nX-Weir-Eventful: no\r\nContent-Length: 0\r\n\r\n")
	if n := testing.AllocsPerRun(100, func() { wire.ParseResponse(head, &res) }); n != 0 || res.Marked {
		t.Errorf("%v allocations, marked %v", n, res.Marked)
	}
}
