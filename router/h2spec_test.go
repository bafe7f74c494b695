package router

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// headers writes a request of exactly these fields.
func (h *h2conn) headers(stream uint32, end bool, fields ...string) {
	h.head.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = h.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true})
	}
	_ = h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: h.head.Bytes(), EndHeaders: true, EndStream: end})
}

// goodFields is the fields of a good request with more of them.
func goodFields(more ...string) []string {
	return append([]string{":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "/"}, more...)
}

// outcome reads until a stream, or the connection, ended: the status and the
// body of an answer, or the code of a reset or GOAWAY.
func (h *h2conn) outcome(stream uint32) string {
	_ = h.out.Flush()
	_ = h.c.SetReadDeadline(time.Now().Add(30 * time.Second))
	h.fr.ReadMetaHeaders = h.dec
	got := ""
	for {
		f, err := h.fr.ReadFrame()
		if err != nil {
			return got + err.Error()
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			return got + "GOAWAY " + g.ErrCode.String()
		}
		if f.Header().StreamID != stream {
			continue
		}
		end := false
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			for _, v := range f.Fields {
				if v.Name == ":status" || strings.HasPrefix(v.Name, "x-show") {
					got += v.Value + " "
				}
			}
			end = f.StreamEnded()
		case *http2.DataFrame:
			got += string(f.Data())
			end = f.StreamEnded()
		case *http2.RSTStreamFrame:
			return got + "RST " + f.ErrCode.String()
		}
		if end {
			return got
		}
	}
}

func TestH2_ResetsStreamsOfMalformedRequestsAndGoesOn(t *testing.T) {
	g := run(t)
	var reached atomic.Int64
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err == nil && r.URL.Path != "/fine" {
			reached.Add(1)
		}
		fmt.Fprintf(w, "fine%s", b)
	})))
	plain := func(fields ...string) func(*h2conn, uint32) {
		return func(h *h2conn, id uint32) { h.headers(id, true, fields...) }
	}
	body := func(end bool, length string, pieces ...string) func(*h2conn, uint32) {
		return func(h *h2conn, id uint32) {
			h.headers(id, false, goodFields("content-length", length)...)
			for i, p := range pieces {
				_ = h.fr.WriteData(id, end && i == len(pieces)-1, []byte(p))
			}
		}
	}
	h := g.h2raw(t)
	id := uint32(1)
	for name, send := range map[string]func(*h2conn, uint32){
		"upper case in a name":         plain(goodFields("X-Upper", "a")...),
		"blank in a name":              plain(goodFields("x y", "a")...),
		"colon in a name":              plain(goodFields("x:y", "a")...),
		"empty name":                   plain(goodFields("", "a")...),
		"connection":                   plain(goodFields("connection", "close")...),
		"keep-alive":                   plain(goodFields("keep-alive", "timeout=5")...),
		"proxy-connection":             plain(goodFields("proxy-connection", "close")...),
		"transfer-encoding":            plain(goodFields("transfer-encoding", "chunked")...),
		"upgrade":                      plain(goodFields("upgrade", "websocket")...),
		"te other than trailers":       plain(goodFields("te", "trailers, gzip")...),
		"CRLF in a value":              plain(goodFields("x-a", "b\r\nx-c: d")...),
		"LF in a value":                plain(goodFields("x-a", "b\nx-c: d")...),
		"NUL in a value":               plain(goodFields("x-a", "b\x00")...),
		"blank before a value":         plain(goodFields("x-a", " b")...),
		"blank behind a value":         plain(goodFields("x-a", "b\t")...),
		"pseudo field behind others":   plain(":method", "GET", ":scheme", "http", ":authority", "a.test", "x-a", "b", ":path", "/"),
		"unknown pseudo field":         plain(goodFields(":other", "a")...),
		"pseudo field of an answer":    plain(goodFields(":status", "200")...),
		":protocol":                    plain(goodFields(":protocol", "websocket")...),
		"two methods":                  plain(append([]string{":method", "POST"}, goodFields()...)...),
		"two paths":                    plain(append([]string{":path", "/b"}, goodFields()...)...),
		"no method":                    plain(":scheme", "http", ":authority", "a.test", ":path", "/"),
		"no scheme":                    plain(":method", "GET", ":authority", "a.test", ":path", "/"),
		"no path":                      plain(":method", "GET", ":scheme", "http", ":authority", "a.test"),
		"empty path":                   plain(":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", ""),
		"path without slash":           plain(":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "a"),
		"star with GET":                plain(":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "*"),
		"absolute path":                plain(":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "http://a.test/"),
		"foreign scheme":               plain(":method", "GET", ":scheme", "gopher", ":authority", "a.test", ":path", "/"),
		"host that is not authority":   plain(goodFields("host", "b.test")...),
		"two hosts":                    plain(":method", "GET", ":scheme", "http", ":path", "/", "host", "a.test", "host", "b.test"),
		"two lengths":                  plain(goodFields("content-length", "0", "content-length", "0")...),
		"length that is no number":     plain(goodFields("content-length", "+1")...),
		"length without body":          plain(goodFields("content-length", "5")...),
		"body shorter than its length": body(true, "5", "abc"),
		"body longer than its length":  body(true, "5", "abc", "def"),
		"longer without its end":       body(false, "5", "abcdef"),
		"trailers that do not end": func(h *h2conn, id uint32) {
			h.headers(id, false, goodFields()...)
			h.headers(id, false, "x-a", "b")
		},
		"pseudo field in trailers": func(h *h2conn, id uint32) {
			h.headers(id, false, goodFields()...)
			h.headers(id, true, ":path", "/b")
		},
		"connection in trailers": func(h *h2conn, id uint32) {
			h.headers(id, false, goodFields()...)
			h.headers(id, true, "connection", "x-a")
		},
		"stream that depends on itself": func(h *h2conn, id uint32) {
			h.head.Reset()
			_ = h.fr.WriteHeaders(http2.HeadersFrameParam{
				StreamID: id, BlockFragment: h.fields(), EndHeaders: true, EndStream: true, Priority: http2.PriorityParam{StreamDep: id},
			})
		},
	} {
		send(h, id)
		if got := h.outcome(id); got != "RST PROTOCOL_ERROR" {
			t.Errorf("%s: got %s", name, got)
		}
		h.headers(id+2, true, append(goodFields()[:6], ":path", "/fine")...)
		if got := h.outcome(id + 2); got != "200 fine" {
			t.Fatalf("behind %s: got %s", name, got)
		}
		id += 4
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d of them reached the instance", n)
	}
}

func TestH2_AnswersWhatItRefuses(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("a"))))
	h := g.h2raw(t)
	id := uint32(1)
	for name, c := range map[string]struct {
		want   string
		fields []string
	}{
		"CONNECT":             {"405", []string{":method", "CONNECT", ":authority", "a.test:443"}},
		"method of two words": {"400", append([]string{":method", "GET /x HTTP/1.1\r\nx-a: b\r\n"}, goodFields()[2:]...)},
		"blank in the path":   {"400", append(goodFields()[:6], ":path", "/a b")},
		"CRLF in the path":    {"400", append(goodFields()[:6], ":path", "/a HTTP/1.1\r\nx-a: b")},
		"fragment":            {"400", append(goodFields()[:6], ":path", "/a#b")},
		"user in the host":    {"400", []string{":method", "GET", ":scheme", "http", ":authority", "x@a.test", ":path", "/"}},
		"CRLF in the host":    {"400", []string{":method", "GET", ":scheme", "http", ":authority", "a.test\r\nx-a: b", ":path", "/"}},
		"no host":             {"400", []string{":method", "GET", ":scheme", "http", ":path", "/"}},
		"expectation":         {"417", append(goodFields(), "expect", "200-ok")},
		"unknown host":        {"404", []string{":method", "GET", ":scheme", "http", ":authority", "b.test", ":path", "/"}},
		"host alone":          {"200", []string{":method", "GET", ":scheme", "http", ":path", "/", "host", "a.test"}},
		"long path":           {"414", append(goodFields()[:6], ":path", "/"+strings.Repeat("a", 17<<10))},
		"many fields":         {"431", append(goodFields(), strings.Split(strings.Repeat("x-a|b|", 150)+"x-a|b", "|")...)},
	} {
		block := c.fields
		h.head.Reset()
		for i := 0; i < len(block); i += 2 {
			_ = h.enc.WriteField(hpack.HeaderField{Name: block[i], Value: block[i+1], Sensitive: true})
		}
		whole := h.head.Bytes()
		n := min(len(whole), 16<<10)
		_ = h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: whole[:n], EndHeaders: n == len(whole), EndStream: true})
		if n < len(whole) {
			_ = h.fr.WriteContinuation(id, true, whole[n:])
		}
		if got := h.outcome(id); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
		id += 2
	}
}

