package router

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/internal/judge"
)

// statusClasses are the values of the label "status".
var statusClasses = [...]string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"}

// destStats are the counts of one destination of one route. They live as long
// as the route has that destination.
type destStats struct {
	inFlight atomic.Int64
	retries  atomic.Uint64
	nanos    atomic.Int64 // sum of latencies
	bytesIn  atomic.Int64 // request bodies
	bytesOut atomic.Int64 // response bodies
	status   [len(statusClasses)]atomic.Uint64
	latency  histogram // the whole is 256 bytes: no two share a cache line
}

func statusClass(status int) int {
	if c := status / 100; c >= 1 && c <= 5 {
		return c
	}
	return 0
}

// metrics are the counts of the router as a whole.
type metrics struct {
	status   [len(statusClasses)]atomic.Uint64
	errors   [reasonCount]atomic.Uint64
	retries  atomic.Uint64
	requests atomic.Int64 // trips under way
	tunnels  atomic.Int64 // of those, upgraded connections
	held     atomic.Int64 // of those, waiting at a paused route
	conns    atomic.Int64 // from clients
	accepted atomic.Uint64

	shortages    atomic.Uint64 // times accepting failed, as for want of descriptors
	full         atomic.Uint64 // times accepting waited for a connection to end
	overShare    atomic.Uint64 // connections reset because one client has too many
	badGreetings atomic.Uint64 // connections without a proper PROXY header or handshake
	floods       atomic.Uint64 // HTTP/2 connections ended because of useless frames

	updates atomic.Uint64 // of the table
	unsaved atomic.Uint64 // of the table, that could not be kept on disk
}

func (m *metrics) count(t *trip, why reason) {
	class := statusClass(t.rec.status)
	m.status[class].Add(1)
	if why != reasonNone {
		m.errors[why].Add(1)
	}
	if t.attempts > 1 {
		m.retries.Add(uint64(t.attempts - 1))
	}
	if t.dest == nil {
		return
	}
	s := t.dest.counts()
	s.status[class].Add(1)
	s.nanos.Add(int64(t.rec.total))
	s.latency.count(t.rec.total)
	if n := t.rec.requestBytes; n > 0 {
		s.bytesIn.Add(n)
	}
	if n := t.rec.responseBytes; n > 0 {
		s.bytesOut.Add(n)
	}
}

// maxSeries bounds how many destinations the metrics name; what the others
// count is summed up under the route "other".
const maxSeries = 5000

var (
	destLabels = []string{"route", "app", "app_name", "process", "version"}

	descRequests = prometheus.NewDesc("weir_router_requests_total",
		"Requests answered, by destination and status class.", append([]string{"status"}, destLabels...), nil)
	descLatency = prometheus.NewDesc("weir_router_request_duration_seconds",
		"Time from request head to the last byte of the answer.", destLabels, nil)
	descQuantile = prometheus.NewDesc("weir_router_request_duration_quantile_seconds",
		"Latency that a share of the requests since the beginning did not exceed, within an eighth.", append([]string{"quantile"}, destLabels...), nil)
	descInFlight = prometheus.NewDesc("weir_router_requests_in_flight",
		"Requests under way, by destination.", destLabels, nil)
	descBytes = prometheus.NewDesc("weir_router_body_bytes_total",
		"Bytes of bodies, by destination and direction.", append([]string{"direction"}, destLabels...), nil)
	descDestRetries = prometheus.NewDesc("weir_router_retries_total",
		"Attempts after the first, by destination that got them.", destLabels, nil)

	descAll = prometheus.NewDesc("weir_router_responses_total",
		"All answers, the router's own included, by status class.", []string{"status"}, nil)
	descErrors = prometheus.NewDesc("weir_router_errors_total",
		"Requests that did not go well, by reason.", []string{"reason"}, nil)
	descOpen = prometheus.NewDesc("weir_router_connections_open",
		"Connections from clients.", nil, nil)
	descAccepted = prometheus.NewDesc("weir_router_connections_total",
		"Connections accepted.", nil, nil)
	descRefused = prometheus.NewDesc("weir_router_connections_refused_total",
		"Connections the router ended: their client has too many (share), no proper PROXY header or handshake came (greeting), or too many frames that ask for nothing (flood).", []string{"reason"}, nil)
	descWaits = prometheus.NewDesc("weir_router_accept_waits_total",
		"Times no connection was accepted for a moment: as many as may be are open (full), or the machine has no more (shortage).", []string{"reason"}, nil)
	descTunnels = prometheus.NewDesc("weir_router_tunnels_open",
		"Upgraded connections (WebSockets) under way.", nil, nil)
	descHeld = prometheus.NewDesc("weir_router_requests_held",
		"Requests that wait at a paused route.", nil, nil)
	descCopies = prometheus.NewDesc("weir_router_shadow_copies_total",
		"Requests copied for shadow versions.", nil, nil)
	descKept = prometheus.NewDesc("weir_router_shadow_bytes",
		"Bytes held for copies of requests and what came of them.", nil, nil)
	descUncopied = prometheus.NewDesc("weir_router_shadow_dropped_total",
		"Copies for shadow versions that were not made, or not compared, by reason.", []string{"reason"}, nil)
	descDropped = prometheus.NewDesc("weir_router_log_records_dropped_total",
		"Access log records that found the queue full.", nil, nil)
	descNumber = prometheus.NewDesc("weir_router_table_number",
		"Number of the route table in use.", nil, nil)
	descRoutes = prometheus.NewDesc("weir_router_table_routes",
		"Routes in the table in use.", nil, nil)
	descUpdates = prometheus.NewDesc("weir_router_table_updates_total",
		"Tables and updates taken.", nil, nil)
	descUnsaved = prometheus.NewDesc("weir_router_table_unsaved_total",
		"Tables and updates that could not be kept on disk.", nil, nil)
	descEjected = prometheus.NewDesc("weir_router_instances_ejected",
		"Instances that get nothing for a moment because they could not be reached.", nil, nil)
)

