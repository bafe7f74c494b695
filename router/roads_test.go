package router

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

// bothRoads is a router that is reached over its own HTTP/1.1 road at addr
// and over net/http, without the other, at std.
type bothRoads struct {
	*rig
	std  string
	seen chan string // what the instance got, one per request
}

func runBothRoads(t *testing.T) *bothRoads {
	g := &bothRoads{rig: run(t), seen: make(chan string, 100)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.std = ln.Addr().String()
	road := newStdRoad(g.r)
	edge := newEdge(g.r, road.carry)
	var served sync.WaitGroup
	served.Go(func() { _ = road.serve() })
	served.Go(func() { _ = edge.serve(ln, nil) })
	t.Cleanup(func() {
		edge.stop()
		road.drain(t.Context())
		served.Wait()
	})
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		for _, name := range []string{"X-Request-Start", "X-Vcap-Request-Id", "X-Request-Id"} {
			if r.Header.Get(name) == "" {
				r.Header.Set(name, "is missing")
			} else if name != "X-Request-Id" || len(r.Header.Get(name)) == 36 {
				r.Header.Del(name)
			}
		}
		if err != nil {
			return // how much of a bad request is seen is a matter of time
		}
		r.Header.Del("Content-Length") // a small body that came in chunks is sent whole
		g.seen <- fmt.Sprintf("%s %s %s %v %q %v", r.Method, r.RequestURI, r.Host, r.Header, body, r.Trailer)
		w.Header().Set("X-Name", "a")
		if r.Method == "DELETE" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if r.URL.Path == "/stream" { // without a length, and too long for net/http to find one
			_, _ = io.WriteString(w, strings.Repeat("answer", 1000))
			return
		}
		_, _ = io.WriteString(w, "answer")
	})))
	return g
}

// verdict sends bytes and the end, and returns what came of them: the answers,
// and what reached the instance as a whole.
func (g *bothRoads) verdict(addr string, send []byte) string {
	g.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		g.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = c.Write(send)
	_ = c.(*net.TCPConn).CloseWrite()
	got, _ := io.ReadAll(c)
	var out strings.Builder
	method := "GET"
	if bytes.HasPrefix(send, []byte("HEAD ")) {
		method = "HEAD"
	}
	for in := bufio.NewReader(bytes.NewReader(got)); ; {
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			rest, _ := io.ReadAll(in)
			fmt.Fprintf(&out, "rest %q\n", rest)
			break
		}
		body, err := io.ReadAll(res.Body)
		res.Header.Del("Date")
		if res.Header.Get("Connection") != "keep-alive" {
			res.Header.Del("Connection") // ReadResponse leaves it with HTTP/1.0
		}
		if id := res.Header.Get("X-Vcap-Request-Id"); len(id) == 36 {
			res.Header.Set("X-Vcap-Request-Id", "an ID")
		}
		fmt.Fprintf(&out, "%d close=%v %d %v %v %q %v\n", res.StatusCode, res.Close, res.ContentLength, res.TransferEncoding, res.Header, anID.ReplaceAll(body, []byte("an ID")), err)
	}
	eventually(g.t, "the requests are over", func() bool { return g.r.metrics.requests.Load() == 0 })
	var seen []string
	for {
		select {
		case s := <-g.seen:
			seen = append(seen, s)
			continue
		default:
		}
		sort.Strings(seen)
		return out.String() + strings.Join(seen, "\n")
	}
}

var anID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

