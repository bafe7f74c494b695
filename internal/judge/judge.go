package judge

import "time"

// Stream names what evidence is about.
type Stream int

// The streams that a Judge follows.
const (
	Errors Stream = iota
	Slowness
	Custom // bad events that the app marks its answers with, or somebody reports
	streams
)

// String returns the word a person reads.
func (s Stream) String() string {
	switch s {
	case Errors:
		return "errors"
	case Slowness:
		return "latency"
	case Custom:
		return "custom"
	}
	return "nothing"
}

// DefaultRenew is Config.Renew if nothing else is said.
const DefaultRenew = 1000

// Config says how strict a Judge is. The zero value is the default.
type Config struct {
	// ErrorAlpha, LatencyAlpha and CustomAlpha bound the probability that a
	// good candidate is ever rejected for its errors, its latency, and what is
	// reported about it; together they bound that of rejecting it at all.
	// Defaults: 0.005, 0.003 and 0.002. Negative: the stream is not judged.
	ErrorAlpha, LatencyAlpha, CustomAlpha float64
	// ErrorTolerance, LatencyTolerance and CustomTolerance are by how much the
	// candidate may be worse: 0.1 is 10 %. Default 0.
	ErrorTolerance, LatencyTolerance, CustomTolerance float64
	// LatencySlack is by how much the candidate's requests may take longer
	// however short they are: a version with few requests meets colder caches,
	// and on a busy machine waits for a processor that others keep warm.
	// Default 5 ms; negative: none.
	LatencySlack time.Duration
	// Renew is every how many requests a regression may begin; see the
	// package's comment. Default DefaultRenew.
	Renew uint64
	// Warmup is how many requests the candidate gets in each step before its
	// latency is judged, so that cold caches do not count. Default 50;
	// negative: none.
	Warmup int64
	// Sticky says that clients stay with a version: each counts one failure
	// per step and stream, and Batch.BadClients and Batch.MarkedClients are read
	// instead of Counts.Bad and Counts.Marked.
	Sticky bool
}

func (c Config) withDefaults() Config {
	set := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.ErrorAlpha, 0.005)
	set(&c.LatencyAlpha, 0.003)
	set(&c.CustomAlpha, 0.002)
	if c.LatencySlack == 0 {
		c.LatencySlack = 5 * time.Millisecond
	}
	if c.Renew == 0 {
		c.Renew = DefaultRenew
	}
	if c.Warmup == 0 {
		c.Warmup = 50
	}
	return c
}

// alpha returns the error probability of a stream; not positive if it is not
// judged.
func (c Config) alpha(s Stream) float64 {
	switch s {
	case Errors:
		return c.ErrorAlpha
	case Slowness:
		return c.LatencyAlpha
	}
	return c.CustomAlpha
}

// Counts are requests of one version that have ended.
type Counts struct {
	Requests uint64
	// Bad are those that failed: status 5xx, or no answer.
	Bad uint64
	// Marked are those whose answer the app marked as a bad event, each of them
	// once; whether they failed besides does not matter.
	Marked uint64
	// Custom are bad events of that kind that somebody reported.
	Custom uint64
	// Latency are the latencies of those that did not fail. It may count fewer
	// requests, if chance or order decided which, equally for both versions.
	Latency Histogram
}

// BadClient is a request that failed, and whose it was.
type BadClient struct {
	Client    uint64 // a hash
	Candidate bool   // it was assigned to the candidate
}

// Batch are requests that ended since the last batch and were assigned under
// the same split. Requests of other versions than the two are left out.
type Batch struct {
	// Share of the requests of the two versions that was assigned to the
	// candidate: its weight divided by the sum of both, or of the positions
	// that clients stick to. A batch with share 0 or 1 is no evidence, but
	// tells how long the stable version takes.
	Share             float64
	Stable, Candidate Counts
	// BadClients are the failures in order of arrival, if clients are sticky.
	// If some are missing, it must not depend on whose they were. MarkedClients
	// are the same for marked answers.
	BadClients, MarkedClients []BadClient
}

// Finding is what one stream says.
type Finding struct {
	Stream Stream
	// Evidence against the candidate: 1 is none, Limit rejects it.
	Evidence, Limit float64
	// P is the anytime-valid p-value: the probability that a good candidate
	// ever looks this bad.
	P float64
}

// Verdict is what a Judge thinks.
type Verdict struct {
	// Rejected says that the candidate is worse, because of Cause. A verdict
	// that was once reached stays.
	Rejected bool
	Cause    Stream
	Findings [streams]Finding
}

// Judge weighs the evidence of one rollout. All of its state is in it: copying
// a Judge copies what it knows, Clients apart.
type Judge struct {
	cfg      Config
	errors   Rate
	latency  Latency
	custom   Rate
	rejected bool
	cause    Stream

	since   uint64 // requests since the last occasion for a regression to begin
	cold    int64  // requests of the candidate still to come before its latency counts
	steps   uint32
	totals  [2]Totals
	clients *Clients // nil unless clients are sticky
}

