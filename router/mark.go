package router

import "weir/router/wire"

// maxEvent is how many bytes of an event's name are kept.
const maxEvent = 64

// mark takes up the events that the instance has marked its answer with. The
// answer is one bad event, whatever their number: what counts is the first that
// does.
//
// It counts for the version that the request was assigned to. An answer that
// came from another version says nothing about that one, and the request is a
// failure of the first anyway.
func (x *exchange) mark() {
	first := x.made.first
	if first == nil || first.arm == nil || !x.dest.like(first) {
		return
	}
	counting := first.arm.split.counting
	for i, fs := 0, x.res.Fields(); i < len(fs); i++ {
		if fs[i].Class != wire.Event {
			continue
		}
		wire.EachToken(x.res.Value(&fs[i]), func(name []byte) {
			if x.made.event == "" && len(name) > 0 && counting.marks(name) {
				x.made.event = string(name[:min(len(name), maxEvent)])
			}
		})
	}
}