// oddStreams are streams of requests, good and bad ones.
func oddStreams(t testing.TB) map[string]string {
	const follower = "GET /follower HTTP/1.1\r\nHost: a.test\r\n\r\n"
	const leader = "GET /leader HTTP/1.1\r\nHost: a.test\r\nX-A: b\r\n\r\n"
	all := map[string]string{}
	for name, row := range refusedHeads(t) {
		all["refused: "+name] = row[1]
		if !strings.HasPrefix(name, "endless") && len(row[1]) < 3000 && name != "empty line first" {
			all["refused, between others: "+name] = leader + row[1] + follower
		}
	}
	for name, body := range refusedBodies(t) {
		all["body: "+name] = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + body + follower
	}
	for i, s := range goodStreams {
		if !strings.HasPrefix(s, "PRI") {
			all[fmt.Sprint("good ", i)] = s
		}
	}
	for name, fields := range map[string]string{
		"spoofed":            "X-Forwarded-For: 1.2.3.4\r\nX-Real-Ip: 1.2.3.4\r\nForwarded: for=x\r\nX_Forwarded_Proto: https\r\nX.Forwarded.Host: y\r\nX-Cf-Instanceid: z\r\nX-Shadow-Of: q\r\nX-Route-Version: v9\r\n",
		"hop by hop":         "Keep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authorization: x\r\nTE: trailers\r\nTrailer: X-T\r\nHTTP2-Settings: AA\r\n",
		"TE of other things": "TE: gzip\r\n",
		"TE list":            "TE: trailers, gzip\r\n",
		"odd names":          "!#$%&'*+-.^_`|~09azAZ: x\r\nx-lower: y\r\nX-UPPER: z\r\n",
		"repeated":           "X-A: 1\r\nX-A: 2\r\nAccept: a/b\r\nAccept: c/d\r\n",
		"blanks":             "X-A:  \t b c \t \r\nX-B:\r\nX-C: \t \r\n",
		"high bytes":         "X-A: \xe4\xf6\xfc\r\n",
		"cookies":            "Cookie: a=b\r\nCookie: c=d\r\n",
		"pinned":             "Cookie: JSESSIONID=x; __VCAP_ID__=a-0\r\n",
		"pinned elsewhere":   "Cookie: __VCAP_ID__=gone; JSESSIONID=x\r\n",
		"request ID":         "X-Request-Id: mine-1\r\n",
		"bad request ID":     "X-Request-Id: {bad}\r\n",
		"two request IDs":    "X-Request-Id: a\r\nX-Request-Id: b\r\n",
		"close":              "Connection: close\r\n",
		"keep-alive":         "Connection: keep-alive\r\n",
		"nominated":          "Connection: close, X-A\r\nX-A: b\r\n",
		"nominated host":     "Connection: Host\r\n",
		"nominated auth":     "Connection: authorization\r\nAuthorization: x\r\n",
		"upgrade h2c":        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
		"upgrade to nothing": "Connection: Upgrade\r\nUpgrade: foo\r\n",
		"expect":             "Expect: 100-continue\r\n",
		"unknown instance":   "X-Cf-App-Instance: a:9\r\n",
		"bad instance":       "X-Cf-App-Instance: nonsense\r\n",
		"two instances":      "X-Cf-App-Instance: a:0\r\nX-Cf-App-Instance: a:1\r\n",
		"accept JSON":        "Accept: application/json\r\n",
	} {
		all["fields: "+name] = "GET /x?y=%41 HTTP/1.1\r\nHost: a.test\r\n" + fields + "\r\n" + follower
		all["fields, no route: "+name] = "GET /x HTTP/1.1\r\nHost: nowhere.test\r\n" + fields + "\r\n" + follower
		all["fields, POST: "+name] = "POST /x HTTP/1.1\r\nHost: a.test\r\n" + fields + "Content-Length: 5\r\n\r\nhello" + follower
	}
	for name, s := range map[string]string{
		"HEAD":               "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"HEAD of nothing":    "HEAD / HTTP/1.1\r\nHost: nowhere.test\r\n\r\n",
		"HTTP/1.0":           "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n" + follower,
		"HTTP/1.0 POST":      "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello" + follower,
		"HTTP/1.0 kept":      "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: Keep-Alive\r\n\r\n" + follower,
		"HTTP/1.0 kept POST": "POST / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello" + follower,
		"HTTP/1.0 kept HEAD": "HEAD / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n" + follower,
		"HTTP/1.0 kept 204":  "DELETE / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n" + follower,
		"HTTP/1.0 kept 404":  "GET / HTTP/1.0\r\nHost: nowhere.test\r\nConnection: keep-alive\r\n\r\n" + follower,
		"HTTP/1.0 of no end": "GET /stream HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n" + follower,
		"HTTP/1.0 kept list": "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: X-A, keep-alive\r\nX-A: b\r\n\r\n" + follower,
		"HTTP/1.0 two minds": "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n" + follower,
		"DELETE":             "DELETE /x HTTP/1.1\r\nHost: a.test\r\n\r\n" + follower,
		"GET with body":      "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello" + follower,
		"own method":         "PROPFIND / HTTP/1.1\r\nHost: a.test\r\n\r\n" + follower,
		"lower-case method":  "get / HTTP/1.1\r\nHost: a.test\r\n\r\n" + follower,
		"host with port":     "GET / HTTP/1.1\r\nHost: A.Test:80\r\n\r\n" + follower,
		"host with dot":      "GET / HTTP/1.1\r\nHost: a.test.\r\n\r\n" + follower,
		"empty host":         "GET / HTTP/1.1\r\nHost:\r\n\r\n" + follower,
		"odd target":         "GET /a%20b;c=d,e/~f?g=h?i&j=%zz HTTP/1.1\r\nHost: a.test\r\n\r\n" + follower,
		"bad escape":         "GET /%zz HTTP/1.1\r\nHost: a.test\r\n\r\n" + follower,
		"doubtful":           "GET /a//b/../c HTTP/1.1\r\nHost: a.test\r\n\r\n" + follower,
		"body and trailers":  "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: t\r\nHost: x\r\n\r\n" + follower,
		"POST of nothing":    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n" + follower,
		"POST to nowhere":    "POST / HTTP/1.1\r\nHost: nowhere.test\r\nContent-Length: 5\r\n\r\nhello" + follower,
		"chunks to nowhere":  "POST / HTTP/1.1\r\nHost: nowhere.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + follower,
		"half a head":        "GET / HTTP/1.1\r\nHost: a.te",
		"half a body":        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50\r\n\r\nhello",
		"half a chunk":       "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
		"nothing":            "",
		"an empty line":      follower + "\r\n" + follower,
		"two empty lines":    follower + "\r\n\r\n" + follower,
		"empty line first":   "\r\n" + follower + follower,
		"empty lines first":  "\r\n\r\n\r\n\r\n" + follower + "\r\n\r\n\r\n\r\n" + follower,
		"bare line first":    "\n" + follower,
		"only empty lines":   "\r\n\r\n",
		"star":               "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n" + follower,
		"absolute":           "GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n" + follower,
		"absolute no path":   "GET http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n" + follower,
		"large POST":         "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000) + follower,
		"large chunked POST": "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + strings.Repeat("x", 100000) + "\r\n0\r\n\r\n" + follower,
	} {
		all[name] = s
	}
	return all
}

