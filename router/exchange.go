package router

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"weir/router/wire"
)

// exchange is one request on its trip, on whichever road it came. In the
// middle every head is HTTP/1.1 bytes, parsed once: a front turns what it got
// into such a head and takes the answer as one.
//
// Take one with newExchange, fill head, call serve, then done.
type exchange struct {
	trip
	front  front
	source bodySource // of a body that is not here as a whole; nil: there is none
	watch  *watch

	head    []byte // the request head; views point into it until done
	req     wire.Request
	whole   []byte  // the body, if all of it is here: it can be sent again
	maxBody int64   // bytes the route allows; 0: any
	held    *buffer // what whole lies in, if it was gathered
	from    origin
	asked   asked

	out    []byte  // what is sent next, to the instance or to the client
	up     *upConn // the connection to the instance, during an attempt
	upload *upload // a body that is on its way beside the answer
	res    wire.Response
	reply  reply
	mirror *mirror      // makes copies for shadow versions; nil: there are none
	other  *otherAnswer // an answer that came over HTTP/2

	id      [36]byte    // of the request
	line    [64]byte    // the status line of an answer of our own
	touched atomic.Bool // some of source was read by an attempt
	tainted bool        // somebody else may still look at it
	why     reason
}

// asked is what a front knows about a request beside its head.
type asked struct {
	peer     netip.Addr      // the connection's other end
	peerText string          // its address
	peerAddr string          // address and port
	secure   bool            // it came over TLS
	sni      string          // the name its handshake asked for
	proto    string          // as the log shows it: "HTTP/1.1"
	gone     <-chan struct{} // closed when the client went away; nil: the front does not notice
	upgrade  string          // the protocol to change to, if the front can
	expect   bool            // the body waits for a 100
	endless  bool            // the body is a stream that may be silent for long
}

// front is where a request came from and its answer goes. Its methods but for
// those of ends are called from one goroutine.
type front interface {
	ends
	// interim passes on a 103.
	interim(res *wire.Response) error
	// begin takes the head of the answer. It may wait for what follows.
	begin(a *reply) error
	// write takes a piece of the body and keeps nothing of it. It may hold
	// it back until flush or end.
	write(p []byte) error
	flush() error
	// end ends the answer well; trailers are complete lines, or none.
	end(trailers []byte) error
	// abort cuts the answer off, so that nobody takes it for complete. The
	// head may not have been written.
	abort()
}

// bodySource is the body of a request as it comes. Read is called from one
// goroutine at a time.
type bodySource interface {
	io.Reader
	// trailers returns the lines that came behind the body, after io.EOF.
	trailers() []byte
}

// reply is the head of an answer on its way to the front.
type reply struct {
	res      *wire.Response // status, kept lines
	lines    []byte         // more lines, by the router
	length   int64          // of the body; -1: not known
	bodiless bool           // there is no body, whatever length says
	own      bool           // it is the router's own
	close    bool           // the connection must not carry another request
}

// eachField calls f for every field but those about framing and connection.
func (a *reply) eachField(f func(name, value []byte)) {
	for lines := a.res.AppendKept(nil); len(lines) > 0; {
		lines = eachLine(lines, f)
	}
	for lines := a.lines; len(lines) > 0; {
		lines = eachLine(lines, f)
	}
}

func eachLine(lines []byte, f func(name, value []byte)) (rest []byte) {
	line, rest, _ := bytes.Cut(lines, []byte("\r\n"))
	name, value, _ := bytes.Cut(line, []byte(":"))
	f(name, bytes.Trim(value, " \t"))
	return rest
}

var exchanges = sync.Pool{New: func() any { return &exchange{out: make([]byte, 0, headBuffer)} }}

func (r *Router) newExchange() *exchange {
	x := exchanges.Get().(*exchange)
	x.r = r
	return x
}