func TestH2_EndsConnectionsThatBreakTheProtocol(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("a"))))
	raw := func(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) func(*h2conn) {
		return func(h *h2conn) { _ = h.fr.WriteRawFrame(kind, flags, stream, []byte(payload)) }
	}
	setting := func(id http2.SettingID, v uint32) func(*h2conn) {
		return func(h *h2conn) { _ = h.fr.WriteSettings(http2.Setting{ID: id, Val: v}) }
	}
	for name, c := range map[string]struct {
		want string
		send func(*h2conn)
	}{
		"DATA of stream 0":            {"PROTOCOL_ERROR", raw(http2.FrameData, 0, 0, "a")},
		"DATA of an idle stream":      {"PROTOCOL_ERROR", raw(http2.FrameData, 0, 7, "a")},
		"padding longer than DATA":    {"PROTOCOL_ERROR", raw(http2.FrameData, http2.FlagDataPadded, 1, "\x05abc")},
		"HEADERS of stream 0":         {"PROTOCOL_ERROR", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 0, "\x82")},
		"HEADERS of an even stream":   {"PROTOCOL_ERROR", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 2, "\x82")},
		"HEADERS cut short":           {"FRAME_SIZE_ERROR", raw(http2.FrameHeaders, http2.FlagHeadersPriority, 1, "\x00\x00")},
		"padding longer than HEADERS": {"PROTOCOL_ERROR", raw(http2.FrameHeaders, http2.FlagHeadersPadded, 1, "\x09\x82")},
		"head that cannot be read":    {"COMPRESSION_ERROR", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, "\xff\xff\xff\xff\xff")},
		"table larger than allowed":   {"COMPRESSION_ERROR", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, "\x3f\xe1\x7f\x82")},
		"head interrupted by DATA":    {"PROTOCOL_ERROR", func(h *h2conn) { raw(http2.FrameHeaders, 0, 1, "\x82")(h); raw(http2.FrameData, 0, 1, "a")(h) }},
		"head interrupted by another": {"PROTOCOL_ERROR", func(h *h2conn) {
			raw(http2.FrameHeaders, 0, 1, "\x82")(h)
			raw(http2.FrameContinuation, 0, 3, "\x84")(h)
		}},
		"CONTINUATION of nothing":         {"PROTOCOL_ERROR", raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, "\x82")},
		"PRIORITY of stream 0":            {"PROTOCOL_ERROR", raw(http2.FramePriority, 0, 0, "\x00\x00\x00\x01\x01")},
		"RST_STREAM of stream 0":          {"PROTOCOL_ERROR", raw(http2.FrameRSTStream, 0, 0, "\x00\x00\x00\x08")},
		"RST_STREAM of an idle stream":    {"PROTOCOL_ERROR", raw(http2.FrameRSTStream, 0, 7, "\x00\x00\x00\x08")},
		"RST_STREAM cut short":            {"FRAME_SIZE_ERROR", raw(http2.FrameRSTStream, 0, 1, "\x00")},
		"SETTINGS of a stream":            {"PROTOCOL_ERROR", raw(http2.FrameSettings, 0, 1, "")},
		"SETTINGS cut short":              {"FRAME_SIZE_ERROR", raw(http2.FrameSettings, 0, 0, "\x00\x03")},
		"SETTINGS acknowledged with more": {"FRAME_SIZE_ERROR", raw(http2.FrameSettings, http2.FlagSettingsAck, 0, "\x00\x00\x00\x00\x00\x00")},
		"ENABLE_PUSH 2":                   {"PROTOCOL_ERROR", setting(http2.SettingEnablePush, 2)},
		"window over the limit":           {"FLOW_CONTROL_ERROR", setting(http2.SettingInitialWindowSize, 1<<31)},
		"frames too small":                {"PROTOCOL_ERROR", setting(http2.SettingMaxFrameSize, 16383)},
		"frames too large":                {"PROTOCOL_ERROR", setting(http2.SettingMaxFrameSize, 1<<24)},
		"PUSH_PROMISE":                    {"PROTOCOL_ERROR", raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, "\x00\x00\x00\x02\x82")},
		"PING of a stream":                {"PROTOCOL_ERROR", raw(http2.FramePing, 0, 1, "12345678")},
		"PING cut short":                  {"FRAME_SIZE_ERROR", raw(http2.FramePing, 0, 0, "123456")},
		"GOAWAY of a stream":              {"PROTOCOL_ERROR", raw(http2.FrameGoAway, 0, 1, "\x00\x00\x00\x00\x00\x00\x00\x00")},
		"WINDOW_UPDATE of nothing":        {"PROTOCOL_ERROR", raw(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x00")},
		"WINDOW_UPDATE over the limit":    {"FLOW_CONTROL_ERROR", raw(http2.FrameWindowUpdate, 0, 0, "\x7f\xff\xff\xff")},
		"WINDOW_UPDATE cut short":         {"FRAME_SIZE_ERROR", raw(http2.FrameWindowUpdate, 0, 0, "\x00")},
		"WINDOW_UPDATE of an idle stream": {"PROTOCOL_ERROR", raw(http2.FrameWindowUpdate, 0, 7, "\x00\x00\x00\x01")},
		"frame over 16 KiB":               {"FRAME_SIZE_ERROR", raw(http2.FrameData, 0, 1, strings.Repeat("a", 16<<10+1))},
		"HEADERS of a closed stream": {"STREAM_CLOSED", func(h *h2conn) {
			h.ask(1)
			if got := h.outcome(1); got != "200 a" {
				t.Errorf("got %s", got)
			}
			h.ask(1)
		}},
		"HEADERS of an older stream": {"STREAM_CLOSED", func(h *h2conn) { h.ask(5); h.ask(3) }},
	} {
		h := g.h2raw(t)
		c.send(h)
		if got := h.outcome(99); got != "GOAWAY "+c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	for name, greeting := range map[string]string{
		"another preface": "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PING before SETTINGS": http2.ClientPreface + "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678",
	} {
		c := g.dial()
		_, _ = io.WriteString(c, greeting)
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if b, err := io.ReadAll(c); err != nil || bytes.Contains(b, []byte("200")) {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
		_ = c.Close()
	}
}

func TestH2_ResetsStreamsThatBreakTheProtocol(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})))
	raw := func(kind http2.FrameType, payload ...byte) func(*h2conn, uint32) {
		return func(h *h2conn, id uint32) { _ = h.fr.WriteRawFrame(kind, 0, id, payload) }
	}
	h := g.h2raw(t)
	id := uint32(1)
	for name, c := range map[string]struct {
		want string
		send func(*h2conn, uint32)
	}{
		"WINDOW_UPDATE of nothing":     {"PROTOCOL_ERROR", raw(http2.FrameWindowUpdate, 0, 0, 0, 0)},
		"WINDOW_UPDATE over the limit": {"FLOW_CONTROL_ERROR", raw(http2.FrameWindowUpdate, 0x7f, 0xff, 0xff, 0xff)},
		"PRIORITY cut short":           {"FRAME_SIZE_ERROR", raw(http2.FramePriority, 0, 0)},
		"DATA behind the end":          {"STREAM_CLOSED", raw(http2.FrameData, 'a')},
	} {
		h.ask(id)
		eventually(t, "it is in flight", func() bool { _ = h.out.Flush(); s, _ := g.ctl.Status(t.Context()); return s.InFlight == 1 })
		c.send(h, id)
		if got := h.outcome(id); got != "RST "+c.want && got != "200 RST "+c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
		eventually(t, "it ended", func() bool { s, _ := g.ctl.Status(t.Context()); return s.InFlight == 0 })
		id += 2
	}
}