// Totals are the counts of one version over the whole rollout. Custom are
// marked and reported events together.
type Totals struct{ Requests, Bad, Custom uint64 }

// New returns a Judge that knows nothing.
func New(cfg Config) *Judge {
	j := &Judge{cfg: cfg.withDefaults()}
	j.errors.Tolerance = cfg.ErrorTolerance
	j.latency.Tolerance, j.latency.Slack = cfg.LatencyTolerance, max(j.cfg.LatencySlack, 0)
	j.custom.Tolerance = cfg.CustomTolerance
	j.cold = j.cfg.Warmup
	if cfg.Sticky {
		j.clients = NewClients(clientsKept)
	}
	return j
}

// Begin begins a step: it is an occasion for regressions to begin, the latency
// of the stable version is learned from its latest requests, the candidate may
// warm up again, and clients may fail once more.
func (j *Judge) Begin() {
	if j.steps++; j.steps > 1 {
		j.renew()
	}
	j.latency.Freeze()
	j.cold = max(j.cfg.Warmup, 0)
	if j.clients != nil {
		j.clients.Forget()
	}
}

// Cool says that instances of either version were started, and are slow until
// they are warm: until the candidate has had n more requests, latencies are not
// judged. What is cold is decided before its latencies are known, so that the
// guarantee holds.
func (j *Judge) Cool(n int64) { j.cold = max(j.cold, n) }

func (j *Judge) renew() {
	j.errors.Renew()
	j.latency.Renew()
	j.custom.Renew()
	j.since = 0
}

// Add tells of requests and returns the verdict. It does not keep b.
func (j *Judge) Add(b *Batch) Verdict {
	j.totals[0].add(&b.Stable)
	j.totals[1].add(&b.Candidate)
	if !(b.Share > 0 && b.Share < 1) {
		j.latency.Learn(&b.Stable.Latency)
		return j.Verdict()
	}
	stable, candidate := b.Stable.Bad, b.Candidate.Bad
	markedStable, markedCandidate := b.Stable.Marked, b.Candidate.Marked
	if j.clients != nil {
		stable, candidate = j.clients.count(b.BadClients, 0)
		markedStable, markedCandidate = j.clients.count(b.MarkedClients, markedSalt)
	}
	j.reject(Errors, j.errors.Add(b.Share, stable, candidate))
	j.reject(Custom, j.custom.Add(b.Share, markedStable+b.Stable.Custom, markedCandidate+b.Candidate.Custom))
	if j.cold > 0 {
		// Both versions are left out: a batch without one of them would be
		// evidence about the other.
		j.cold -= int64(b.Candidate.Requests)
		j.latency.Learn(&b.Stable.Latency)
	} else {
		j.reject(Slowness, j.latency.Add(b.Share, &b.Stable.Latency, &b.Candidate.Latency))
	}
	if j.since += b.Stable.Requests + b.Candidate.Requests; j.since >= j.cfg.Renew {
		j.renew()
	}
	return j.Verdict()
}

func (t *Totals) add(c *Counts) {
	t.Requests += c.Requests
	t.Bad += c.Bad
	t.Custom += c.Marked + c.Custom
}

// reject notes the first stream whose evidence reaches its limit.
func (j *Judge) reject(s Stream, evidence float64) {
	alpha := j.cfg.alpha(s)
	if !j.rejected && alpha > 0 && evidence >= 1/alpha {
		j.rejected, j.cause = true, s
	}
}

// Verdict returns what the Judge thinks now.
func (j *Judge) Verdict() Verdict {
	v := Verdict{Rejected: j.rejected, Cause: j.cause}
	for s := range streams {
		v.Findings[s] = j.finding(s)
	}
	return v
}

func (j *Judge) finding(s Stream) Finding {
	f := Finding{Stream: s, P: 1}
	if alpha := j.cfg.alpha(s); alpha > 0 {
		f.Limit = 1 / alpha
	}
	peak := 0.0
	switch s {
	case Errors:
		f.Evidence, peak = j.errors.Evidence(), j.errors.Peak
	case Slowness:
		f.Evidence, peak = j.latency.Evidence(), j.latency.Peak
	case Custom:
		f.Evidence, peak = j.custom.Evidence(), j.custom.Peak
	}
	f.P = min(1, 1/max(peak, 1))
	return f
}

// Totals returns the counts of both versions over the whole rollout.
func (j *Judge) Totals() (stable, candidate Totals) { return j.totals[0], j.totals[1] }

// Config returns what the Judge was made with, defaults filled in.
func (j *Judge) Config() Config { return j.cfg }

// IsWarm reports whether the candidate's latency is being judged.
func (j *Judge) IsWarm() bool { return j.cold <= 0 && j.latency.Frozen }
