package wire

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// corpus reads a file of testdata: tab-separated columns, the last one quoted.
func corpus(t testing.TB, name string) (rows [][]string) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		cols := strings.Split(line, "\t")
		last := len(cols) - 1
		if cols[last], err = strconv.Unquote(cols[last]); err != nil {
			t.Fatalf("%s: %s: %v", name, line, err)
		}
		rows = append(rows, cols)
	}
	return rows
}

// refusedHeads are all refused forms by name: their status and their bytes.
func refusedHeads(t testing.TB) map[string][2]string {
	all := map[string][2]string{
		"long method":    {"400", strings.Repeat("A", 25) + " / HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		"long target":    {"414", "GET /" + strings.Repeat("a", MaxTarget) + " HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		"endless target": {"414", "GET /" + strings.Repeat("a", 20000)},
		"many fields":    {"431", "GET / HTTP/1.1\r\nHost: a.test\r\n" + strings.Repeat("X: y\r\n", 100) + "\r\n"},
		"large head":     {"431", "GET / HTTP/1.1\r\nHost: a.test\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 70) + "\r\n"},
		"long line":      {"431", "GET / HTTP/1.1\r\nHost: a.test\r\nX: " + strings.Repeat("y", MaxLine) + "\r\n\r\n"},
		"long name":      {"431", "GET / HTTP/1.1\r\nHost: a.test\r\n" + strings.Repeat("y", MaxLine+1) + ": x\r\n\r\n"},
		"endless head":   {"431", "GET / HTTP/1.1\r\nHost: a.test\r\nX: " + strings.Repeat("y", 70000)},
	}
	for _, row := range corpus(t, "refused.txt") {
		if all[row[1]][0] != "" {
			t.Fatalf("%s is twice in the corpus", row[1])
		}
		all[row[1]] = [2]string{row[0], row[2]}
	}
	return all
}

func TestParseRequest_RefusesWhatTwoParsersCouldReadDifferently(t *testing.T) {
	var r Request
	for name, want := range refusedHeads(t) {
		head := want[1]
		t.Run(name, func(t *testing.T) {
			if name == "empty line first" {
				t.Skip("whether it may stand there depends on what came before; the connection loop knows")
			}
			for how, b := range map[string]string{"alone": head, "with a follower": head + "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"} {
				n, v := ParseRequest([]byte(b), &r)
				if n != 0 || strconv.Itoa(v.Status()) != want[0] {
					t.Errorf("%s: got %d, verdict %d, status %d, want %s", how, n, v, v.Status(), want[0])
				}
			}
			// However the bytes arrive: never accepted, and refused for good
			// once refused.
			refused := Incomplete
			for i := range len(head) + 1 {
				if len(head) > 3000 && i%997 != 0 && i != len(head) {
					continue
				}
				switch _, v := ParseRequest([]byte(head[:i]), &r); {
				case v == Fast || v == Slow:
					t.Fatalf("accepted %q", head[:i])
				case refused != Incomplete && v != refused:
					t.Fatalf("verdict %d after %d bytes, %d before", v, i, refused)
				default:
					refused = v
				}
			}
		})
	}
}

func TestParseRequest_LeavesRareFormsToTheSlowRoad(t *testing.T) {
	var r Request
	for name, head := range map[string]string{
		"upgrade":          "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"h2c upgrade":      "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
		"expect":           "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
		"absolute form":    "GET http://a.test/x HTTP/1.1\r\nHost: A.test\r\n\r\n",
		"star":             "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"connection list":  "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close, x-a\r\nX-A: b\r\n\r\n",
		"two connections":  "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nConnection: close\r\n\r\n",
		"empty connection": "GET / HTTP/1.1\r\nHost: a.test\r\nConnection:\r\n\r\n",
		"double slash":     "GET /a//b HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"dot segment":      "GET /a/../b HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"last dot segment": "GET /a/.. HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"escaped dot":      "GET /%2e%2E/b HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"escaped slash":    "GET /a%2fb HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"backslash":        "GET /a\\b HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"escaped NUL":      "GET /a%00 HTTP/1.1\r\nHost: a.test\r\n\r\n",
	} {
		n, v := ParseRequest([]byte(head), &r)
		if v != Slow || n != len(head) {
			t.Errorf("%s: got %d, verdict %d", name, n, v)
		}
		for i := range head {
			if _, v := ParseRequest([]byte(head[:i]), &r); v != Incomplete {
				t.Errorf("%s: verdict %d after %d bytes", name, v, i)
			}
		}
	}
}

const browser = "GET /path/to/something?q=1 HTTP/1.1\r\nHost: App.Example.com.:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nConnection: keep-alive\r\nAccept-Encoding: gzip, deflate, br\r\n" +
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nTE: trailers\r\nX_Forwarded-For: evil\r\nReferer: http://app.example.com/\r\nX-Custom: \t yes \t\r\nX-Empty:\r\n\r\n"

func TestParseRequest_ReadsAHeadAndKeepsItsLines(t *testing.T) {
	var r Request
	b := []byte(browser)
	for i := range b {
		if _, v := ParseRequest(b[:i], &r); v != Incomplete {
			t.Fatalf("verdict %d after %d bytes", v, i)
		}
	}
	n, v := ParseRequest(append(b, "GET / HTT"...), &r)
	if n != len(browser) || v != Fast {
		t.Fatalf("got %d of %d, verdict %d", n, len(browser), v)
	}
	for what, got := range map[string]string{
		"GET":                          string(r.MethodBytes()),
		"/path/to/something?q=1":       string(r.TargetBytes()),
		"/path/to/something":           string(r.PathBytes()),
		"app.example.com":              string(r.HostName()),
		"App.Example.com.:8080":        string(r.HostValue()),
		"yes":                          string(r.Get("x-custom")),
		"http://app.example.com/":      string(r.First(Referer)),
		"1 true false false 0":         fmt.Sprint(r.Minor, r.Trailers, r.Close, r.Chunked, r.Length),
		"evil":                         string(r.First(Owned)),
		"<nil>":                        fmt.Sprint(error(nil)),
		"en-US,en;q=0.5":               string(r.Get("accept-language")),
		"gzip, deflate, br":            string(r.Get("accept-encoding")),
		"/path/to/something?q=1 HTTP/": string(r.AppendLine(nil, 0))[4:32],
	} {
		if got != what {
			t.Errorf("got %q, want %q", got, what)
		}
	}
	if r.Get("x-absent") != nil || r.Get("x-empty") == nil || len(r.Get("x-empty")) != 0 || r.Count(Cookie) != 1 {
		t.Error("absent or empty field misread")
	}
	want := strings.NewReplacer("GET /path/to/something?q=1 HTTP/1.1\r\n", "", "Connection: keep-alive\r\n", "", "TE: trailers\r\n", "", "X_Forwarded-For: evil\r\n", "").Replace(browser)
	if got := string(r.AppendKept(nil)) + "\r\n"; got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestParseRequest_SaysHowTheBodyIsFramed(t *testing.T) {
	var r Request
	for head, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":                                          "0 false false",
		"GET / HTTP/1.0\r\n\r\n":                                                     "0 false true",
		"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n":                           "0 false false",
		"GET / HTTP/1.0\r\nConnection: close\r\n\r\n":                                "0 false true",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n":                     "0 false true",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 000000000000000012\r\n\r\n":   "12 false false",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\t12 \t\r\n\r\n":               "12 false false",
		"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 999999999999999999\r\n\r\n":   "999999999999999999 false false",
		"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n":           "-1 true false",
		"POST / HTTP/1.1\r\nHost:\r\nContent-Length: 3\r\n\r\nabc":                   "3 false false",
		"DELETE / HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 3\r\n\r\nabcGET / H": "3 false false",
	} {
		_, v := ParseRequest([]byte(head), &r)
		if got := fmt.Sprint(r.Length, r.Chunked, r.Close); v != Fast || got != want {
			t.Errorf("%q: verdict %d, got %s, want %s", head, v, got, want)
		}
	}
}

// isOwned reports whether only the router may set a field of this name.
func isOwned(name string) bool {
	c := classify([]byte(name))
	return c >= AppInstance && c <= Owned
}

func TestClassify_KnowsEverySpellingOfWhatTheRouterOwns(t *testing.T) {
	for _, n := range []string{
		"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded",
		"Forwarded", "X-Real-Ip", "X-Cf-Applicationid", "X-Cf-Anything", "X-Vcap-Request-Id", "X-Shadow-Of", "X-Route-Version",
		"X-Request-Start", "X-Request-Id", "X-Cf-App-Instance", "X-Weir-Event", "X-Forwarded-" + strings.Repeat("x", 100),
	} {
		for _, s := range []string{n, strings.ToUpper(n), strings.ToLower(n), strings.ReplaceAll(n, "-", "_"), strings.ReplaceAll(n, "-", "."), strings.Replace(n, "-", "_", 1)} {
			if !isOwned(s) || !IsProtected([]byte(s)) {
				t.Errorf("%s is not the router's", s)
			}
		}
	}
	for _, n := range []string{"Host", "X-Forward", "X-Custom", "From", "X-Cfx", "X-Requested-With", "X-Weir-Events", "Cookie", "X"} {
		if isOwned(n) {
			t.Errorf("%s is the router's", n)
		}
	}
}

func TestParseResponse_RefusesEachMisbehaviour(t *testing.T) {
	var r Response
	all := corpus(t, "answers.txt")
	all = append(all, []string{"200 KB line", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 200<<10) + "\r\n\r\n"},
		[]string{"many fields", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 101) + "\r\n"},
		[]string{"endless phrase", "HTTP/1.1 200 " + strings.Repeat("y", 70000)})
	for _, row := range all {
		name, head := row[0], row[1]
		t.Run(name, func(t *testing.T) {
			if n, v := ParseResponse([]byte(head), &r); n != 0 || !v.Refused() {
				t.Errorf("got %d, verdict %d", n, v)
			}
			for i := range min(len(head), 200) {
				if _, v := ParseResponse([]byte(head[:i]), &r); v == Fast {
					t.Errorf("accepted %q", head[:i])
				}
			}
		})
	}
}