func TestH2_TakesNoMoreThanItsWindowsAndRefusesTooManyStreams(t *testing.T) {
	g := run(t)
	release := make(chan bool)
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) { <-release })))
	defer close(release)
	h := g.h2raw(t)
	h.headers(1, false, goodFields()...)
	for range h2StreamRoom/(16<<10) + 200 { // the instance takes some of it
		_ = h.fr.WriteData(1, false, make([]byte, 16<<10))
		if h.out.Flush() != nil {
			break
		}
	}
	if got := h.outcome(1); got != "RST FLOW_CONTROL_ERROR" && got != "GOAWAY FLOW_CONTROL_ERROR" {
		t.Errorf("got %s", got)
	}
	h = g.h2raw(t)
	for i := range h2Streams + 1 {
		h.ask(uint32(2*i + 1))
	}
	if got := h.outcome(2*h2Streams + 1); got != "RST REFUSED_STREAM" {
		t.Errorf("got %s", got)
	}
}

func TestH2_SendsAsMuchAsTheWindowAllows(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
	})))
	h := g.h2raw(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	h.ask(1)
	_ = h.out.Flush()
	_ = h.c.SetReadDeadline(time.Now().Add(30 * time.Second))
	got, allowed := 0, 0
	allow := func() {
		n := []int{1, 7, 100, 5_000, 20_000}[allowed%5]
		allowed += n
		_ = h.fr.WriteWindowUpdate(1, uint32(n))
		_ = h.fr.WriteWindowUpdate(0, uint32(n))
		_ = h.out.Flush()
	}
	for {
		f, err := h.fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			allow()
		case *http2.DataFrame:
			if got += len(f.Data()); got > allowed {
				t.Fatalf("%d bytes came where %d are allowed", got, allowed)
			}
			if f.StreamEnded() {
				if got != 100_000 {
					t.Errorf("got %d bytes", got)
				}
				return
			}
			if got == allowed {
				allow()
			}
		}
	}
}