// done gives x back. Nothing of it, and no view into it, may be used after.
func (x *exchange) done() {
	x.endMirror()
	if x.held != nil {
		x.held.free()
	}
	if x.tainted {
		return
	}
	out, head, scratch := x.out[:0], x.head[:0], x.from.scratch[:0]
	if cap(out) > relayBuffer {
		out = make([]byte, 0, headBuffer)
	}
	x.trip = trip{}
	x.front, x.source, x.watch = nil, nil, nil
	x.whole, x.held, x.maxBody, x.from, x.asked = nil, nil, 0, origin{scratch: scratch}, asked{}
	x.up, x.upload, x.reply, x.other = nil, nil, reply{lines: x.reply.lines[:0]}, nil
	x.why = reasonNone
	x.touched.Store(false)
	x.out, x.head = out, head
	exchanges.Put(x)
}

// serve makes the whole trip of a request whose head, parsed into req, and
// whose asked, front, watch and body are set.
func (x *exchange) serve(now int64) {
	defer x.recovered()
	x.start(now)
	x.run()
	x.finishTrip()
}

// refuse answers a request that is not even looked at.
func (x *exchange) refuse(why reason, now int64) {
	defer x.recovered()
	x.start(now)
	x.fail(why)
	x.finishTrip()
}

// recovered ends a request that failed for a fault of ours.
func (x *exchange) recovered() {
	p := recover()
	if p == nil {
		return
	}
	x.r.cfg.Logger.Error("request failed inside the router", "err", p, "stack", string(debug.Stack()))
	x.why = reasonInternal
	x.rec.status = reasons[reasonInternal].status
	x.endUpload()
	x.front.abort()
	x.finishTrip()
}

// start notes what the log will say.
func (x *exchange) start(now int64) {
	x.trip.begun, x.trip.over = now, now
	x.r.metrics.requests.Add(1)
	w := x.watch
	w.cause.Store(uint32(reasonNone))
	w.begun.Store(now)
	if w.slowSince.Load() != 0 {
		w.slowSince.Store(0)
	}
	if w.halved.Load() != 0 {
		w.halved.Store(0)
	}
	newRequestID(&x.id)
	rec := &x.rec
	rec.start = x.r.wallTime(now)
	rec.host, rec.method, rec.target = view(x.req.HostValue()), view(x.req.MethodBytes()), view(x.req.TargetBytes())
	rec.proto, rec.clientAddr = x.asked.proto, x.asked.peerAddr
	rec.referer, rec.userAgent = view(x.req.First(wire.Referer)), view(x.req.First(wire.UserAgent))
	rec.requestID = view(x.id[:])
}

// finishTrip releases, counts and logs.
func (x *exchange) finishTrip() {
	x.dropUp(false)
	x.watch.begun.Store(0)
	x.unclaim()
	x.finish(x.why)
	x.r.metrics.requests.Add(-1)
}

func (x *exchange) run() {
	proto := "http"
	if x.asked.secure {
		proto = "https"
	}
	x.from.trace(&x.req, x.asked.peer, x.asked.peerText, proto, x.rec.requestID, x.r.cfg.TrustedProxies)
	x.rec.forwardedFor, x.rec.forwardedProto = x.from.forwardedFor, x.from.proto
	a, why := x.readAsk()
	if why == reasonNone {
		why = x.choose(a)
	} else {
		x.ask = a
	}
	if why == reasonNone {
		why = x.prepareBody()
	}
	if why != reasonNone {
		x.fail(why)
		return
	}
	if x.source != nil {
		x.source = x.teed(x.source)
	}
	for {
		if why := x.claim(); why != reasonNone {
			x.fail(why)
			return
		}
		o, err := x.send()
		if o.why == reasonNone && x.elsewhere() {
			continue
		}
		if o.why == reasonNone {
			x.relay()
			return
		}
		if !x.again(o, err) {
			x.fail(o.why)
			return
		}
	}
}