func TestParseResponse_KeepsTheMarkOfAnAnswerToItself(t *testing.T) {
	var r Response
	const head = "HTTP/1.1 200 OK\r\nx-weir-EVENT: checkout-failed\r\nX-Weir-Events: 1\r\nX_Weir_Event: a\r\nContent-Length: 0\r\n\r\n"
	if _, v := ParseResponse([]byte(head), &r); v != Fast || !r.Marked || string(r.First(Event)) != "checkout-failed" {
		t.Errorf("verdict %d, marked %v, %q", v, r.Marked, r.First(Event))
	}
	if got, want := string(r.AppendKept(nil)), "X-Weir-Events: 1\r\nX_Weir_Event: a\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, v := ParseResponse([]byte("HTTP/1.1 200 OK\r\n\r\n"), &r); v != Fast || r.Marked {
		t.Errorf("verdict %d, marked %v", v, r.Marked)
	}
}

func TestParseResponse_ReadsAHeadAndKeepsItsLines(t *testing.T) {
	const head = "HTTP/1.1 201 Created it\r\nDate: now\r\nConnection: Keep-Alive, X-Hop\r\nKeep-Alive: max=3, timeout=5\r\nSet-Cookie: a=b\r\nX-Hop: 1\r\n" +
		"X-Cf-RouterError: forged\r\nX-Forwarded-Thing: mine\r\nContent-Length: 7\r\nServer:\r\n\r\n"
	var r Response
	for i := range head {
		if _, v := ParseResponse([]byte(head[:i]), &r); v != Incomplete {
			t.Fatalf("verdict %d after %d bytes", v, i)
		}
	}
	n, v := ParseResponse([]byte(head+"content"), &r)
	if n != len(head) || v != Fast {
		t.Fatalf("got %d, verdict %d", n, v)
	}
	if got := fmt.Sprint(r.Status, r.Length, r.Chunked, r.Close, r.KeepAlive, r.Cookies); got != "201 7 false false 5 true" {
		t.Errorf("got %s", got)
	}
	got := string(r.AppendKept(r.AppendLine(nil)))
	if want := "HTTP/1.1 201 Created it\r\nDate: now\r\nSet-Cookie: a=b\r\nX-Forwarded-Thing: mine\r\nServer:\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for head, want := range map[string]string{
		"HTTP/1.0 200 OK\r\n\r\n":                               "-1 false true",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n":     "-1 false false",
		"HTTP/1.1 200\r\nConnection: close\r\n\r\n":             "-1 false true",
		"HTTP/1.1 204 \r\n\r\n":                                 "-1 false false",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n": "-1 true false",
	} {
		if _, v := ParseResponse([]byte(head), &r); v != Fast || fmt.Sprint(r.Length, r.Chunked, r.Close) != want {
			t.Errorf("%q: verdict %d, %d %v %v", head, v, r.Length, r.Chunked, r.Close)
		}
	}
}

