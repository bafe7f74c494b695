package router

import "sync/atomic"

// accessLog hands records to Config.AccessLog without ever making a request
// wait: what does not fit into the queue is dropped and counted.
type accessLog struct {
	to      func(Record)
	queue   chan Record // buffered: it is what lies between requests and a slow log
	dropped atomic.Uint64
}

func newAccessLog(to func(Record), size int) *accessLog {
	l := &accessLog{to: to}
	if to != nil {
		l.queue = make(chan Record, size)
	}
	return l
}

func (l *accessLog) offer(rec *Record) {
	if l.to == nil {
		return
	}
	select {
	case l.queue <- *rec:
	default:
		l.dropped.Add(1)
	}
}

// run hands records over until stop is closed, and then those still queued.
func (l *accessLog) run(stop <-chan struct{}) {
	if l.to == nil {
		return
	}
	for {
		select {
		case rec := <-l.queue:
			l.to(rec)
		case <-stop:
			for {
				select {
				case rec := <-l.queue:
					l.to(rec)
				default:
					return
				}
			}
		}
	}
}
