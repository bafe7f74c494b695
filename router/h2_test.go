package router

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2conn is a client that can send any frame.
type h2conn struct {
	t    *testing.T
	c    net.Conn
	out  *bufio.Writer
	fr   *http2.Framer // writes to out, reads from c
	head bytes.Buffer
	enc  *hpack.Encoder
	dec  *hpack.Decoder
}

func (g *rig) h2raw(t *testing.T, settings ...http2.Setting) *h2conn {
	t.Helper()
	c := g.dial()
	t.Cleanup(func() { _ = c.Close() })
	return h2over(t, c, settings...)
}

// h2over speaks HTTP/2 over a connection.
func h2over(t *testing.T, c net.Conn, settings ...http2.Setting) *h2conn {
	h := &h2conn{t: t, c: c, out: bufio.NewWriterSize(c, 1<<16)}
	h.fr = http2.NewFramer(h.out, c)
	h.fr.AllowIllegalWrites = true
	h.enc, h.dec = hpack.NewEncoder(&h.head), hpack.NewDecoder(4096, nil)
	_, _ = h.out.WriteString(http2.ClientPreface)
	_ = h.fr.WriteSettings(settings...)
	_ = h.out.Flush()
	return h
}

func (h *h2conn) fields(extra ...string) []byte {
	h.head.Reset()
	path := "/"
	if len(extra) > 1 && extra[0] == ":path" {
		path, extra = extra[1], extra[2:]
	}
	all := append([]string{":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", path}, extra...)
	for i := 0; i < len(all); i += 2 {
		_ = h.enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1], Sensitive: i >= 8})
	}
	return h.head.Bytes()
}

func (h *h2conn) ask(stream uint32, extra ...string) {
	_ = h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: h.fields(extra...), EndHeaders: true, EndStream: true})
}

// drainAll reads until the connection ends.
func (h *h2conn) drainAll() <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, h.c)
		done <- err
	}()
	return done
}

func TestH2_EndsConnectionsThatFlood(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("a"))))
	healthy := g.h2c()
	for name, send := range map[string]func(h *h2conn, i int){
		"PING":          func(h *h2conn, _ int) { _ = h.fr.WritePing(false, [8]byte{}) },
		"SETTINGS":      func(h *h2conn, _ int) { _ = h.fr.WriteSettings() },
		"PRIORITY":      func(h *h2conn, i int) { _ = h.fr.WritePriority(uint32(2*i+1), http2.PriorityParam{Weight: 1}) },
		"WINDOW_UPDATE": func(h *h2conn, _ int) { _ = h.fr.WriteWindowUpdate(0, 1) },
		"RST_STREAM": func(h *h2conn, i int) {
			h.ask(uint32(2*i + 1))
			_ = h.fr.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
		},
		"empty DATA": func(h *h2conn, i int) {
			if i == 0 {
				_ = h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.fields(), EndHeaders: true})
			}
			_ = h.fr.WriteData(1, false, nil)
		},
		"CONTINUATION": func(h *h2conn, i int) {
			if i == 0 {
				_ = h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.fields()})
			}
			h.head.Reset()
			_ = h.enc.WriteField(hpack.HeaderField{Name: fmt.Sprint("x-", i), Value: "some value of some length", Sensitive: true})
			_ = h.fr.WriteContinuation(1, false, h.head.Bytes())
		},
		"empty CONTINUATION": func(h *h2conn, i int) {
			if i == 0 {
				_ = h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.fields()})
			}
			_ = h.fr.WriteContinuation(1, false, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := g.h2raw(t)
			ended := h.drainAll()
			for i := 0; ; i++ {
				send(h, i)
				if i%100 == 0 && h.out.Flush() != nil {
					break // it has been ended
				}
				if i == 1_000_000 {
					t.Fatal("a million frames are taken")
				}
			}
			<-ended
			if got := get(t, healthy, "http://a.test/"); got.body != "a" {
				t.Errorf("beside it: got %+v", got)
			}
		})
	}
	eventually(t, "nothing of it is left", func() bool { s, _ := g.ctl.Status(t.Context()); return s.InFlight == 0 })
}

func TestH2_RefusesFramesAndHeadsThatAreTooLarge(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("a"))))
	h := g.h2raw(t)
	_ = h.fr.WriteData(1, true, make([]byte, 16<<10+1))
	_ = h.out.Flush()
	if code := h.goAway(); code != http2.ErrCodeFrameSize {
		t.Errorf("a frame of 16 KiB and a byte: got %v", code)
	}
	// Each head is a stream of its own.
	h = g.h2raw(t)
	large := string(bytes.Repeat([]byte{'x'}, 1<<10))
	var many []string
	for range 80 {
		many = append(many, "x-more", large)
	}
	block := append([]byte(nil), h.fields(many...)...)
	_ = h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10], EndStream: true})
	for block = block[16<<10:]; len(block) > 0; {
		n := min(len(block), 16<<10)
		_ = h.fr.WriteContinuation(1, n == len(block), block[:n])
		block = block[n:]
	}
	_ = h.out.Flush()
	if got := h.statusOf(1); got != "431" && got != "reset" && got != "closed" {
		t.Errorf("a head of 80 KiB: got %s", got)
	}
}

