package router

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/router/wire"
)

// corpus reads a file of the parser's: tab-separated columns, the last quoted.
func corpus(t testing.TB, name string) (rows [][]string) {
	t.Helper()
	b, err := os.ReadFile("wire/testdata/" + name)
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

// refusedHeads are request forms that two parsers could read differently: by
// name, the status they are answered with and their bytes.
func refusedHeads(t testing.TB) map[string][2]string {
	all := map[string][2]string{
		"long method":    {"400", strings.Repeat("A", 25) + " / HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		"long target":    {"414", "GET /" + strings.Repeat("a", wire.MaxTarget) + " HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		"endless target": {"414", "GET /" + strings.Repeat("a", 20000)},
		"many fields":    {"431", "GET / HTTP/1.1\r\nHost: a.test\r\n" + strings.Repeat("X: y\r\n", 100) + "\r\n"},
		"large head":     {"431", "GET / HTTP/1.1\r\nHost: a.test\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 70) + "\r\n"},
		"long line":      {"431", "GET / HTTP/1.1\r\nHost: a.test\r\nX: " + strings.Repeat("y", wire.MaxLine) + "\r\n\r\n"},
		"long name":      {"431", "GET / HTTP/1.1\r\nHost: a.test\r\n" + strings.Repeat("y", wire.MaxLine+1) + ": x\r\n\r\n"},
		"endless head":   {"431", "GET / HTTP/1.1\r\nHost: a.test\r\nX: " + strings.Repeat("y", 70000)},
	}
	for _, row := range corpus(t, "refused.txt") {
		all[row[1]] = [2]string{row[0], row[2]}
	}
	return all
}

// refusedBodies are chunked bodies that are refused, by name.
func refusedBodies(t testing.TB) map[string]string {
	all := map[string]string{
		"long extension":  "5;" + strings.Repeat("a", 300) + "\r\nhello\r\n0\r\n\r\n",
		"many extensions": strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 100) + "0\r\n\r\n",
		"many trailers":   "0\r\n" + strings.Repeat("X: a\r\n", 101) + "\r\n",
	}
	for _, row := range corpus(t, "chunks.txt") {
		all[row[0]] = row[1]
	}
	return all
}

// catcher is an instance that notes each request that reaches it.
func catcher(t testing.TB) (addr string, caught chan string) {
	caught = make(chan string, 1000)
	return serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		caught <- fmt.Sprintf("%s %s %s %v", r.Method, r.RequestURI, b, err)
		_, _ = io.WriteString(w, "ok")
	}), caught
}

func TestGuard_RefusesAmbiguousHeads(t *testing.T) {
	g := run(t)
	addr, caught := catcher(t)
	g.mapRoute("a.test", "", to("a", addr))
	const follower = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
	const leader = "GET /first HTTP/1.1\r\nHost: a.test\r\n\r\n"
	for name, row := range refusedHeads(t) {
		want, head := row[0], row[1]
		send := map[string]string{"alone": head, "with a follower": head + follower, "pipelined": leader + head + follower}
		if strings.HasPrefix(name, "endless") {
			send = map[string]string{"alone": head}
		}
		if name == "empty line first" {
			delete(send, "pipelined")
		}
		for how, bytes := range send {
			got := g.raw(bytes)
			if how == "pipelined" {
				if !strings.HasPrefix(got, "HTTP/1.1 200 ") {
					t.Errorf("%s: the request before it: got %q", name, statusLine(got))
				}
				if req := <-caught; req != "GET /first  <nil>" {
					t.Errorf("%s: got %q", name, req)
				}
				_, got, _ = strings.Cut(got, "\r\n\r\nok")
			}
			if !strings.HasPrefix(got, "HTTP/1.1 "+want+" ") || !strings.Contains(got, "Connection: close\r\n") ||
				!strings.Contains(got, "X-Cf-Routererror: ") || strings.Count(got, "HTTP/1.1 ") != 1 {
				t.Errorf("%s, %s: got %q, want %s", name, how, got, want)
			}
		}
	}
	select {
	case req := <-caught:
		t.Errorf("reached an instance: %q", req)
	default:
	}
}

func TestGuard_GivesTheSameVerdictHoweverTheBytesAreSplit(t *testing.T) {
	for name, row := range refusedHeads(t) {
		head := row[1]
		if len(head) > 1000 {
			continue
		}
		for i := 1; i < len(head); i++ {
			if got := throughGuard(&pieces{[]byte(head[:i]), []byte(head[i:])}); !strings.Contains(got, refusedTarget) || strings.Count(got, " HTTP/1.1\r\n") != 1 {
				t.Errorf("%s split at %d: passed on %q", name, i, got)
			}
		}
	}
}

var goodStreams = []string{
	"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\n",
	"GET /a?b HTTP/1.1\r\nhost:a.test\r\nX-A:\t b \r\nX-Empty:\r\n\r\nGET /b HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhelloPOST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0a;x;y=z;q=\"a\\\"b\"\r\n0123456789\r\n000\r\nX-T: v\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"PUT / HTTP/1.1\r\nHost: a.test\r\n\r\n",
}

