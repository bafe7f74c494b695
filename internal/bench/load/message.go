package load

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
)

// Each request carries a number of eight hexadecimal digits, which the
// instance copies into its answer: an answer that went to the wrong client
// shows.
const digits = 8

// Target is what a request may ask for.
const Target = smallTarget + "00000000"

const (
	smallTarget = "/path/to/something?q="
	largeTarget = "/large/file/to/get?q=" // of the same length
	firstDigit  = len("GET ") + len(smallTarget)
	smallBody   = 64
)

// fields are those of a browser's request.
var fields = [][2]string{
	{"Host", Host},
	{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) bench"},
	{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
	{"Accept-Language", "en-US,en;q=0.5"},
	{"Accept-Encoding", "gzip, deflate, br"},
	{"Cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"},
	{"Referer", "http://app.example.com/"},
	{"X-Custom", "yes"},
}

// request1 returns the bytes of a request whose number is still to be filled in.
func request1(target, connection string) []byte {
	var b strings.Builder
	b.WriteString("GET " + target + strings.Repeat("0", digits) + " HTTP/1.1\r\n")
	for _, f := range fields {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	if connection != "" {
		b.WriteString("Connection: " + connection + "\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

const hexDigits = "0123456789abcdef"

// number writes n into the digits that begin at b[0].
func number(b []byte, n uint32) {
	for i := digits - 1; i >= 0; i-- {
		b[i] = hexDigits[n&15]
		n >>= 4
	}
}

// answer1 returns the bytes of an answer and where its body begins.
func answer1(body []byte) (answer []byte, at int) {
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: bench\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n" +
		"Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return append([]byte(head), body...), len(head)
}

// largePattern is the body of a large answer: no two words of it are equal, so
// that a lost or repeated piece shows wherever it is looked at.
func largePattern() []byte {
	b := make([]byte, LargeBytes)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], uint64(i+1)*0x9E3779B97F4A7C15)
	}
	return b
}

var (
	endOfHead = []byte("\r\n\r\n")
	status200 = []byte("HTTP/1.1 200 ")
	lengthKey = []byte("content-length:")
)

// head1 reads the head of an answer. It returns zeros if it is not complete,
// and a reason if it is not what was asked for.
func head1(b []byte) (headBytes, bodyBytes int, wrong string) {
	end := bytes.Index(b, endOfHead)
	if end < 0 {
		if len(b) > 16<<10 {
			return 0, 0, "a head without end"
		}
		return 0, 0, ""
	}
	if !bytes.HasPrefix(b, status200) {
		return 0, 0, "the answer begins " + strconv.Quote(string(b[:min(end, 40)]))
	}
	for at := bytes.IndexByte(b, '\n') + 1; at < end; {
		line := b[at : end+2]
		line = line[:bytes.IndexByte(line, '\n')]
		at += len(line) + 1
		if len(line) < len(lengthKey) || line[0]|0x20 != 'c' || !bytes.EqualFold(line[:len(lengthKey)], lengthKey) {
			continue
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(line[len(lengthKey):])))
		if err != nil {
			return 0, 0, "a length that is no number"
		}
		return end + len(endOfHead), n, ""
	}
	return 0, 0, "an answer without a length"
}

// forwarded tells what a request lost or did not get on its way through the
// proxy, or returns an empty string.
func forwarded(head []byte) string {
	lower := strings.ToLower(string(head))
	for _, want := range []string{"\r\nhost: " + Host + "\r\n", "\r\nx-forwarded-for: ", "\r\nx-forwarded-proto: ", "\r\ncookie: session="} {
		if !strings.Contains(lower, want) {
			return "a request came without " + strconv.Quote(strings.TrimSpace(want))
		}
	}
	return ""
}
