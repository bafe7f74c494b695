package router

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// read returns the counts of an arm. Bad events are counted after the request
// they belong to, and read before.
func (a *arm) read() VersionEvidence {
	v := VersionEvidence{Version: a.version, Bad: a.bad.Load(), Marked: a.marked.Load(), Failover: a.failover.Load(), MatchedBad: a.matchedBad.Load(), MatchedMarked: a.matchedMarked.Load()}
	last := -1
	latency := make([]uint32, len(a.latency))
	for i := range a.latency {
		if latency[i] = a.latency[i].Load(); latency[i] > 0 {
			last = i
		}
	}
	v.Latency = latency[:last+1]
	for i := range a.status {
		v.Status[i] = a.status[i].Load()
	}
	v.Requests, v.Matched = a.requests.Load(), a.matched.Load()
	empty := clientBits
	for i := range a.clients {
		empty -= bits.OnesCount64(a.clients[i].Load())
	}
	// Linear counting: how many balls it took to leave so many bins empty.
	v.Clients = uint64(math.Round(-clientBits * math.Log(float64(max(empty, 1))/clientBits)))
	for i := range a.endpoints {
		v.Endpoints = binary.LittleEndian.AppendUint64(v.Endpoints, a.endpoints[i].Load())
	}
	return v
}