func TestGuard_PassesGoodStreamsOnUnchangedHoweverTheyAreSplit(t *testing.T) {
	for _, s := range goodStreams {
		for i := range len(s) {
			if got := throughGuard(&pieces{[]byte(s[:i]), []byte(s[i:])}); got != s {
				t.Fatalf("split at %d: got %q, want %q", i, got, s)
			}
		}
		var single pieces
		for i := range len(s) {
			single = append(single, []byte(s[i:i+1]))
		}
		if got := throughGuard(&single); got != s {
			t.Fatalf("byte by byte: got %q, want %q", got, s)
		}
	}
	// An empty line between messages is dropped.
	one := "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	s := one + "\r\n" + one
	for i := range len(s) {
		if got := throughGuard(&pieces{[]byte(s[:i]), []byte(s[i:])}); got != one+one {
			t.Fatalf("split at %d: got %q", i, got)
		}
	}
	for _, s := range []string{"\r\n" + one, one + "\r\n\r\n" + one, "\n" + one, one + "\n" + one, "\r" + one, one + "\r" + one} {
		if got := throughGuard(&pieces{[]byte(s)}); !strings.Contains(got, refusedTarget) {
			t.Errorf("%q: got %q", s, got)
		}
	}
}

// pieces is a connection that brings given pieces, one per Read.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	for len(*p) > 0 && len((*p)[0]) == 0 {
		*p = (*p)[1:]
	}
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	(*p)[0] = (*p)[0][n:]
	return n, nil
}

// throughGuard returns what a guard passes on, followed by the error if it is
// not the end.
func throughGuard(in io.Reader) string {
	g := guard{onSlow: func() {}}
	var out bytes.Buffer
	buf := make([]byte, 512)
	for {
		n, err := g.read(buf, in)
		out.Write(buf[:n])
		if err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprint(&out, " ", err)
			}
			return out.String()
		}
	}
}

func TestGuard_RefusesBadChunks(t *testing.T) {
	g := run(t)
	addr, caught := catcher(t)
	g.mapRoute("a.test", "", to("a", addr))
	for name, body := range refusedBodies(t) {
		got := g.raw("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + body + "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") || strings.Count(got, "HTTP/1.1 ") != 1 {
			t.Errorf("%s: got %q", name, got)
		}
		select {
		case req := <-caught:
			if strings.HasSuffix(req, "<nil>") || strings.Contains(req, "smuggled") {
				t.Errorf("%s: an instance took it for complete: %q", name, req)
			}
		case <-time.After(50 * time.Millisecond):
		}
	}
	for name, body := range refusedBodies(t) {
		for i := 1; i < min(len(body), 40); i++ {
			got := throughGuard(&pieces{[]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body[:i]), []byte(body[i:])})
			if !strings.HasSuffix(got, errBadBody.Error()) {
				t.Errorf("%s split at %d: %q", name, i, got)
			}
		}
	}
}

func TestGuard_CutsOffSlowHeads(t *testing.T) {
	g := run(t, func(c *Config) { c.HeadTimeout = 200 * time.Millisecond })
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("ok"))))
	drip := func(c net.Conn) time.Duration {
		begun := time.Now()
		for i := 0; ; i++ {
			if _, err := io.WriteString(c, "X"); err != nil {
				return time.Since(begun)
			}
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, errTimeout(err)) {
				return time.Since(begun)
			}
			if time.Since(begun) > time.Minute {
				return time.Since(begun)
			}
		}
	}
	c := g.dial()
	defer c.Close()
	if d := drip(c); d > time.Minute {
		t.Error("the first head is not cut off")
	}
	// The second head of a connection has no more time than the first.
	eventually(t, "a first head in time", func() bool {
		c = g.dial()
		t.Cleanup(func() { _ = c.Close() })
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		_, err := http.ReadResponse(bufio.NewReader(c), nil)
		return err == nil
	})
	if d := drip(c); d > time.Minute {
		t.Error("the second head is not cut off")
	}
}

// errTimeout returns err if it is a time-out, else nil.
func errTimeout(err error) error {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return err
	}
	return net.ErrClosed
}

func TestGuard_RefusesTooManyFieldsOverHTTP2(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("ok"))))
	req := request1(t, "GET", "http://a.test/", nil)
	for i := range 101 {
		req.Header.Set(fmt.Sprint("X-", i), "y")
	}
	if got := do(t, g.h2c(), req); got.status != 431 {
		t.Errorf("got %+v", got)
	}
}

// What the guard lets through, net/http must read in the same way.
func FuzzGuard(f *testing.F) {
	for _, s := range goodStreams {
		f.Add([]byte(s), 7)
	}
	for _, row := range refusedHeads(f) {
		if s := row[1]; len(s) < 1000 {
			f.Add([]byte(s), 3)
		}
	}
	for _, s := range refusedBodies(f) {
		if len(s) < 1000 {
			f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+s), 5)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, split int) {
		whole := throughGuard(bytes.NewReader(b))
		if split > 0 && split < len(b) {
			// A refusal may wait for the end of the line.
			got := throughGuard(&pieces{b[:split], b[split:]})
			if got != whole && (got != "" || bytes.ContainsAny(b[split:], "\r\n")) {
				t.Errorf("split at %d: %q, whole: %q", split, got, whole)
			}
		}
		head := strings.Index(whole, "\r\n\r\n")
		if head < 0 || strings.Contains(whole, refusedTarget) {
			return
		}
		var fr wire.Request
		if _, v := wire.ParseRequest([]byte(whole[:head+4]), &fr); v.Refused() {
			t.Fatalf("passed on a head that is refused: %q", whole)
		}
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(whole)))
		if err != nil {
			if strings.Contains(err.Error(), "invalid URL escape") || strings.Contains(err.Error(), "parse \"") {
				return
			}
			t.Fatalf("net/http refuses %q: %v", whole, err)
		}
		if chunked := len(req.TransferEncoding) > 0; chunked != fr.Chunked || !chunked && req.ContentLength != fr.Length {
			t.Errorf("framing %v %d, net/http says %v %d: %q", fr.Chunked, fr.Length, req.TransferEncoding, req.ContentLength, whole)
		}
	})
}
