package router

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// kept collects bytes that pass by, within the budget and up to shadowBody.
type kept struct {
	held *atomic.Int64
	b    []byte
	size int64 // of all that passed
	full bool  // there was no room for what should have been kept
}

func (k *kept) add(p []byte) {
	k.size += int64(len(p))
	room := shadowBody - len(k.b)
	if p = p[:min(len(p), room)]; k.full || len(p) == 0 {
		return
	}
	if need := len(k.b) + len(p); need > cap(k.b) {
		grown := min(max(need, 2*cap(k.b), 1<<10), shadowBody)
		more := int64(grown - cap(k.b))
		if k.held.Add(more) > shadowBudget {
			k.held.Add(-more)
			k.full = true
			return
		}
		k.b = append(make([]byte, 0, grown), k.b...)
	}
	k.b = append(k.b, p...)
}

// free gives back what is held.
func (k *kept) free() {
	k.held.Add(-int64(cap(k.b)))
	k.b = nil
}

// original is a request that was answered, shared by its copies.
type original struct {
	held   *atomic.Int64
	size   int64 // in held, besides answer
	copies atomic.Int32
	main   *pool
	served *backend // of main, which answered
	head   []byte   // as it was sent
	body   []byte
	answer answerParts
	pair   ShadowPair // but for the answers, and whose they are
}

// answerParts is of an answer what is compared.
type answerParts struct {
	kept
	status   int
	header   map[string][]string
	encoding string // Content-Encoding
}

// copied is a copy on its way to a shadow.
type copied struct {
	of    *original
	key   shadowKey
	dest  *pool
	main  string // whose requests it gets, in X-Shadow-Of
	noise int    // percent of copies for which main is asked twice
	probe bool   // main is asked twice for this one
	strip bool   // no credentials
	since int64  // when it was queued, on the router's clock
}

// release frees what the copy held.
func (c *copied) release() {
	if o := c.of; o.copies.Add(-1) == 0 {
		o.held.Add(-o.size)
		o.answer.free()
	}
}

func isSafe(method string) bool { return method == "GET" || method == "HEAD" || method == "OPTIONS" }

// mirrored returns a front in place of x.front that also makes copies for
// shadow versions, if this request is to have some.
func (x *exchange) mirrored() front {
	var to []*destination
	for _, d := range x.rt.rules.shadows {
		if x.isSampled(d) && x.r.shadows.admit(d, x.uncopied(d)) {
			to = append(to, d)
		}
	}
	if to == nil {
		return x.front
	}
	x.mirror = &mirror{front: x.front, x: x, to: to}
	x.mirror.answer.held = &x.r.shadows.held
	return x.mirror
}

// endMirror makes the copies of a request that is over, and gives back what
// was kept for them.
func (x *exchange) endMirror() {
	if m := x.mirror; m != nil {
		x.mirror = nil
		if m.whole {
			m.copy()
		} else {
			m.giveUp(dropMain)
		}
	}
	if t, ok := x.source.(*tee); ok {
		t.mu.Lock()
		t.shut = true
		t.kept.free()
		t.mu.Unlock()
	}
}

// isSampled reports whether a request is one of those a shadow is to see.
func (x *exchange) isSampled(d *destination) bool {
	switch {
	case d.src.AppGUID != x.dest.src.AppGUID && !d.src.OfRoute, x.asked.upgrade != "":
		return false
	// What a shadow asks for on behalf of its copies must not be copied
	// again, and a client may ask not to be.
	case x.ask.field("x-shadow") != nil:
		return false
	}
	// By the request's ID, so that several shadows see the same ones.
	return hashText(x.rec.requestID, 0)%100 < uint64(d.src.Shadow)
}

// uncopied says why a request is none to be copied; "" if it is one.
func (x *exchange) uncopied(d *destination) drop {
	switch {
	case !d.copies(x.rec.method):
		return dropMethod
	case !d.copiesPath(x.ask.path):
		return dropPath
	case x.source == nil:
		return ""
	case x.asked.expect:
		return dropExpect
	case x.req.Length > shadowBody:
		return dropLarge
	}
	if _, ok := x.source.(*tee); !ok {
		return dropLarge
	}
	return ""
}

// copies reports whether a shadow gets copies of requests with that method.
func (d *destination) copies(method string) bool {
	o := d.src.ShadowOptions
	switch {
	case o == nil || !o.AllMethods && len(o.Methods) == 0:
		return isSafe(method)
	case o.AllMethods:
		return true
	}
	return slices.Contains(o.Methods, method)
}

func (d *destination) copiesPath(path string) bool {
	o := d.src.ShadowOptions
	return o == nil || (len(o.Paths) == 0 || isUnder(o.Paths, path)) && !isUnder(o.Except, path)
}

// teed returns source, seen to it that what is read of a body of unknown
// length is kept for the copies of its request.
func (x *exchange) teed(source bodySource) bodySource {
	if x.req.Length >= 0 || x.asked.expect || x.rt.rules == nil {
		return source
	}
	for _, d := range x.rt.rules.shadows {
		if d.copies(x.rec.method) && d.copiesPath(x.ask.path) {
			return &tee{bodySource: source, kept: kept{held: &x.r.shadows.held}}
		}
	}
	return source
}

