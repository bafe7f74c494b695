package router

import (
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// AccessLine is one request in the form of gorouter's access log.
type AccessLine struct {
	AppGUID  string    // empty: no app was found
	Instance int       // its index
	At       time.Time // when the answer ended
	Line     []byte    // without a line end; good until the call returns
}

// accessLog takes a record of each request without ever making one wait. The
// request renders its line into the buffer of one of a few shards; one
// goroutine hands the lines on. What finds its buffer full is dropped and
// counted.
type accessLog struct {
	lines  func([]AccessLine) // lines, in batches
	file   *logFile           // lines, one after the other
	redact redaction

	shards  []logShard
	wake    chan struct{} // one signal: there are lines
	hurry   chan struct{} // one signal: there are many
	dropped atomic.Uint64
	batch   []AccessLine // belongs to run
}

const (
	maxLogShards = 8
	// logBytes is how much all shards hold until lines are dropped: at 100,000
	// requests a second a tenth of a second.
	logBytes = 4 << 20
	// hurryBytes is how much a shard holds when its lines are handed on at
	// once: so little that they are still in the processor's cache.
	hurryBytes = 64 << 10
	// logDelay is how long lines are gathered.
	logDelay = 20 * time.Millisecond
)

// logShard holds lines on their way. Each ends in a line feed.
type logShard struct {
	mu    sync.Mutex // guards what follows, but for spare
	buf   []byte
	list  []shardLine
	stamp stamp

	spare shardSpare // belongs to run
	_     [64]byte   // shards do not share a cache line
}

type shardSpare struct {
	buf  []byte
	list []shardLine
}

type shardLine struct {
	app      string
	instance int
	at       time.Time
	end      int
}

func newAccessLog(cfg *Config) *accessLog {
	l := &accessLog{
		lines: cfg.AccessLines, redact: redaction{cfg.RedactIPs, cfg.RedactQueries},
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		shards: make([]logShard, min(runtime.GOMAXPROCS(0), maxLogShards)),
	}
	if cfg.AccessFile != "" {
		l.file = &logFile{path: cfg.AccessFile}
	}
	return l
}

// offer takes up a record. It keeps nothing of it.
func (l *accessLog) offer(rec *record) {
	if l.lines == nil && l.file == nil {
		return
	}
	s := &l.shards[0]
	if len(l.shards) > 1 {
		s = &l.shards[rand.Uint32N(uint32(len(l.shards)))]
	}
	s.mu.Lock()
	if len(s.buf) > logBytes/len(l.shards) {
		s.mu.Unlock()
		l.dropped.Add(1)
		return
	}
	first := len(s.list) == 0
	s.buf = append(rec.append(s.buf, &s.stamp, l.redact), '\n')
	s.list = append(s.list, shardLine{rec.appGUID, rec.instanceIndex, rec.start.Add(rec.total), len(s.buf)})
	many := len(s.buf) > hurryBytes
	s.mu.Unlock()
	if first {
		signal(l.wake)
	}
	if many {
		signal(l.hurry)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run hands lines over until stop is closed, and then those still there.
func (l *accessLog) run(stop <-chan struct{}) {
	gather := time.NewTimer(0)
	<-gather.C
	defer gather.Stop()
	for {
		select {
		case <-l.wake:
			gather.Reset(logDelay)
		case <-gather.C:
			l.flush()
		case <-l.hurry:
			l.flush()
		case <-stop:
			l.flush()
			l.file.close()
			return
		}
	}
}

// flush hands over the lines that are there.
func (l *accessLog) flush() {
	lines := l.batch[:0]
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.buf, s.spare.buf = s.spare.buf[:0], s.buf
		s.list, s.spare.list = s.spare.list[:0], s.list
		s.mu.Unlock()
		if len(s.spare.list) == 0 {
			continue
		}
		l.dropped.Add(l.file.write(s.spare.buf, len(s.spare.list)))
		if l.lines == nil {
			continue
		}
		from := 0
		for _, at := range s.spare.list {
			lines = append(lines, AccessLine{at.app, at.instance, at.at, s.spare.buf[from : at.end-1]})
			from = at.end
		}
	}
	if len(lines) > 0 {
		l.lines(lines)
	}
	clear(lines) // the names of apps are not kept alive
	l.batch = lines
}

// logFile is a file of lines. If somebody moves it away, a new one is begun
// within a second. A nil one takes everything and keeps nothing.
type logFile struct {
	path    string
	f       *os.File
	checked time.Time
}

// write appends n lines and returns how many of them were lost.
func (l *logFile) write(lines []byte, n int) (lost uint64) {
	if l == nil {
		return 0
	}
	if now := time.Now(); now.Sub(l.checked) >= time.Second {
		l.checked = now
		l.reopen()
	}
	if l.f == nil {
		return uint64(n)
	}
	if _, err := l.f.Write(lines); err != nil {
		l.close()
		return uint64(n)
	}
	return 0
}

// reopen opens the file unless it is the one that is open. One that was moved
// away is written to until there can be another: where the router may not make
// files, somebody else has to make it.
func (l *logFile) reopen() {
	if l.f != nil {
		open, err := l.f.Stat()
		named, nerr := os.Stat(l.path)
		if err == nil && nerr == nil && os.SameFile(open, named) {
			return
		}
	}
	if f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640); err == nil {
		l.close()
		l.f = f
	}
}

func (l *logFile) close() {
	if l != nil && l.f != nil {
		_ = l.f.Close()
		l.f = nil
	}
}
