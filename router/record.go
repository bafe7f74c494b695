package router

import (
	"strconv"
	"time"
)

// Record is what the access log says about one request. Strings that came
// from the client are raw bytes; AppendRTR escapes them.
type Record struct {
	Start time.Time
	// Total is the time from the request's head to the last byte of the
	// answer; Backend is the part of it since the last attempt began.
	Total, Backend time.Duration

	Host, Method, Target, Proto  string // Proto is "HTTP/1.1"
	Referer, UserAgent           string
	ForwardedFor, ForwardedProto string // as sent to the instance
	RequestID                    string // X-Vcap-Request-Id
	ClientAddr                   string // the peer: "192.0.2.1:4711"

	Status        int // 499: the client went away before the answer
	RequestBytes  int64
	ResponseBytes int64

	// The following are empty if no instance was tried.
	RouteGUID, AppGUID, AppName, Process string
	InstanceGUID, BackendAddr            string
	InstanceIndex                        int

	FailedAttempts int
	// Answered: an instance began an answer.
	Answered bool
	// Error is the value of X-Cf-RouterError, or what it would have been had
	// the answer not begun. Empty for a request that went well. Reason is the
	// same in finer words: "endpoint_closed".
	Error, Reason string
}

// AppendRTR appends the record as one line of gorouter's access log, without
// a line end, and returns the extended buffer. Nothing a client sends can end
// the line or a quoted part of it.
func (rec *Record) AppendRTR(b []byte) []byte {
	b = appendEscaped(b, orDash(rec.Host))
	b = append(b, " - ["...)
	b = rec.Start.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
	b = append(b, `] "`...)
	b = appendEscaped(b, rec.Method)
	b = append(b, ' ')
	b = appendEscaped(b, rec.Target)
	b = append(b, ' ')
	b = appendEscaped(b, rec.Proto)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(rec.Status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, rec.RequestBytes, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, rec.ResponseBytes, 10)
	for _, s := range [...]string{rec.Referer, rec.UserAgent, rec.ClientAddr, rec.BackendAddr} {
		b = append(b, ' ')
		b = appendQuoted(b, s)
	}
	b = appendField(b, "x_forwarded_for", rec.ForwardedFor)
	b = appendField(b, "x_forwarded_proto", rec.ForwardedProto)
	b = appendField(b, "vcap_request_id", rec.RequestID)
	b = appendSeconds(b, "response_time", rec.Total)
	b = appendSeconds(b, "gorouter_time", max(rec.Total-rec.Backend, 0))
	b = appendField(b, "app_id", rec.AppGUID)
	index := ""
	if rec.InstanceGUID != "" {
		index = strconv.Itoa(rec.InstanceIndex)
	}
	b = appendField(b, "app_index", index)
	b = appendField(b, "instance_id", rec.InstanceGUID)
	b = append(b, " failed_attempts:"...)
	b = strconv.AppendInt(b, int64(rec.FailedAttempts), 10)
	return appendField(b, "x_cf_routererror", rec.Error)
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
	return strconv.AppendFloat(b, d.Seconds(), 'f', 6, 64)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	b = appendEscaped(b, orDash(s))
	return append(b, '"')
}

// appendEscaped writes quotes, backslashes and everything outside printable
// ASCII as \xNN, quotes and backslashes with a backslash.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c > 0x7e:
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}