func TestH2_JoinsCookiesAndCarriesOddFrames(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header()["X-Show-Long"] = []string{strings.Repeat("y", 40<<10)}
		fmt.Fprintf(w, "%s|%s|%s|%d|%s|%s", r.Host, r.Header["Cookie"], r.Header.Get("Te"), r.ContentLength, b, r.Trailer)
	})))
	h := g.h2raw(t)
	_ = h.fr.WriteRawFrame(0xbe, 0xff, 0, []byte("unknown"))
	h.head.Reset()
	for _, f := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":authority", "A.test:80"},
		{":path", "/"},
		{"cookie", "a=1"},
		{"te", "trailers"},
		{"cookie", "b=2"},
		{"trailer", "x-t"},
	} {
		_ = h.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	block := h.head.Bytes()
	_ = h.fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block[:3], PadLength: 9, Priority: http2.PriorityParam{StreamDep: 3, Weight: 9},
	})
	_ = h.fr.WriteContinuation(1, false, block[3:9])
	_ = h.fr.WriteContinuation(1, true, block[9:])
	_ = h.fr.WriteDataPadded(1, false, []byte("bo"), make([]byte, 200))
	_ = h.fr.WriteData(1, false, nil)
	_ = h.fr.WriteData(1, false, []byte("dy"))
	h.headers(1, true, "x-t", "v")
	got := h.outcome(1)
	if want := "200 " + strings.Repeat("y", 40<<10) + " A.test:80|[a=1; b=2]|trailers|-1|body|map[X-T:[v]]"; got != want {
		t.Errorf("got %s", strings.ReplaceAll(got, strings.Repeat("y", 40<<10), "y…"))
	}
}

