package router

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"weir/router/wire"
)

// misbehaving starts an instance that answers the first request on each
// connection with the given bytes, then ends the connection, or waits for the
// router to end it. conns counts connections, dropped those the router ended.
type misbehaving struct {
	addr           string
	conns, dropped atomic.Int32
}

func misbehave(t testing.TB, answer string, ends bool) *misbehaving {
	m := new(misbehaving)
	m.addr = serveRaw(t, func(c net.Conn) {
		m.conns.Add(1)
		_, in := readRequestHead(c)
		if _, err := io.WriteString(c, answer); err != nil && !ends {
			m.dropped.Add(1)
			return
		}
		if !ends {
			_, _ = io.Copy(io.Discard, in)
			m.dropped.Add(1)
		}
	})
	return m
}

// roadsTo are the ways a client has: our own road, net/http and HTTP/2.
func roadsTo(g *rig) map[string]func(url string) (answerTo, error) {
	ask := func(c *http.Client, header ...string) func(string) (answerTo, error) {
		return func(url string) (answerTo, error) {
			res, err := c.Do(request1(g.t, "GET", url, nil, header...))
			if err != nil {
				return answerTo{}, err
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			return answerTo{res.StatusCode, string(b), res.Header}, err
		}
	}
	return map[string]func(string) (answerTo, error){
		"own":      ask(g.client()),
		"net/http": ask(g.client(), "Connection", "X-Odd"),
		"HTTP/2":   ask(g.h2c()),
	}
}

func TestRouter_AnswersForInstancesThatDoNotSpeakHTTP(t *testing.T) {
	g := run(t)
	all := corpus(t, "answers.txt")
	all = append(all,
		[]string{"200 KB line", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 200<<10) + "\r\n\r\n"},
		[]string{"just too large a head", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", wire.MaxHead/1005+1) + "\r\n"},
		[]string{"many fields", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 101) + "\r\n"},
		[]string{"endless phrase", "HTTP/1.1 200 " + strings.Repeat("y", 70000)},
		[]string{"a switch nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
		[]string{"205 with a body", "HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello"},
		[]string{"nine interim answers", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", 9) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	)
	roads := roadsTo(g)
	record := 0
	for i, row := range all {
		m := misbehave(t, row[1], false)
		host := fmt.Sprintf("m%d.test", i)
		g.mapRoute(host, "", to("m", m.addr))
		for road, ask := range roads {
			got, err := ask("http://" + host + "/")
			if err != nil || got.status != 502 || got.header.Get("X-Cf-Routererror") != "endpoint_failure" {
				t.Errorf("%s, %s: got %+v, %v", row[0], road, got, err)
			}
			record++
			if rec := g.nthRecord(record); rec.Reason != "bad_response" || rec.FailedAttempts != 1 {
				t.Errorf("%s, %s: got record %+v", row[0], road, rec)
			}
		}
		eventually(t, row[0]+": the connections to the instance are dropped", func() bool { return m.dropped.Load() == 3 })
		if n := m.conns.Load(); n != 3 {
			t.Errorf("%s: %d connections", row[0], n)
		}
	}
}

func TestRouter_AnswersForInstancesThatEndTheConnection(t *testing.T) {
	g := run(t)
	record := 0
	for i, answer := range []string{"", "H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", "HTTP/1.1 100 Continue\r\n\r\n"} {
		m := misbehave(t, answer, true)
		host := fmt.Sprintf("m%d.test", i)
		g.mapRoute(host, "", to("m", m.addr))
		for road, ask := range roadsTo(g) {
			got, err := ask("http://" + host + "/")
			if err != nil || got.status != 502 {
				t.Errorf("%q, %s: got %+v, %v", answer, road, got, err)
			}
			record++
			want := "bad_response"
			if answer == "" || strings.HasPrefix(answer, "HTTP/1.1 100") {
				want = "endpoint_closed"
			}
			if rec := g.nthRecord(record); rec.Reason != want {
				t.Errorf("%q, %s: got record %+v", answer, road, rec)
			}
		}
	}
}

func TestRouter_CutsOffWhatAnInstanceDoesNotComplete(t *testing.T) {
	g := run(t)
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
	const chunked = head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
	record := 0
	for i, tt := range []struct {
		name, answer string
		ends         bool // the instance ends the connection
	}{
		{"short body", head + "Content-Length: 100\r\n\r\nhello", true},
		{"no body", head + "Content-Length: 100\r\n\r\n", true},
		{"short large body", head + "Content-Length: 10000000\r\n\r\n" + strings.Repeat("x", 5<<20), true},
		{"no last chunk", chunked, true},
		{"no chunk", head + "Transfer-Encoding: chunked\r\n\r\n", true},
		{"half a size", chunked + "5", true},
		{"half a chunk", chunked + "5\r\nhe", true},
		{"half an end", chunked + "0\r\n", true},
		{"half a trailer", chunked + "0\r\nX-T: a\r\n", true},
		{"bad size", chunked + "zz\r\n", false},
		{"size with blank", chunked + "5 \r\nhello\r\n0\r\n\r\n", false},
		{"no CRLF behind a chunk", chunked + "5\r\nhello0\r\n\r\n", false},
		{"LF behind a chunk", chunked + "5\r\nhello\n0\r\n\r\n", false},
		{"folded trailer", chunked + "0\r\nX-T: a\r\n b\r\n\r\n", false},
		{"too many trailers", chunked + "0\r\n" + strings.Repeat("X-T: a\r\n", 200) + "\r\n", false},
	} {
		m := misbehave(t, tt.answer, tt.ends)
		host := fmt.Sprintf("m%d.test", i)
		g.mapRoute(host, "", to("m", m.addr))
		for road, ask := range roadsTo(g) {
			got, err := ask("http://" + host + "/")
			if err == nil {
				t.Errorf("%s, %s: ended cleanly: %.200q", tt.name, road, got.body)
			}
			var reset http2.StreamError
			if road == "HTTP/2" && !strings.Contains(fmt.Sprint(err), "INTERNAL_ERROR") && !(errors.As(err, &reset) && reset.Code == http2.ErrCodeInternal) {
				t.Errorf("%s: got %v", tt.name, err)
			}
			record++
			rec := g.nthRecord(record)
			if rec.Reason != "response_truncated" || rec.Status != 200 || rec.FailedAttempts != 0 || rec.Code != "H18" {
				t.Errorf("%s, %s: got record %+v", tt.name, road, rec)
			}
		}
		// A client that reads to the end of the connection sees a reset.
		c := g.dial()
		fmt.Fprintf(c, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", host)
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if b, err := io.ReadAll(c); err == nil || errors.Is(err, errTimeout(err)) {
			t.Errorf("%s, HTTP/1.0: got %.200q, %v", tt.name, b, err)
		}
		_ = c.Close()
		record++
		if !tt.ends {
			eventually(t, tt.name+": the connections to the instance are dropped", func() bool { return m.dropped.Load() == 4 })
		}
	}
}

// Bytes behind an answer, or on a connection that lies idle, must not be taken
// for the answer to somebody else's request.
func TestRouter_TakesNothingForAnAnswerThatWasNotAskedFor(t *testing.T) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for name, tt := range map[string]struct {
		method, answer string
		later          bool // what was not asked for comes a moment later
	}{
		"behind a length":       {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood" + evil, false},
		"behind chunks":         {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n" + evil, false},
		"behind a 204":          {"GET", "HTTP/1.1 204 No Content\r\n\r\n" + evil, false},
		"behind a 304":          {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" + evil, false},
		"behind an answer HEAD": {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + evil, false},
		"later":                 {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood", true},
	} {
		t.Run(name, func(t *testing.T) {
			g := run(t)
			var conns atomic.Int32
			sent := make(chan bool, 100)
			g.mapRoute("a.test", "", to("a", serveRaw(t, func(c net.Conn) {
				conns.Add(1)
				for in := bufio.NewReader(c); ; {
					if !skipHead(in) {
						return
					}
					_, _ = io.WriteString(c, tt.answer)
					if tt.later {
						time.Sleep(20 * time.Millisecond)
						_, _ = io.WriteString(c, evil)
					}
					sent <- true
				}
			})))
			c := g.client()
			for i := range 5 {
				got := do(t, c, request1(t, tt.method, "http://a.test/", nil))
				if strings.Contains(got.body, "evil") || got.body != "good" && tt.method == "GET" && got.status == 200 {
					t.Fatalf("request %d: got %+v", i, got)
				}
				<-sent
				if tt.later { // beyond the time a connection is trusted blindly
					g.r.backends.each(func(b *backend) {
						b.up.mu.Lock()
						defer b.up.mu.Unlock()
						for _, u := range b.up.idle {
							u.used -= int64(blindReuse)
						}
					})
				}
			}
			if n := conns.Load(); n != 5 {
				t.Errorf("%d connections for five requests", n)
			}
		})
	}
}
