package load

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"
)

func newLoop(t *testing.T) *Loop {
	t.Helper()
	l, err := New(-1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func proxy(l *Loop, modify func(*http.Response) error) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: l.Instance()})
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		ErrorLog:       log.New(io.Discard, "", 0), // the load ends with requests under way
		Transport:      &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true},
		ModifyResponse: modify,
	}
}

// TestLoop_MeasuresEachKindOfLoad goes through a proxy that does its work.
func TestLoop_MeasuresEachKindOfLoad(t *testing.T) {
	l := newLoop(t)
	plain := httptest.NewServer(proxy(l, nil))
	defer plain.Close()
	secure := httptest.NewUnstartedServer(proxy(l, nil))
	secure.EnableHTTP2 = true
	cert := ownCert(t)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	secure.StartTLS()
	defer secure.Close()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)

	for name, p := range map[string]Plan{
		"keep-alive":             {Conns: 8},
		"connection per request": {Conns: 8, Reconnect: true},
		"large":                  {Conns: 2, Large: true},
		"rate":                   {Conns: 8, Rate: 500},
		"h1+TLS":                 {Conns: 4, Proto: HTTP1TLS},
		"large over TLS":         {Conns: 2, Proto: HTTP1TLS, Large: true},
		"h2+TLS":                 {Conns: 2, Streams: 4, Proto: HTTP2TLS},
		"hold":                   {Conns: 150, Hold: true},
	} {
		t.Run(name, func(t *testing.T) {
			begun, ended := false, false
			p.Addr = strings.TrimPrefix(plain.URL, "http://")
			if p.Proto != HTTP1 {
				p.Addr, p.Roots = strings.TrimPrefix(secure.URL, "https://"), roots
			}
			p.WarmUp, p.For = 50*time.Millisecond, 200*time.Millisecond
			p.Begin, p.End = func() { begun = true }, func() { ended = true }
			got, err := l.Run(p)
			if err != nil {
				t.Fatal(err)
			}
			if got.Wrong != 0 || got.Requests == 0 || !begun || !ended {
				t.Errorf("got %d right, %d wrong (%s), begun %t, ended %t", got.Requests, got.Wrong, got.Why, begun, ended)
			}
			if p.Rate > 0 && (len(got.Latencies) == 0 || got.Percentile(50) <= 0) {
				t.Errorf("got %d latencies, median %s", len(got.Latencies), got.Percentile(50))
			}
		})
	}
}

// TestLoop_SeesWrongAnswers goes through proxies that do something else.
func TestLoop_SeesWrongAnswers(t *testing.T) {
	l := newLoop(t)
	for name, c := range map[string]struct {
		handler http.Handler
		want    string
	}{
		"another status": {
			proxy(l, func(r *http.Response) error { r.StatusCode = 404; return nil }),
			`the answer begins "HTTP/1.1 404`,
		},
		"another content": {
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := []byte(r.URL.Query().Get("q") + strings.Repeat("z", smallBody-digits))
				w.Write(body)
			}),
			"an answer with other content",
		},
		"the answer to another request": {
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(l.small[l.smallAt:]) }),
			"the answer to another request",
		},
		"no forwarded fields": {
			&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: l.Instance()}) }},
			`a request came without "host: ` + Host + `"`,
		},
		"cut off": {
			http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
			"the proxy closed the connection before it answered",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(c.handler)
			defer s.Close()
			got, err := l.Run(Plan{Addr: strings.TrimPrefix(s.URL, "http://"), Conns: 2, For: 200 * time.Millisecond})
			if got.Wrong == 0 || !strings.HasPrefix(got.Why, c.want) {
				t.Errorf("got %d wrong: %q, want %q (%v)", got.Wrong, got.Why, c.want, err)
			}
		})
	}
}

func TestLoop_GivesUpAProxyThatIsNotThere(t *testing.T) {
	l := newLoop(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	got, err := l.Run(Plan{Addr: ln.Addr().String(), Conns: 1, For: time.Second})
	if err == nil {
		t.Errorf("got %+v, want an error", got)
	}
}

func ownCert(t *testing.T) tls.Certificate {
	t.Helper()
	cert, _, _, err := Certificate()
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