func TestRoads_AgreeAboutOddStreams(t *testing.T) {
	g := runBothRoads(t)
	for name, s := range oddStreams(t) {
		own, std := g.verdict(g.addr, []byte(s)), g.verdict(g.std, []byte(s))
		if own != std {
			t.Errorf("%s:\nown:\n%s\nnet/http:\n%s", name, own, std)
		}
	}
}

func TestRoads_AgreeAboutMutations(t *testing.T) {
	g := runBothRoads(t)
	all := oddStreams(t)
	names := make([]string, 0, len(all))
	for name, s := range all {
		if len(s) < 600 {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 600 {
		name := names[rnd.IntN(len(names))]
		s := mutated(rnd, []byte(all[name]))
		own, std := g.verdict(g.addr, s), g.verdict(g.std, s)
		// Of two reasons to refuse a request either may be found first.
		if own != std && !(isOneRefusal(own) && isOneRefusal(std)) {
			t.Errorf("%s, %q:\nown:\n%s\nnet/http:\n%s", name, s, own, std)
		}
	}
}

// isOneRefusal reports whether a verdict is one answer of ours that refuses,
// and nothing else but what net/http says when it meets the rest of a bad body.
func isOneRefusal(verdict string) bool {
	const bare = "400 close=true -1 [] map[Content-Type:[text/plain; charset=utf-8]] \"400 Bad Request\" <nil>\n"
	verdict = strings.Replace(verdict, bare, "", 1)
	return strings.HasPrefix(verdict, "4") && strings.Contains(verdict, "X-Cf-Routererror") && strings.Count(verdict, "\n") == 2 && strings.HasSuffix(verdict, "rest \"\"\n")
}

// mutated changes a few bytes to others that mean something to a parser.
func mutated(rnd *rand.Rand, b []byte) []byte {
	const telling = "\r\n \t:;,/?#%\x00\x7f\xff0159afAFxX-_.\"=@[]*"
	b = bytes.Clone(b)
	for range 1 + rnd.IntN(3) {
		if len(b) == 0 {
			break
		}
		i := rnd.IntN(len(b))
		switch c := telling[rnd.IntN(len(telling))]; rnd.IntN(4) {
		case 0:
			b[i] = c
		case 1:
			b = append(b[:i], append([]byte{c}, b[i:]...)...)
		case 2:
			b = append(b[:i], b[i+1:]...)
		default: // a piece twice
			n := min(len(b)-i, 1+rnd.IntN(20))
			b = append(b[:i+n], append(bytes.Clone(b[i:i+n]), b[i+n:]...)...)
		}
	}
	return b
}