// collector shows the counts of a Router to Prometheus.
type collector struct{ r *Router }

// Describe sends no descriptions: what there is depends on the table.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the counts at this moment.
func (c collector) Collect(out chan<- prometheus.Metric) {
	m := &c.r.metrics
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for i, class := range statusClasses {
		counter(descAll, float64(m.status[i].Load()), class)
	}
	for why := reasonNone + 1; why < reasonCount; why++ {
		counter(descErrors, float64(m.errors[why].Load()), why.String())
	}
	gauge(descOpen, float64(m.conns.Load()))
	counter(descAccepted, float64(m.accepted.Load()))
	counter(descRefused, float64(m.overShare.Load()), "share")
	counter(descRefused, float64(m.badGreetings.Load()), "greeting")
	counter(descRefused, float64(m.floods.Load()), "flood")
	counter(descWaits, float64(m.full.Load()), "full")
	counter(descWaits, float64(m.shortages.Load()), "shortage")
	gauge(descTunnels, float64(m.tunnels.Load()))
	gauge(descHeld, float64(m.held.Load()))
	c.collectShadows(out)
	counter(descDropped, float64(c.r.log.dropped.Load()))
	s := c.r.table.Load()
	gauge(descNumber, float64(s.number()))
	gauge(descRoutes, float64(s.routes()))
	counter(descUpdates, float64(m.updates.Load()))
	counter(descUnsaved, float64(m.unsaved.Load()))
	ejected, now := 0, c.r.now()
	c.r.backends.each(func(b *backend) {
		if b.ejectedUntil.Load() > now {
			ejected++
		}
	})
	gauge(descEjected, float64(ejected))
	c.collectDestinations(out, s)
}

func (c collector) collectShadows(out chan<- prometheus.Metric) {
	s := c.r.shadows
	s.mu.Lock()
	defer s.mu.Unlock()
	out <- prometheus.MustNewConstMetric(descCopies, prometheus.CounterValue, float64(s.copies))
	out <- prometheus.MustNewConstMetric(descKept, prometheus.GaugeValue, float64(s.held.Load()))
	for why, n := range s.drops {
		out <- prometheus.MustNewConstMetric(descUncopied, prometheus.CounterValue, float64(n), string(why))
	}
}

// collectDestinations shows the destinations that ever had a request.
func (c collector) collectDestinations(out chan<- prometheus.Metric, s *table) {
	shown := 0
	var rest destStats
	folded := false
	for r := range s.all {
		for i := range r.dests {
			d := &r.dests[i]
			stats := d.stats.Load()
			if stats == nil || sharesStats(r.dests[:i], d) {
				continue
			}
			if shown++; shown > maxSeries {
				rest.add(stats)
				folded = true
				continue
			}
			stats.collect(out, r.src.Host+r.src.Path, d.src.AppGUID, d.src.AppName, d.src.Process, d.src.Label)
		}
	}
	if folded {
		rest.collect(out, "other", "", "", "", "")
	}
}

// sharesStats reports whether an earlier destination has the counts of d: the
// same process mapped twice, on two ports.
func sharesStats(earlier []destination, d *destination) bool {
	for i := range earlier {
		if earlier[i].stats.Load() == d.stats.Load() {
			return true
		}
	}
	return false
}

func (s *destStats) add(o *destStats) {
	for i := range s.status {
		s.status[i].Add(o.status[i].Load())
	}
	s.latency.add(&o.latency)
	s.inFlight.Add(o.inFlight.Load())
	s.retries.Add(o.retries.Load())
	s.nanos.Add(o.nanos.Load())
	s.bytesIn.Add(o.bytesIn.Load())
	s.bytesOut.Add(o.bytesOut.Load())
}

func (s *destStats) collect(out chan<- prometheus.Metric, labels ...string) {
	with := func(first string) []string { return append([]string{first}, labels...) }
	for i, class := range statusClasses {
		if n := s.status[i].Load(); n > 0 {
			out <- prometheus.MustNewConstMetric(descRequests, prometheus.CounterValue, float64(n), with(class)...)
		}
	}
	buckets := make(map[float64]uint64, octaves)
	sums := s.latency.below()
	for i, n := range sums {
		if i < octaves-1 { // the last one has no end
			buckets[judge.Bound((i+1)*perOctave).Seconds()] = n
		}
	}
	sum := sums[octaves-1]
	out <- prometheus.MustNewConstHistogram(descLatency, sum, time.Duration(s.nanos.Load()).Seconds(), buckets, labels...)
	for _, q := range []string{"0.5", "0.9", "0.99"} {
		f, _ := strconv.ParseFloat(q, 64)
		out <- prometheus.MustNewConstMetric(descQuantile, prometheus.GaugeValue, s.latency.quantile(f).Seconds(), with(q)...)
	}
	out <- prometheus.MustNewConstMetric(descInFlight, prometheus.GaugeValue, float64(s.inFlight.Load()), labels...)
	out <- prometheus.MustNewConstMetric(descBytes, prometheus.CounterValue, float64(s.bytesIn.Load()), with("in")...)
	out <- prometheus.MustNewConstMetric(descBytes, prometheus.CounterValue, float64(s.bytesOut.Load()), with("out")...)
	out <- prometheus.MustNewConstMetric(descDestRetries, prometheus.CounterValue, float64(s.retries.Load()), labels...)
}