// readAsk reads off the request what decides about it.
func (x *exchange) readAsk() (a ask, why reason) {
	req := &x.req
	a.wish.index = -1
	a.host, a.path = view(req.HostName()), view(req.PathBytes())
	switch {
	case a.host == "":
		return a, reasonEmptyHost
	case x.r.misdirected(x.asked.sni, a.host):
		return a, reasonMisdirected
	}
	if req.First(wire.AppInstance) != nil || req.First(wire.ProcessInstance) != nil {
		a.wish, why = parseWish(x.joined(wire.AppInstance), x.joined(wire.ProcessInstance))
	}
	a.method, a.target, a.port = x.rec.method, x.rec.target, x.from.port
	a.client = x.from.client
	a.secure, a.length = x.from.proto == "https", req.Length
	a.head, a.gone, a.from = req, x.asked.gone, x.watch.ends
	a.sticky = stickyInstance(req)
	return a, why
}

// joined returns the values of all fields of a class.
func (x *exchange) joined(c wire.Class) string {
	if x.req.Count(c) < 2 {
		return view(x.req.First(c))
	}
	var all []byte
	for i, fs := 0, x.req.Fields(); i < len(fs); i++ {
		if fs[i].Class == c {
			if all != nil {
				all = append(all, ',')
			}
			all = append(all, x.req.Value(&fs[i])...)
		}
	}
	return view(all)
}

// prepareBody gathers a small body that is not here yet, so that it can be
// sent again and no instance waits for a slow client.
func (x *exchange) prepareBody() reason {
	w := x.watch
	w.got.Store(int64(len(x.whole)))
	x.rec.requestBytes = int64(len(x.whole))
	limit := x.limits()
	if limit.head <= 0 {
		limit.head = x.r.cfg.ResponseTimeout
	}
	if limit.idle <= 0 {
		limit.idle = x.r.cfg.StreamTimeout
	}
	w.head.Store(int64(limit.head))
	w.stream.Store(int64(limit.idle))
	x.maxBody = limit.body
	if limit.body > 0 && int64(len(x.whole)) > limit.body {
		return reasonBodyTooLarge
	}
	w.hasty.Store(!x.asked.endless)
	n := x.req.Length
	if x.source == nil || n < 0 || n > smallBody || x.asked.expect {
		return reasonNone
	}
	return x.gather(int(n))
}

// gather reads a body of n bytes. Its buffer grows with what has come: a slow
// client is not given more memory than it filled.
func (x *exchange) gather(n int) reason {
	w := x.watch
	x.held = takeBuffer(min(n, headBuffer))
	for got := 0; got < n; {
		if got == len(x.held.b) {
			more := takeBuffer(min(n, 2*got))
			copy(more.b, x.held.b)
			x.held.free()
			x.held = more
		}
		w.up.enter(phaseUpRead, x.r.now())
		k, err := x.source.Read(x.held.b[got:min(n, len(x.held.b))])
		w.up.enter(phaseNone, 0)
		got += k
		w.got.Add(int64(k))
		x.rec.requestBytes = int64(got)
		if err != nil && got < n {
			return bodyFault(err)
		}
	}
	x.whole, x.source = x.held.b[:n], nil
	return reasonNone
}

var (
	errBadBody      = errors.New("router: malformed request body")
	errBodyTooLarge = errors.New("router: request body over the route's limit")
)

// bodyFault says what was wrong with a body that could not be read.
func bodyFault(err error) reason {
	switch {
	case errors.Is(err, errBadBody):
		return reasonBadRequest
	case errors.Is(err, errBodyTooLarge):
		return reasonBodyTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reasonBodyStalled
	}
	return reasonClientGone
}

// newRequestID writes a random UUID into out.
func newRequestID(out *[36]byte) {
	var id [16]byte
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	hex.Encode(out[0:8], id[0:4])
	out[8] = '-'
	hex.Encode(out[9:13], id[4:6])
	out[13] = '-'
	hex.Encode(out[14:18], id[6:8])
	out[18] = '-'
	hex.Encode(out[19:23], id[8:10])
	out[23] = '-'
	hex.Encode(out[24:36], id[10:16])
}