func TestH2_AsksForABodyThatWaits(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})))
	h := g.h2raw(t)
	h.headers(1, false, goodFields("expect", "100-continue", "content-length", "4")...)
	_ = h.out.Flush()
	_ = h.c.SetReadDeadline(time.Now().Add(30 * time.Second))
	h.fr.ReadMetaHeaders = h.dec
	for {
		f, err := h.fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := f.(*http2.MetaHeadersFrame); ok {
			if got := f.PseudoValue("status"); got != "100" {
				t.Fatalf("got %s", got)
			}
			break
		}
	}
	_ = h.fr.WriteData(1, true, []byte("body"))
	if got := h.outcome(1); got != "200 body" {
		t.Errorf("got %s", got)
	}
}

func TestH2_CancelsTheRequestOfAStreamThatWasReset(t *testing.T) {
	g := run(t)
	came, gone := make(chan bool, 1), make(chan bool, 1)
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		came <- true
		<-r.Context().Done()
		gone <- true
	})))
	h := g.h2raw(t)
	h.ask(1)
	_ = h.out.Flush()
	<-came
	_ = h.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	_ = h.out.Flush()
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Error("the instance goes on")
	}
	if r := g.nthRecord(1); r.Reason != reasonClientGone.String() {
		t.Errorf("got %+v", r)
	}
}