// throughChunks returns the data of a chunked body given in pieces, how many
// bytes it took, and whether they were fit.
func throughChunks(pieces ...string) (data string, n int, trailers string, ok bool) {
	var s Chunks
	for _, p := range pieces {
		for b := []byte(p); len(b) > 0 && !s.Done(); {
			d, k, ok := s.Next(b)
			if data += string(d); !ok {
				return data, n, "", false
			}
			n += k
			b = b[k:]
		}
	}
	return data, n, string(s.AppendTrailers(nil)), s.Done()
}

func TestChunks_RefusesBadBodiesHoweverTheyAreSplit(t *testing.T) {
	all := corpus(t, "chunks.txt")
	all = append(all, []string{"long extension", "5;" + strings.Repeat("a", 300) + "\r\nhello\r\n0\r\n\r\n"},
		[]string{"many extensions", strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 100) + "0\r\n\r\n"},
		[]string{"many trailers", "0\r\n" + strings.Repeat("X: a\r\n", 101) + "\r\n"})
	for _, row := range all {
		name, body := row[0], row[1]
		t.Run(name, func(t *testing.T) {
			for i := range len(body) {
				if len(body) > 1000 && i%97 != 0 {
					continue
				}
				if data, _, _, ok := throughChunks(body[:i], body[i:]); ok {
					t.Errorf("split at %d: took it for %q", i, data)
				}
			}
		})
	}
}