// tee is a body on its way to an instance of which a copy is kept.
type tee struct {
	bodySource

	mu    sync.Mutex // guards what follows
	kept  kept
	ended bool // all of it passed
	shut  bool // nothing is kept any more
}

// Read implements io.Reader.
func (t *tee) Read(p []byte) (int, error) {
	n, err := t.bodySource.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.shut {
		t.kept.add(p[:n])
		t.ended = t.ended || err == io.EOF
	}
	return n, err
}

// body returns what was kept, if it is the whole body.
func (t *tee) body() (b []byte, why drop) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.kept.size > shadowBody:
		return nil, dropLarge
	case !t.ended:
		return nil, dropCut
	case t.kept.full:
		return nil, dropBudget
	}
	return bytes.Clone(t.kept.b), ""
}

// mirror passes an answer on to a front and keeps what shadows are compared
// with.
type mirror struct {
	front
	x      *exchange
	to     []*destination
	answer answerParts
	whole  bool // all of it was passed on
}

// begin implements front.
func (m *mirror) begin(a *reply) error {
	m.answer.status = a.res.Status
	for i, fs := 0, a.res.Fields(); i < len(fs); i++ {
		m.answer.field(view(a.res.Name(&fs[i])), view(a.res.Value(&fs[i])))
	}
	return m.front.begin(a)
}

// write implements front.
func (m *mirror) write(p []byte) error {
	err := m.front.write(p)
	if err == nil {
		m.answer.add(p)
	}
	return err
}

// splice implements splicer: what is kept passes through here, the rest does
// not.
func (m *mirror) splice(from tcpConn, n int64) (moved int64, ok bool, err error) {
	s, ok := m.front.(splicer)
	if !ok {
		return 0, false, nil
	}
	if room := shadowBody - int64(len(m.answer.b)); room > 0 && !m.answer.full {
		buf := takeBuffer(relayBuffer)
		defer buf.free()
		k, err := from.Read(buf.b[:min(room, n, int64(len(buf.b)))])
		if k > 0 {
			if err := m.write(buf.b[:k]); err != nil {
				return 0, true, err
			}
			err = m.flush()
		}
		return int64(k), true, noEOF(err)
	}
	moved, ok, err = s.splice(from, n)
	m.answer.size += moved
	return moved, ok, err
}

// end implements front.
func (m *mirror) end(trailers []byte) error {
	err := m.front.end(trailers)
	m.whole = err == nil
	return err
}

// giveUp makes no copies.
func (m *mirror) giveUp(why drop) {
	for _, d := range m.to {
		m.x.r.shadows.drop(d.shadowKey(), why)
	}
	m.answer.free()
}

// copy makes the copies: the client has its answer.
func (m *mirror) copy() {
	x := m.x
	o := &original{
		held: m.answer.held, main: x.dest.pool, served: x.b, answer: m.answer,
		pair: ShadowPair{
			Of: x.dest.src.Version, At: x.rec.start,
			Method: strings.Clone(x.rec.method), Path: strings.Clone(x.ask.path), RequestID: strings.Clone(x.rec.requestID),
		},
	}
	o.pair.Main.Took = time.Duration(x.r.now() - x.lastSent)
	if t, ok := x.source.(*tee); ok {
		var why drop
		if o.body, why = t.body(); why != "" {
			m.giveUp(why)
			return
		}
	} else {
		o.body = bytes.Clone(x.whole)
	}
	o.head = x.appendRequest(make([]byte, 0, len(x.head)+1<<10))
	o.size = int64(cap(o.head) + len(o.body))
	if m.answer.full || o.held.Add(o.size) > shadowBudget {
		if !m.answer.full {
			o.held.Add(-o.size)
		}
		m.giveUp(dropBudget)
		return
	}
	o.copies.Store(int32(len(m.to)))
	for _, d := range m.to {
		c := &copied{of: o, key: d.shadowKey(), dest: d.pool, main: x.dest.src.Label}
		if d.src.OfRoute {
			c.main = x.dest.src.ref()
		}
		if s := d.src.ShadowOptions; s != nil {
			c.noise, c.strip = s.Noise, s.StripAuth
		}
		x.r.shadows.submit(c)
	}
}

// ref names an app, or one of its versions if it has several: "web:v2".
func (d *Destination) ref() string {
	if d.Label == "" {
		return d.AppName
	}
	return d.AppName + ":" + d.Label
}

// field takes up a field of the answer, which may be a view.
func (a *answerParts) field(name, value string) {
	switch {
	case strings.EqualFold(name, "Content-Encoding"):
		a.encoding = strings.ToLower(strings.Clone(value))
		return
	case strings.EqualFold(name, "Set-Cookie"):
		value, _, _ = strings.Cut(value, "=")
	case strings.EqualFold(name, "Content-Type"), strings.EqualFold(name, "Location"), strings.EqualFold(name, "Cache-Control"):
	default:
		return
	}
	if a.header == nil {
		a.header = map[string][]string{}
	}
	name = http.CanonicalHeaderKey(strings.Clone(name))
	a.header[name] = append(a.header[name], strings.Clone(value))
}