func TestH2_AnswersBeforeTheBodyEnded(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(403)
	})))
	h := g.h2raw(t)
	h.headers(1, false, goodFields("content-length", "10000000")...)
	_ = h.fr.WriteData(1, false, make([]byte, 1000))
	if got := h.outcome(1); got != "403 " && got != "403 RST NO_ERROR" {
		t.Errorf("got %s", got)
	}
	// What was under way then is no fault.
	_ = h.fr.WriteData(1, true, make([]byte, 1000))
	h.ask(3)
	if got := h.outcome(3); got != "403 " {
		t.Errorf("got %s", got)
	}
}

func TestH2_ServesNothingNewBehindTheLastGoAway(t *testing.T) {
	g := run(t, func(c *Config) { c.IdleGrace = time.Millisecond; c.DrainTimeout = 30 * time.Second })
	release := make(chan bool)
	var served atomic.Int64
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		<-release
		_, _ = io.WriteString(w, "late")
	})))
	h := g.h2raw(t)
	h.ask(1)
	_ = h.out.Flush()
	eventually(t, "it is in flight", func() bool { return served.Load() == 1 })
	g.cancel()
	_ = h.c.SetReadDeadline(time.Now().Add(30 * time.Second))
	var last []uint32
	for len(last) < 2 {
		f, err := h.fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := f.(*http2.GoAwayFrame); ok {
			last = append(last, f.LastStreamID)
		}
	}
	if last[0] != 1<<31-1 || last[1] != 1 {
		t.Errorf("got GOAWAY of %v", last)
	}
	h.ask(3)
	_ = h.fr.WriteData(3, true, []byte("x"))
	_ = h.fr.WriteWindowUpdate(3, 10)
	_ = h.out.Flush()
	close(release)
	if got := h.outcome(1); got != "200 late" {
		t.Errorf("got %s", got)
	}
	if got := h.outcome(3); got != "EOF" && !strings.HasPrefix(got, "GOAWAY") {
		t.Errorf("got %s", got)
	}
	if served.Load() != 1 {
		t.Error("a request behind the last GOAWAY was served")
	}
}

