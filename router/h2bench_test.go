package router

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// BenchmarkHTTP2 is a connection with 64 requests under way. The client and
// the instance are in it too, and cost little.
func BenchmarkHTTP2(b *testing.B) {
	const streams = 64
	addr := fastRig(b, fastPaths()[0])
	g := &rig{t: b, addr: addr}
	c := g.dial()
	defer c.Close()
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	for _, f := range [][2]string{
		{":method", "GET"},
		{":scheme", "http"},
		{":authority", "app.example.com"},
		{":path", "/path/to/something?q=1"},
		{"user-agent", "Mozilla/5.0 (X11; Linux x86_64) bench"},
		{"accept-language", "en-US,en;q=0.5"},
		{"cookie", "theme=dark"},
	} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1], Sensitive: true})
	}
	var out bytes.Buffer
	out.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(&out, nil)
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	_ = fr.WriteWindowUpdate(0, 1<<30)
	in := bufio.NewReaderSize(c, 1<<16)
	next, done, windows := uint32(1), 0, 0
	var frame [9]byte
	b.ReportAllocs()
	b.ResetTimer()
	for sent := 0; done < b.N; {
		for n := min(b.N-sent, streams-(sent-done)); n > 0; n-- {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: next, BlockFragment: head.Bytes(), EndHeaders: true, EndStream: true})
			next += 2
			sent++
		}
		if windows > 1<<20 {
			_ = fr.WriteWindowUpdate(0, uint32(windows))
			windows = 0
		}
		if _, err := c.Write(out.Bytes()); err != nil {
			b.Fatal(err)
		}
		out.Reset()
		for due := done + min(streams/2, b.N-done); done < due; {
			if _, err := io.ReadFull(in, frame[:]); err != nil {
				b.Fatal(err)
			}
			n := int(binary.BigEndian.Uint32(frame[:]) >> 8)
			_, _ = in.Discard(n)
			switch {
			case frame[3] == h2Reset, frame[3] == h2GoAway:
				b.Fatalf("frame %x", frame)
			case frame[3] == h2Data:
				windows += n
			}
			if frame[3] <= h2Headers && frame[4]&h2EndStream != 0 {
				done++
			}
		}
	}
}
