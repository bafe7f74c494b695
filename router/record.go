package router

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// record is what the access log says about one request. Strings that came
// from the client are raw bytes; the log escapes them.
type record struct {
	start time.Time
	// total is the time from the request's head to the last byte of the
	// answer; backend is the part of it since the last attempt began.
	total, backend time.Duration

	host, method, target, proto  string // proto is "HTTP/1.1"
	referer, userAgent           string
	forwardedFor, forwardedProto string // as sent to the instance
	requestID                    string // X-Vcap-Request-Id
	clientAddr                   string // the peer: "192.0.2.1:4711"

	status        int // 499: the client went away before the answer
	requestBytes  int64
	responseBytes int64

	// The app is known, if the route leads to one only, although no instance
	// was tried; what follows it then is empty.
	appGUID                   string
	version                   string // its label
	instanceGUID, backendAddr string
	instanceIndex             int

	failedAttempts int
	// answered: an instance began an answer.
	answered bool
	// code is the value of X-Cf-RouterError, or what it would have been had
	// the answer not begun. Empty for a request that went well. reason is the
	// same in finer words: "endpoint_closed".
	code, reason string
}

// redaction says what the log must not tell.
type redaction struct{ ips, queries bool }

// append appends the record as one line of gorouter's access log, without a
// line end, and returns the extended buffer. Nothing a client sends can end
// the line or a quoted part of it. Behind the fields gorouter has, a request
// to a version says which, and one that did not go well why: in the router's
// word, and in the code Heroku has for it.
func (rec *record) append(b []byte, at *stamp, hide redaction) []byte {
	client, forwardedFor := rec.clientAddr, rec.forwardedFor
	target, referer := rec.target, rec.referer
	if hide.ips {
		client, forwardedFor = "", ""
	}
	if hide.queries {
		target, referer = withoutQuery(target), withoutQuery(referer)
	}
	b = appendEscaped(b, orDash(rec.host))
	b = append(b, " - ["...)
	b = at.append(b, rec.start)
	b = append(b, `] "`...)
	b = appendEscaped(b, rec.method)
	b = append(b, ' ')
	b = appendEscaped(b, target)
	b = append(b, ' ')
	b = appendEscaped(b, rec.proto)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(rec.status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, rec.requestBytes, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, rec.responseBytes, 10)
	for _, s := range [...]string{referer, rec.userAgent, client, rec.backendAddr} {
		b = append(b, ' ')
		b = appendQuoted(b, s)
	}
	b = appendField(b, "x_forwarded_for", forwardedFor)
	b = appendField(b, "x_forwarded_proto", rec.forwardedProto)
	b = appendField(b, "vcap_request_id", rec.requestID)
	b = appendSeconds(b, "response_time", rec.total)
	b = appendSeconds(b, "gorouter_time", max(rec.total-rec.backend, 0))
	b = appendField(b, "app_id", rec.appGUID)
	if rec.instanceGUID != "" {
		b = append(b, ` app_index:"`...)
		b = strconv.AppendInt(b, int64(rec.instanceIndex), 10)
		b = append(b, '"')
	} else {
		b = appendField(b, "app_index", "")
	}
	b = appendField(b, "instance_id", rec.instanceGUID)
	b = append(b, " failed_attempts:"...)
	b = strconv.AppendInt(b, int64(rec.failedAttempts), 10)
	b = appendField(b, "x_cf_routererror", rec.code)
	if rec.version != "" {
		b = appendField(b, "version", rec.version)
	}
	if rec.reason != "" {
		b = appendField(b, "reason", rec.reason)
		if code := herokuCodes[rec.reason]; code != "" {
			b = appendField(b, "code", code)
		}
	}
	return b
}

// withoutQuery cuts a query off, but says that there was one.
func withoutQuery(target string) string {
	if i := strings.IndexByte(target, '?'); i >= 0 {
		return target[:i+1]
	}
	return target
}

// stamp renders times; what changes once a second it keeps.
type stamp struct {
	second int64
	text   [20]byte // "2006-01-02T15:04:05."
}

// append appends t in UTC with nanoseconds.
func (s *stamp) append(b []byte, t time.Time) []byte {
	if second := t.Unix(); second != s.second || s.text[0] == 0 {
		s.second = second
		t.UTC().AppendFormat(s.text[:0], "2006-01-02T15:04:05.")
	}
	b = append(b, s.text[:]...)
	return append(appendDigits(b, t.Nanosecond(), 9), 'Z')
}

// appendDigits appends n with leading zeros.
func appendDigits(b []byte, n, digits int) []byte {
	at := len(b)
	b = append(b, "000000000"[:digits]...)
	for i := at + digits - 1; n > 0 && i >= at; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, ':')
	return appendQuoted(b, value)
}

func appendSeconds(b []byte, name string, d time.Duration) []byte {
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, ':')
	d = max(d, 0) + 500 // rounds to microseconds
	b = strconv.AppendInt(b, int64(d/time.Second), 10)
	b = append(b, '.')
	return appendDigits(b, int(d%time.Second/time.Microsecond), 6)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// appendQuoted is not inlined: a caller that uses it often would take much of
// a connection's stack, and be slower.
//
//go:noinline
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	b = appendEscaped(b, orDash(s))
	return append(b, '"')
}

// appendEscaped writes quotes, backslashes and everything outside printable
// ASCII as \xNN, quotes and backslashes with a backslash.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	from := 0
	for i := 0; i < len(s); i++ {
		if len(s)-i >= 8 && isPlain(binary.LittleEndian.Uint64(unsafe.Slice(unsafe.StringData(s[i:]), 8))) {
			i += 7
			continue
		}
		if !needsEscape[s[i]] {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		if c := s[i]; c == '"' || c == '\\' {
			b = append(b, '\\', c)
		} else {
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		}
	}
	return append(b, s[from:]...)
}

// isPlain reports whether none of eight bytes needs an escape. It may say false
// of some that do not: behind one below a bound, a byte may borrow.
func isPlain(w uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, backslash, del := w^ones*'"', w^ones*'\\', w^ones*0x7f
	return (w|(w-ones*0x20)|(quote-ones)|(backslash-ones)|(del-ones))&highs == 0
}

var needsEscape = func() (t [256]bool) {
	for c := range t {
		t[c] = c < 0x20 || c > 0x7e || c == '"' || c == '\\'
	}
	return t
}()
