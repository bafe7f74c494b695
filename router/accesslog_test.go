package router

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

func aRecord() record {
	return record{
		start: time.Now(), total: time.Millisecond, host: "app.example.com", method: "GET", target: "/path?token=1", proto: "HTTP/1.1",
		referer: "http://a.test/x?secret", userAgent: "agent", clientAddr: "192.0.2.1:12345", forwardedFor: "192.0.2.1", status: 200, requestID: requestID(),
		appGUID: "app", instanceGUID: "i", instanceIndex: 123, backendAddr: "10.0.0.1:80", version: "v2",
	}
}

func TestAccessLog_HandsOverLinesAndFillsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	var mu sync.Mutex
	var got []string
	l := newAccessLog(&Config{AccessFile: path, AccessLines: func(lines []AccessLine) {
		mu.Lock()
		defer mu.Unlock()
		for _, line := range lines {
			got = append(got, line.AppGUID+" "+string(line.Line))
		}
	}})
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() { l.run(stop) })
	rec := aRecord()
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(got)
	}
	for range 100 {
		l.offer(&rec)
	}
	eventually(t, "the lines are there", func() bool { return count() == 100 })
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new file is begun", func() bool {
		l.offer(&rec)
		b, err := os.ReadFile(path)
		return err == nil && len(b) > 0
	})
	close(stop)
	done.Wait()
	old, _ := os.ReadFile(path + ".1")
	now, _ := os.ReadFile(path)
	if n := strings.Count(string(old)+string(now), "\n"); n != len(got) {
		t.Errorf("%d lines in the files, %d handed over", n, len(got))
	}
	for _, line := range got {
		if want := "app " + rec.line(); line != want {
			t.Fatalf("got  %s\nwant %s", line, want)
		}
	}
	if !strings.HasSuffix(got[0], ` version:"v2"`) || !strings.Contains(got[0], `app_index:"123"`) {
		t.Errorf("got %s", got[0])
	}
}

func TestAccessLog_HidesWhatItMust(t *testing.T) {
	rec := aRecord()
	line := string(rec.append(nil, new(stamp), redaction{ips: true, queries: true}))
	for _, secret := range []string{"192.0.2.1", "token", "secret"} {
		if strings.Contains(line, secret) {
			t.Errorf("%q is in %s", secret, line)
		}
	}
	if !strings.Contains(line, `"GET /path? HTTP/1.1"`) || !strings.Contains(line, `"10.0.0.1:80"`) {
		t.Errorf("got %s", line)
	}
	rec.code, rec.reason = "endpoint_failure", "endpoint_closed"
	if line := rec.line(); !strings.HasSuffix(line, `x_cf_routererror:"endpoint_failure" version:"v2" reason:"endpoint_closed" code:"H13"`) {
		t.Errorf("got %s", line)
	}
}

func TestAccessLog_DropsWhatDoesNotFitAndCountsIt(t *testing.T) {
	l := newAccessLog(&Config{AccessLines: func([]AccessLine) {}})
	rec := aRecord()
	rec.userAgent = strings.Repeat("x", 4096)
	for range 2000 { // nobody takes them
		l.offer(&rec)
	}
	kept := 0
	for i := range l.shards {
		kept += len(l.shards[i].list)
	}
	if l.dropped.Load() == 0 || kept+int(l.dropped.Load()) != 2000 {
		t.Errorf("%d kept, %d dropped", kept, l.dropped.Load())
	}
}

func TestAccessLogAndMetrics_AllocateNothingPerRequest(t *testing.T) {
	r := New(Config{AccessLines: func([]AccessLine) {}})
	if err := r.put(Table{Number: 1, Routes: []Route{{Host: "a.test", Destinations: []Destination{to("a", "127.0.0.1:1")}}}}); err != nil {
		t.Fatal(err)
	}
	one := func() {
		tr := trip{r: r, begun: r.now(), rec: record{start: r.started, host: "a.test", method: "GET", target: "/", proto: "HTTP/1.1", status: 200}}
		if tr.choose(ask{method: "GET", host: "a.test", path: "/", wish: wish{index: -1}}) != reasonNone || tr.claim() != reasonNone {
			t.Fatal("not claimed")
		}
		tr.answered()
		tr.unclaim()
		tr.finish(reasonNone)
	}
	for range 5000 { // the buffers get their size
		one()
	}
	l := r.log
	l.flush()
	l.flush()
	if n := testing.AllocsPerRun(1000, one); n != 0 {
		t.Errorf("%v allocations", n)
	}
	runtime.KeepAlive(l)
}

func TestDestStats_FillWholeCacheLines(t *testing.T) {
	if n := unsafe.Sizeof(destStats{}); n%64 != 0 {
		t.Errorf("%d bytes", n)
	}
}

func TestHistogram_KnowsItsQuantiles(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.count(time.Duration(i+1) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.9: 900 * time.Millisecond, 0.99: 990 * time.Millisecond} {
		if got := h.quantile(q); got < want || got > want*9/8 {
			t.Errorf("%v: got %s", q, got)
		}
	}
	if n := h.below()[octaves-1]; n != 1000 {
		t.Errorf("%d counted", n)
	}
	if new(histogram).quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
}

func BenchmarkOffer(b *testing.B) {
	l := newAccessLog(&Config{AccessLines: func([]AccessLine) {}})
	rec := aRecord()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		l.offer(&rec)
		if n++; n&0x3ff == 0 {
			l.flush()
		}
	}
	if l.dropped.Load() > 0 {
		b.Error("dropped")
	}
}

func requestID() string {
	var id [36]byte
	newRequestID(&id)
	return string(id[:])
}

// Where the router may not make a file, the one that was moved away is written
// to until somebody made another.
func TestLogFile_GoesOnWhereItWasUntilThereIsAnother(t *testing.T) {
	dir := t.TempDir()
	here, there := filepath.Join(dir, "here"), filepath.Join(dir, "there")
	if err := os.Mkdir(here, 0o700); err != nil {
		t.Fatal(err)
	}
	l := &logFile{path: filepath.Join(here, "access.log")}
	defer l.close()
	write := func(line string) {
		t.Helper()
		l.checked = time.Time{}
		if lost := l.write([]byte(line), 1); lost != 0 {
			t.Errorf("%q is lost", line)
		}
	}
	write("1")
	if err := os.Rename(here, there); err != nil {
		t.Fatal(err)
	}
	write("2")
	if err := os.Mkdir(here, 0o700); err != nil {
		t.Fatal(err)
	}
	write("3")
	old, _ := os.ReadFile(filepath.Join(there, "access.log"))
	now, _ := os.ReadFile(l.path)
	if string(old) != "12" || string(now) != "3" {
		t.Errorf("got %q, then %q", old, now)
	}
}
