// Package load puts a measured load on an HTTP proxy. Clients and the instance
// behind the proxy are one event loop on one thread, so that they cost little
// beside the proxy and fit on one processor; every answer is checked.
//
// A Loop works only while Run is called: between two runs nobody answers for
// the instance. It needs Linux.
package load

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Host is what all requests ask for.
const Host = "app.example.com"

// LargeBytes is the length of a large answer's body.
const LargeBytes = 1 << 20

// Precedence is the nice value of the loop and of what is measured.
const Precedence = -10

// Proto is how clients speak to the proxy.
type Proto int

// The protocols.
const (
	HTTP1 Proto = iota
	HTTP1TLS
	HTTP2TLS
)

func (p Proto) String() string { return [...]string{"h1", "h1+TLS", "h2+TLS"}[p] }

// Plan is one load. Its numbers bound it: it ends by itself.
type Plan struct {
	Addr    string         // of the proxy: "127.0.0.1:8080"
	Proto   Proto          // TLS is 1.3 with AES-128-GCM, the only suite that is spoken
	Roots   *x509.CertPool // for TLS; the certificate is for Host
	Conns   int            // connections; at least 1
	Streams int            // requests at a time on each HTTP/2 connection; 0 means 1

	// Reconnect makes every request come on a connection of its own.
	Reconnect bool
	// Large asks for answers of LargeBytes; HTTP/1.1 only.
	Large bool
	// Rate is how many requests begin in a second, whether others were
	// answered or not. Zero: each connection asks again when it was answered.
	// Latencies are kept only with a rate; they count from when a request
	// should have begun.
	Rate int
	// Hold asks once on each connection and then keeps all of them open and
	// idle until End returned. WarmUp and For do not count then.
	Hold bool

	// Others says that others ask the instance too: what comes to it is not
	// looked at then, only what is answered.
	Others bool

	WarmUp, For time.Duration
	// Begin is called when the warm-up is over, End when For is: both from
	// within the loop, so they should be quick. They may be nil.
	Begin, End func()
}

// Result is what came of a Plan between Begin and End.
type Result struct {
	Requests  int           // answered, rightly
	Wrong     int           // answered with another status, length or content than asked for, or cut off
	Why       string        // the first thing that was wrong
	Reopened  int           // connections the proxy closed between two requests
	Elapsed   time.Duration // from Begin to End
	CPU       time.Duration // of the loop's thread
	Latencies []time.Duration
}

// Percentile returns the latency that p percent of the requests did not
// exceed, and zero if none were kept.
func (r Result) Percentile(p float64) time.Duration {
	return Percentile(r.Latencies, p)
}

// Percentile returns the latency that p percent of all did not exceed.
func Percentile(all []time.Duration, p float64) time.Duration {
	n := len(all)
	if n == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(all))[min(n-1, int(float64(n)*p/100))]
}

func (p Plan) check() error {
	switch {
	case p.Conns < 1:
		return fmt.Errorf("a load needs a connection")
	case p.Large && p.Proto == HTTP2TLS, p.Reconnect && p.Proto != HTTP1, p.Rate > 0 && (p.Proto == HTTP2TLS || p.Reconnect):
		return fmt.Errorf("this kind of load is not there over %s", p.Proto)
	}
	return nil
}