// goAway reads until the connection is given up and returns the reason.
func (h *h2conn) goAway() http2.ErrCode {
	_ = h.c.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		f, err := h.fr.ReadFrame()
		if err != nil {
			h.t.Errorf("no GOAWAY: %v", err)
			return 0
		}
		if f, ok := f.(*http2.GoAwayFrame); ok {
			return f.ErrCode
		}
	}
}

// statusOf reads until a stream is answered.
func (h *h2conn) statusOf(stream uint32) string {
	_ = h.c.SetReadDeadline(time.Now().Add(20 * time.Second))
	h.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := h.fr.ReadFrame()
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID == stream {
				return f.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == stream {
				return "reset"
			}
		case *http2.GoAwayFrame:
			return "closed"
		}
		if err != nil {
			return err.Error()
		}
	}
}

func TestH2_GivesUpAClientThatDoesNotRead(t *testing.T) {
	g := run(t, func(c *Config) { c.StallTimeout = 300 * time.Millisecond })
	gone := make(chan bool, 1)
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				gone <- true
				return
			}
		}
	})))
	h := g.h2raw(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}) // never opened
	h.ask(1)
	_ = h.out.Flush()
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Error("the instance is still writing")
	}
	eventually(t, "the request ended", func() bool { s, _ := g.ctl.Status(t.Context()); return s.InFlight == 0 })
}

func TestH2_SaysGoAwayBeforeTheEnd(t *testing.T) {
	g := run(t, func(c *Config) { c.IdleGrace = 10 * time.Second })
	release := make(chan bool)
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		_, _ = io.WriteString(w, "late")
	})))
	h := g.h2raw(t)
	h.ask(1)
	_ = h.out.Flush()
	eventually(t, "it is in flight", func() bool { s, _ := g.ctl.Status(t.Context()); return s.InFlight == 1 })
	g.cancel()
	eventually(t, "the router drains", g.r.draining.Load)
	close(release)
	var body, away bool
	_ = h.c.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		f, err := h.fr.ReadFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			body = body || string(f.Data()) == "late"
		case *http2.GoAwayFrame:
			away = f.ErrCode == http2.ErrCodeNo && f.LastStreamID >= 1
		}
	}
	if !body || !away {
		t.Errorf("answered %v, told to go away %v", body, away)
	}
}

func TestBucket_FillsWithTime(t *testing.T) {
	var b bucket
	for i := range 1000 {
		if !b.take(10, 100, int64(i)*int64(10*time.Millisecond)) {
			t.Fatal("100 a second are too many, where 100 are allowed")
		}
	}
	now := int64(time.Hour)
	for i := range 10 {
		if !b.take(10, 100, now) {
			t.Fatalf("only %d at once", i)
		}
	}
	if b.take(10, 100, now) {
		t.Error("11 at once are not too many, where 10 are allowed")
	}
}

// A client that makes its table smaller ends the connection unless the next
// block says that we heard it.
func TestH2_TellsThatItsTableGotSmaller(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "hello")
		w.Header().Set("X-Sum", "1")
	})))
	firsts := func(h *h2conn, stream uint32) (firsts []byte) {
		h.ask(stream)
		_ = h.out.Flush()
		_ = h.c.SetReadDeadline(time.Now().Add(30 * time.Second))
		for {
			f, err := h.fr.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if block, ok := f.(*http2.HeadersFrame); ok {
				firsts = append(firsts, block.HeaderBlockFragment()[0])
				if block.StreamEnded() {
					return firsts
				}
			}
		}
	}
	h := g.h2raw(t)
	if got := firsts(h, 1); bytes.Contains(got, []byte{0x20}) || len(got) != 3 {
		t.Errorf("blocks begin with %x", got)
	}
	_ = h.fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 65536})
	if got := firsts(h, 3); bytes.Contains(got, []byte{0x20}) {
		t.Errorf("with a larger table blocks begin with %x", got)
	}
	_ = h.fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 8192})
	if got := firsts(h, 5); !bytes.Equal(got, []byte{0x20, 0x20, 0x20}) {
		t.Errorf("with a smaller table blocks begin with %x", got)
	}
	h = g.h2raw(t, http2.Setting{ID: http2.SettingHeaderTableSize})
	if got := firsts(h, 1); !bytes.Equal(got, []byte{0x20, 0x20, 0x20}) {
		t.Errorf("without a table blocks begin with %x", got)
	}
	h = g.h2raw(t, http2.Setting{ID: http2.SettingHeaderTableSize})
	h.ask(1)
	_ = h.out.Flush()
	if status := h.statusOf(1); status != "103" {
		t.Errorf("the answer begins with %s", status)
	}
}