func TestChunks_FindsDataAndEnd(t *testing.T) {
	const body = "5\r\nhello\r\n0a;x;y=z;q=\"a\\\"b\"\r\n0123456789\r\n000\r\nX-T: v\r\ncontent-length: 5\r\nAuthorization: x\r\nX_Forwarded.For: y\r\n\r\n"
	for i := range len(body) {
		data, n, trailers, ok := throughChunks(body[:i], body[i:]+"GET / HTTP/1.1")
		if !ok || data != "hello0123456789" || n != len(body) || trailers != "X-T: v\r\n" {
			t.Fatalf("split at %d: got %q, %d, %q, %v", i, data, n, trailers, ok)
		}
	}
	again := append(AppendChunkHead(nil, 5), "hello\r\n"...)
	again = append(AppendChunkHead(again, 300), strings.Repeat("x", 300)+"\r\n"...)
	again = AppendLastChunk(again, []byte("X-T: v\r\n"))
	if want := "5\r\nhello\r\n12c\r\n" + strings.Repeat("x", 300) + "\r\n0\r\nX-T: v\r\n\r\n"; string(again) != want {
		t.Errorf("got %q", again)
	}
}

func TestParse_AllocatesNothing(t *testing.T) {
	var req Request
	var res Response
	b := []byte(browser)
	ans := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: bench\r\nConnection: keep-alive\r\nContent-Length: 64\r\n\r\n")
	out := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		ParseRequest(b, &req)
		out = req.AppendKept(req.AppendLine(out[:0], 0))
		ParseResponse(ans, &res)
		out = res.AppendKept(res.AppendLine(out[:0]))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParseRequest(b *testing.B) {
	var r Request
	head := []byte(browser)
	out := make([]byte, 0, 4096)
	for b.Loop() {
		ParseRequest(head, &r)
		out = r.AppendKept(r.AppendLine(out[:0], 0))
	}
}

func BenchmarkParseResponse(b *testing.B) {
	var r Response
	head := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: bench\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: 64\r\n\r\n")
	out := make([]byte, 0, 4096)
	for b.Loop() {
		ParseResponse(head, &r)
		out = r.AppendKept(r.AppendLine(out[:0]))
	}
}
