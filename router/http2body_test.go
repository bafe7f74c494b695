package router

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
)

// leaving starts an instance that speaks HTTP/2 and ends every other connection
// once it knows of a request on it and of so many bytes of its body, which it
// says it did not take. On the others it gives back the whole body.
func leaving(t *testing.T, behind int) (addr string, left *atomic.Int32) {
	left = new(atomic.Int32)
	whole := serveH2C(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(flushing{w}, r.Body)
	})
	var n atomic.Int32
	return serveRaw(t, func(c net.Conn) {
		if n.Add(1)%2 == 0 {
			join(c, whole)
			return
		}
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		fr := http2.NewFramer(c, c)
		_ = fr.WriteSettings()
		for known, got := false, 0; !known || got < behind; {
			switch f, err := fr.ReadFrame(); f := f.(type) {
			case *http2.HeadersFrame:
				known = true
			case *http2.DataFrame:
				got += len(f.Data())
				_ = fr.WriteWindowUpdate(0, f.Length)
				_ = fr.WriteWindowUpdate(f.StreamID, f.Length)
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = fr.WriteSettingsAck()
				}
			default:
				if err != nil {
					return
				}
			}
		}
		left.Add(1)
		_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
		_, _ = io.Copy(io.Discard, c)
	}), left
}

// join passes bytes on between c and a connection to addr until one of them
// ends.
func join(c net.Conn, addr string) {
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	var both sync.WaitGroup
	pass := func(dst, src net.Conn) {
		_, _ = io.Copy(dst, src)
		_ = dst.Close()
	}
	both.Go(func() { pass(to, c) })
	pass(c, to)
	both.Wait()
}

// flushing sends what is written at once.
type flushing struct{ http.ResponseWriter }

func (w flushing) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	return n, errors.Join(err, http.NewResponseController(w.ResponseWriter).Flush())
}

func TestHTTP2Upload_IsSentAgainWhenAConnectionEndsBeforeItTookIt(t *testing.T) {
	g := run(t)
	for i, tt := range []struct {
		name   string
		size   int
		behind int
		sized  bool
	}{
		{"no body", 0, 0, true},
		{"a small one", 10, 10, true},
		{"of unknown length", 10, 10, false},
		{"of which some came", 50 << 10, 10 << 10, false},
		{"of which nothing came", 1 << 20, 0, false},
	} {
		addr, left := leaving(t, tt.behind)
		d := to("app", addr)
		d.Protocol = ProtocolHTTP2
		host := fmt.Sprintf("h%d.test", i)
		g.mapRoute(host, "", d)
		for road, c := range map[string]*http.Client{"HTTP/1.1": g.client(), "HTTP/2": g.h2c()} {
			want := strings.Repeat("0123456789", tt.size/10)
			var body io.Reader = strings.NewReader(want)
			if !tt.sized {
				body = io.MultiReader(body)
			}
			if got := do(t, c, request1(t, "POST", "http://"+host+"/", body)); got.status != 200 || got.body != want {
				t.Errorf("%s, %s: got %d, %d bytes", tt.name, road, got.status, len(got.body))
			}
			// The next begins on a connection that ends, too.
			g.r.backends.each(func(b *backend) { b.closeIdle() })
		}
		if n := left.Load(); n == 0 {
			t.Errorf("%s: no connection was ended", tt.name)
		}
	}
}

// A client that waits for the answer to what it sent must not wait for ever
// because the one that was to answer is gone.
func TestHTTP2Upload_OfAClientThatWaitsIsSentAgain(t *testing.T) {
	g := run(t)
	addr, _ := leaving(t, 5)
	d := to("app", addr)
	d.Protocol = ProtocolHTTP2
	g.mapRoute("a.test", "", d)
	in, out := io.Pipe()
	go func() { _, _ = io.WriteString(out, "hello") }()
	res, err := g.h2c().Do(request1(t, "POST", "http://a.test/", in))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := make([]byte, 5)
	if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	_, _ = io.WriteString(out, " again")
	_ = out.Close()
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != " again" {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestHTTP2Upload_ThatWasForgottenIsNotBegunAnew(t *testing.T) {
	g := run(t)
	addr, _ := leaving(t, 200<<10)
	d := to("app", addr)
	d.Protocol = ProtocolHTTP2
	g.mapRoute("a.test", "", d)
	body := io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)))
	if got := do(t, g.client(), request1(t, "POST", "http://a.test/", body)); got.status != 502 {
		t.Errorf("got %d, %d bytes", got.status, len(got.body))
	}
}
