package router

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"testing"
)

func TestShadow_AnswersAreReadHoweverTheyAreFramed(t *testing.T) {
	const ok, hello = "HTTP/1.1 200 OK\r\n", "Content-Length: 5\r\n\r\nhello"
	for name, c := range map[string]struct {
		answer, body, err string
		ends              bool
	}{
		"length":             {ok + hello, "hello", "", false},
		"length and no more": {ok + "Connection: close\r\n" + hello, "hello", "", true},
		"chunked":            {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-T: 1\r\n\r\n", "hello", "", false},
		"to the end":         {ok + "\r\nhello", "hello", "", true},
		"interim answers":    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + hello, "hello", "", false},
		"bytes behind it":    {ok + hello + "HTTP/1.1 500 No\r\n\r\n", "hello", "", false},
		"empty":              {"HTTP/1.1 204 No Content\r\n\r\n", "", "", false},
		"cut":                {ok + "Content-Length: 6\r\n\r\nhello", "", "endpoint_closed", true},
		"cut in a chunk":     {ok + "Transfer-Encoding: chunked\r\n\r\n6\r\nhello", "", "endpoint_closed", true},
		"bad chunks":         {ok + "Transfer-Encoding: chunked\r\n\r\nx\r\nhello\r\n0\r\n\r\n", "", "endpoint_closed", false},
		"two lengths":        {ok + "Content-Length: 6\r\n" + hello, "", "endpoint_closed", false},
		"not asked for":      {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "", "endpoint_closed", false},
		"no HTTP":            {"hello there\r\n\r\n", "", "endpoint_closed", false},
		"nothing":            {"", "", "endpoint_closed", true},
	} {
		t.Run(name, func(t *testing.T) {
			g := run(t)
			var main visits
			g.upsert(shadowed("a.test", misbehave(t, c.answer, c.ends).addr, nil, serveApp(t, main.app("main"))))
			asked := 1
			if c.ends {
				asked = 2 // the second over what the first left
			}
			for range asked {
				get(t, g.client(), "http://a.test/")
				pairs, _ := g.pairs(1)
				if s := pairs[0].Shadow; string(s.Body) != c.body || s.Error != c.err {
					t.Errorf("it said %q, error %q", s.Body, s.Error)
				}
			}
			g.freed()
		})
	}
}

// Copies leave connections as they found them: with nothing to read on them and
// no deadline.
func TestShadow_UsesItsConnectionsAgain(t *testing.T) {
	g := run(t)
	var main visits
	shadow := misbehave(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", true)
	var kept visits
	g.upsert(shadowed("a.test", serveApp(t, kept.app("shadow")), nil, serveApp(t, main.app("main"))))
	g.upsert(shadowed("b.test", shadow.addr, nil, serveApp(t, main.app("main"))))
	from := map[string]bool{}
	for range 3 {
		get(t, g.client(), "http://a.test/")
		g.pairs(1)
	}
	reqs, _ := kept.all()
	for _, req := range reqs {
		from[req.RemoteAddr] = true
	}
	if len(reqs) != 3 || len(from) != 1 {
		t.Errorf("%d copies over %d connections", len(reqs), len(from))
	}
	for i := range 3 { // each over a connection that was closed meanwhile, or a new one
		get(t, g.client(), "http://b.test/")
		if pairs, _ := g.pairs(1); pairs[0].Shadow.Status != 200 {
			t.Error(fmt.Sprint(i), pairs[0].Shadow)
		}
	}
	if n := shadow.conns.Load(); n != 3 {
		t.Errorf("%d connections for 3 copies", n)
	}
}

func TestShadow_IsAskedOverHTTP2IfItSpeaksThat(t *testing.T) {
	g := run(t)
	var main, shadow visits
	r := shadowed("a.test", serveH2C(t, shadow.app("shadow")), nil, serveApp(t, main.app("main")))
	r.Destinations[1].Protocol = "http2"
	g.upsert(r)
	get(t, g.client(), "http://a.test/x?y", "X-Own", "1")
	if pairs, _ := g.pairs(1); string(pairs[0].Shadow.Body) != "shadow" {
		t.Errorf("it said %+v", pairs[0].Shadow)
	}
	reqs, _ := shadow.all()
	if q := reqs[0]; q.ProtoMajor != 2 || q.RequestURI != "/x?y" || q.Host != "a.test" || q.Header.Get("X-Own") != "1" || q.Header.Get("X-Shadow-Of") != "v1" || q.Header.Get("X-Cf-Instanceid") != "shadow-0" {
		t.Errorf("it saw %+v", q)
	}
}

// Most answers are the same, and then their bodies are of no interest.
func TestShadow_HandsOverBodiesThatDifferOnly(t *testing.T) {
	g := run(t)
	app := func(w http.ResponseWriter, req *http.Request) {
		body := "the same"
		if req.URL.Path == "/other" && req.Header.Get("X-Cf-Instanceid") == "shadow-0" {
			body = "another"
		}
		_, _ = io.WriteString(w, body)
	}
	g.upsert(shadowed("a.test", serveApp(t, app), nil, serveApp(t, app)))
	get(t, g.client(), "http://a.test/")
	pairs, _ := g.pairs(1)
	if p := pairs[0]; !p.IsSame() || p.Main.Body != nil || p.Shadow.Body != nil || p.Probe.Body != nil || p.Main.Size != 8 || p.Shadow.SHA256 != sha256.Sum256([]byte("the same")) {
		t.Errorf("of the same answers: %+v", p)
	}
	get(t, g.client(), "http://a.test/other")
	pairs, _ = g.pairs(1)
	if p := pairs[0]; p.IsSame() || string(p.Main.Body) != "the same" || string(p.Shadow.Body) != "another" {
		t.Errorf("of different answers: %+v", p)
	}
	g.freed()
}
