package router

import "time"

// Record is what the access log says about one request. Strings that came
// from the client are raw bytes; AppendRTR escapes them.
type Record struct {
	Start time.Time
	// Total is the time from the request's head to the last byte of the
	// answer; Backend is the part of it spent in exchanges with instances.
	Total, Backend time.Duration

	Host, Method, Target, Proto  string // Proto is "HTTP/1.1"
	Referer, UserAgent           string
	ForwardedFor, ForwardedProto string // as sent to the instance
	RequestID                    string // X-Vcap-Request-Id
	ClientAddr                   string // the peer: "192.0.2.1:4711"

	Status        int // 499: the client went away before the answer
	RequestBytes  int64
	ResponseBytes int64

	// The rest is empty if no instance was reached.
	RouteGUID, AppGUID, AppName, Process string
	InstanceGUID, BackendAddr            string
	InstanceIndex                        int
	FailedAttempts                       int
	// Error is the value of X-Cf-RouterError, or the reason why an answer
	// that had begun was cut off. Empty for a request that went well.
	Error string
}
