package router

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// rate bounds how often requests come, by the generic cell rate algorithm:
// one number per client says when its account will be empty.
type rate struct {
	every time.Duration // one request; 0: no limit
	burst int64         // may come at once
	by    string        // "": the client's address; "route"; or a field in lower case behind "header:"

	buckets *rateBuckets
}

// rateSlots is how many clients a route remembers. Of more, those that were
// quiet longest are forgotten, which is in their favour.
const rateSlots = 4096

// rateBuckets are the accounts of the clients of one route: a fixed table, in
// which a client may have one of four places.
type rateBuckets struct {
	mu    sync.Mutex // guards slots
	slots [rateSlots]rateSlot
}

type rateSlot struct {
	client uint64
	full   int64 // when the account is empty again, on the router's clock
}

// take takes one request off the client's account. If there is none left it
// returns how long to wait for the next.
func (r *rate) take(a *ask, now int64) time.Duration {
	client := r.client(a)
	r.buckets.mu.Lock()
	defer r.buckets.mu.Unlock()
	s := r.buckets.slot(client)
	full := max(s.full, now) + int64(r.every)
	if over := full - now - int64(r.every)*r.burst; over > 0 {
		return time.Duration(over)
	}
	s.full = full
	return 0
}

// slot returns the account of a client; the caller holds mu.
func (b *rateBuckets) slot(client uint64) *rateSlot {
	base := client >> 32 % (rateSlots / 4) * 4
	four := b.slots[base : base+4]
	oldest := &four[0]
	for i := range four {
		s := &four[i]
		if s.client == client {
			return s
		}
		if s.full < oldest.full {
			oldest = s
		}
	}
	*oldest = rateSlot{client: client}
	return oldest
}

func (r *rate) client(a *ask) uint64 {
	switch {
	case r.by == "route":
		return 1
	case r.by != "" && r.by != "ip":
		if v := a.field(r.by[len("header:"):]); v != nil {
			return hashText(v, clientSeed) | 1
		}
	}
	return hashAddr(a.client, clientSeed) | 1
}

// same reports whether the accounts of one can go on with the other.
func (r *rate) same(o *rate) bool {
	return r.every > 0 && r.every == o.every && r.burst == o.burst && r.by == o.by
}

func parseRate(r *rules, v string) error {
	bad := errors.New("must be like \"100/s\" or \"600/m burst=50\"")
	perText, burstText, _ := strings.Cut(v, " ")
	count, unit, ok := strings.Cut(perText, "/")
	n, err := strconv.ParseUint(count, 10, 31)
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if !ok || err != nil || n == 0 || n > 1_000_000 || per == 0 {
		return bad
	}
	r.rate.every = max(per/time.Duration(n), 1)
	r.rate.burst = max(int64(time.Second/r.rate.every), 1)
	if burstText = strings.TrimSpace(burstText); burstText != "" {
		digits, ok := strings.CutPrefix(burstText, "burst=")
		b, err := strconv.ParseUint(digits, 10, 31)
		if !ok || err != nil || b == 0 || b > 1_000_000 {
			return bad
		}
		r.rate.burst = int64(b)
	}
	r.rate.buckets = new(rateBuckets)
	return nil
}

func parseRateBy(r *rules, v string) error {
	switch {
	case v == "ip", v == "route":
		r.rate.by = v
		return nil
	case strings.HasPrefix(v, "header:"):
		name, err := fieldName(v[len("header:"):])
		r.rate.by = "header:" + name
		return err
	}
	return fmt.Errorf("must be one of ip, route, header:NAME")
}
