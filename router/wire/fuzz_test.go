package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What is accepted, net/http must accept too and read in the same way: the
// head as it came and the head as it is sent on.
func FuzzParseRequest(f *testing.F) {
	for _, row := range corpus(f, "refused.txt") {
		f.Add([]byte(row[2]), 7)
	}
	f.Add([]byte(browser), 50)
	f.Add([]byte("POST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n"), 9)
	f.Add([]byte("PUT /%41 HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 5\r\n\r\nhello"), 9)
	var r, part Request
	f.Fuzz(func(t *testing.T, b []byte, split int) {
		n, v := ParseRequest(b, &r)
		if split > 0 && split < len(b) {
			if _, w := ParseRequest(b[:split], &part); w != Incomplete && (w != v || w.Refused() != v.Refused()) {
				t.Fatalf("verdict %d after %d bytes, %d after all: %q", w, split, v, b)
			}
		}
		if v != Fast {
			return
		}
		if !bytes.HasSuffix(b[:n], []byte("\r\n\r\n")) || bytes.Contains(b[:n-4], []byte("\r\n\r\n")) {
			t.Fatalf("length %d of %q", n, b)
		}
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:n])))
		if err != nil {
			if strings.Contains(err.Error(), "invalid URL escape") || strings.Contains(err.Error(), "parse \"") {
				return // of no concern: the target is sent on as it is
			}
			t.Fatalf("net/http refuses %q: %v", b[:n], err)
		}
		sameRequest(t, &r, req)
		out := r.AppendKept(r.AppendLine(nil, 0))
		switch {
		case r.Chunked:
			out = append(out, "Transfer-Encoding: chunked\r\n"...)
		case r.Length > 0:
			out = append(out, fmt.Sprintf("Content-Length: %d\r\n", r.Length)...)
		}
		out = append(out, "\r\n"...)
		again, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(out)))
		if err != nil {
			t.Fatalf("net/http refuses what is sent on, %q: %v", out, err)
		}
		sameRequest(t, &r, again)
		for _, name := range []string{"Connection", "Keep-Alive", "Te", "Trailer", "Upgrade", "Expect", "X-Forwarded-For", "X-Real-Ip", "Proxy-Connection"} {
			if again.Header[name] != nil && name != "Connection" {
				t.Fatalf("%s is sent on: %q", name, out)
			}
		}
	})
}

func sameRequest(t *testing.T, r *Request, req *http.Request) {
	t.Helper()
	chunked := len(req.TransferEncoding) > 0
	if string(r.MethodBytes()) != req.Method || string(r.TargetBytes()) != req.RequestURI || string(r.HostValue()) != req.Host ||
		r.Chunked != chunked || !chunked && r.Length != req.ContentLength {
		t.Errorf("%s %s %s %v %d, net/http says %s %s %s %v %d: %q", r.MethodBytes(), r.TargetBytes(), r.HostValue(), r.Chunked, r.Length,
			req.Method, req.RequestURI, req.Host, chunked, req.ContentLength, r.b)
	}
	if name := strings.ToLower(req.Host); len(r.HostName()) > 0 && !strings.HasPrefix(name, string(r.HostName())) {
		t.Errorf("host %q of %q", r.HostName(), req.Host)
	}
}

func FuzzParseResponse(f *testing.F) {
	for _, row := range corpus(f, "answers.txt") {
		f.Add([]byte(row[1]), 7)
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 5\r\n\r\nhello"), 50)
	f.Add([]byte("HTTP/1.0 204\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 50)
	var r, part Response
	f.Fuzz(func(t *testing.T, b []byte, split int) {
		n, v := ParseResponse(b, &r)
		if split > 0 && split < len(b) {
			if _, w := ParseResponse(b[:split], &part); w != Incomplete && w != v {
				t.Fatalf("verdict %d after %d bytes, %d after all: %q", w, split, v, b)
			}
		}
		if v != Fast {
			return
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b[:n])), nil)
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", b[:n], err)
		}
		chunked := len(res.TransferEncoding) > 0
		if res.StatusCode != r.Status {
			t.Errorf("status %d, net/http says %d: %q", r.Status, res.StatusCode, b)
		}
		if !r.Bodiless(false) && (r.Chunked != chunked || !chunked && r.Length != res.ContentLength) {
			t.Errorf("%v %d, net/http says %v %d: %q", r.Chunked, r.Length, chunked, res.ContentLength, b)
		}
		out := append(r.AppendKept(r.AppendLine(nil)), "\r\n"...)
		if _, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), nil); err != nil {
			t.Errorf("net/http refuses what is sent on, %q: %v", out, err)
		}
	})
}

func FuzzChunks(f *testing.F) {
	for _, row := range corpus(f, "chunks.txt") {
		f.Add([]byte(row[1]), 3)
	}
	f.Add([]byte("5\r\nhello\r\n0a;x;y=z;q=\"a\\\"b\"\r\n0123456789\r\n000\r\nX-T: v\r\n\r\nGET"), 9)
	f.Fuzz(func(t *testing.T, b []byte, split int) {
		split = min(max(split, 0), len(b))
		data, n, trailers, ok := throughChunks(string(b))
		data2, n2, trailers2, ok2 := throughChunks(string(b[:split]), string(b[split:]))
		if ok != ok2 || ok && (data != data2 || n != n2 || trailers != trailers2) {
			t.Fatalf("split at %d: %q %d %q %v, whole: %q %d %q %v", split, data2, n2, trailers2, ok2, data, n, trailers, ok)
		}
		if !ok {
			return
		}
		head := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		in := bufio.NewReader(strings.NewReader(head + string(b)))
		req, err := http.ReadRequest(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(req.Body)
		if err != nil || string(got) != data {
			t.Fatalf("got %q, net/http says %q, %v: %q", data, got, err, b)
		}
		if rest, _ := io.ReadAll(in); string(rest) != string(b[n:]) {
			t.Fatalf("the end is at %d, net/http leaves %q of %q", n, rest, b)
		}
	})
}