func TestH2_GivesUpConnectionsThatAskNothing(t *testing.T) {
	g := run(t, func(c *Config) { c.IdleTimeout, c.HeadTimeout = time.Second, time.Second })
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("a"))))
	for name, send := range map[string]func(*h2conn){
		"after the greeting": func(*h2conn) {},
		"after a request": func(h *h2conn) {
			h.ask(1)
			if got := h.outcome(1); got != "200 a" {
				t.Errorf("got %s", got)
			}
		},
		"within a head": func(h *h2conn) {
			_ = h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.fields()})
		},
		"within a frame": func(h *h2conn) {
			b := []byte{0, 1, 0, 1, 4, 0, 0, 0, 1, 0x82}
			binary.BigEndian.PutUint32(b[5:], 1)
			_, _ = h.out.Write(b)
		},
	} {
		h := g.h2raw(t)
		send(h)
		if got := h.outcome(99); got != "GOAWAY NO_ERROR" {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// FuzzH2Head looks for fields that make a request other than what they say.
func FuzzH2Head(f *testing.F) {
	f.Add("GET", "/", "a.test", "x-a", "b", "cookie", "c")
	f.Add("GET", "/ HTTP/1.1\r\nx: y", "a.test\r\n", "content-length", "1", "te", "trailers")
	f.Add("POST", "*", "a:80", "host", "a:80", "transfer-encoding", "chunked")
	f.Fuzz(func(t *testing.T, method, path, authority, n1, v1, n2, v2 string) {
		var h h2head
		h.begin(1, true)
		for _, kv := range [][2]string{
			{":method", method}, {":scheme", "https"}, {":authority", authority}, {":path", path}, {n1, v1}, {n2, v2},
		} {
			h.field(hpack.HeaderField{Name: kv[0], Value: kv[1]})
		}
		if h.large || !h.judge() {
			return
		}
		head, ok := h.appendHTTP1(nil)
		if !ok {
			return
		}
		if n := bytes.Count(head, []byte("\r\n")); n > 6 || bytes.Count(head, []byte("\n")) != n || bytes.Count(head, []byte("\r")) != n {
			t.Errorf("got %q", head)
		}
		if !bytes.HasPrefix(head, []byte(method+" "+path+" HTTP/1.1\r\n")) {
			t.Errorf("got %q", head)
		}
	})
}

// FuzzH2Frames looks for frames that take the router down, or that it never
// gets done with.
func FuzzH2Frames(f *testing.F) {
	g := runUnseen(f, func(c *Config) { c.DrainTimeout = time.Second }) // a line may be one of odd bytes, and come when a target runs
	g.mapRoute("a.test", "", to("a", serveApp(f, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })))
	var head, frames bytes.Buffer
	enc := hpack.NewEncoder(&head)
	for i := range 4 {
		_ = enc.WriteField(hpack.HeaderField{Name: goodFields()[2*i], Value: goodFields()[2*i+1]})
	}
	fr := http2.NewFramer(&frames, nil)
	fr.AllowIllegalWrites = true
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true, EndStream: true})
	f.Add(bytes.Clone(frames.Bytes()))
	frames.Reset()
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: head.Bytes()[:3], PadLength: 3})
	_ = fr.WriteContinuation(3, true, head.Bytes()[3:])
	_ = fr.WriteDataPadded(3, false, []byte("body"), make([]byte, 3))
	_ = fr.WriteWindowUpdate(3, 1)
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte{0, 1, 'a', 1, 'b'}, EndHeaders: true, EndStream: true})
	_ = fr.WriteRSTStream(3, http2.ErrCodeCancel)
	_ = fr.WritePing(false, [8]byte{})
	_ = fr.WriteGoAway(3, http2.ErrCodeNo, nil)
	f.Add(bytes.Clone(frames.Bytes()))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		_, _ = c.Write(b)
		_ = closeWrite(c)
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%x: never done", b)
		}
	})
}
