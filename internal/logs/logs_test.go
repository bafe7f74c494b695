package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const app = "0b7c1c1e-0000-4000-8000-000000000001"

func open(t *testing.T, o Options) *Store {
	t.Helper()
	return openAt(t, t.TempDir(), o)
}

func openAt(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func payloads(es []Envelope) []string {
	var out []string
	for _, e := range es {
		out = append(out, string(e.Payload))
	}
	return out
}

func read(t *testing.T, s *Store, o ReadOptions) []Envelope {
	t.Helper()
	es, err := s.Read(t.Context(), app, o)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func TestStore_ReadsBackAnyBytes(t *testing.T) {
	s := open(t, Options{})
	want := Envelope{
		Timestamp: 1_000_000, App: app, Instance: "3", SourceType: "APP/PROC/WEB",
		Tags: map[string]string{"k": "v"}, Stderr: true, Payload: []byte("a\x00\xff\x1b[31m\nb"),
	}
	if err := s.Append(want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Envelope{want}, read(t, s, ReadOptions{})); diff != "" {
		t.Error(diff)
	}
}

func TestStore_TimestampsAreUniqueAndRisingAcrossWritersAndRestarts(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		c := openAt(t, dir, Options{})
		r := openAt(t, dir, Options{WriterName: "router"})
		for range 50 {
			for _, s := range []*Store{c, r} {
				if err := s.Append(Envelope{Timestamp: 42, App: app, SourceType: "X"}); err != nil {
					t.Fatal(err)
				}
			}
		}
		c.Close()
		r.Close()
	}
	es := read(t, openAt(t, dir, Options{}), ReadOptions{})
	if len(es) != 300 {
		t.Fatalf("got %d envelopes, want 300", len(es))
	}
	for i := 1; i < len(es); i++ {
		if es[i].Timestamp <= es[i-1].Timestamp {
			t.Fatalf("envelope %d has timestamp %d after %d", i, es[i].Timestamp, es[i-1].Timestamp)
		}
	}
}

func TestStore_ReadLimitsAndFilters(t *testing.T) {
	s := open(t, Options{})
	for i := range 10 {
		typ := "APP/PROC/WEB"
		if i%2 == 0 {
			typ = "STG"
		}
		s.Append(Envelope{Timestamp: int64(1000 + 10*i), App: app, SourceType: typ, Payload: fmt.Append(nil, i)})
	}
	cases := []struct {
		name string
		o    ReadOptions
		want []string
	}{
		{"oldest first", ReadOptions{Limit: 3}, []string{"0", "1", "2"}},
		{"newest first", ReadOptions{Limit: 3, Descending: true}, []string{"9", "8", "7"}},
		{"start is inclusive, end exclusive", ReadOptions{Start: 1030, End: 1050}, []string{"3", "4"}},
		{"hugely negative start", ReadOptions{Start: -6795364578871345152, Limit: 1}, []string{"0"}},
		{"by source", ReadOptions{SourceTypes: []string{"STG"}, Start: 1050}, []string{"6", "8"}},
		{"by family of sources", ReadOptions{SourceTypes: []string{"APP"}, Limit: 2, Descending: true}, []string{"9", "7"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, payloads(read(t, s, c.o))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStore_KeepsWithinItsBoundAndDropsTheOldest(t *testing.T) {
	s := open(t, Options{MaxBytesPerApp: 40_000, SegmentBytes: 10_000})
	for i := range 2000 {
		s.Append(Envelope{App: app, SourceType: "APP", Payload: fmt.Appendf(nil, "%05d %s", i, strings.Repeat("x", 100))})
	}
	segs, err := segments(filepath.Join(s.dir, app))
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, seg := range segs {
		total += seg.size
	}
	if total > 41_000 {
		t.Errorf("%d bytes on disk, want at most 40000 and one record", total)
	}
	es := read(t, s, ReadOptions{})
	if last := string(es[len(es)-1].Payload[:5]); last != "01999" {
		t.Errorf("newest is %s, want 01999", last)
	}
	for i := 1; i < len(es); i++ { // what is left has no gap
		a, _ := strconv.Atoi(string(es[i-1].Payload[:5]))
		b, _ := strconv.Atoi(string(es[i].Payload[:5]))
		if b != a+1 {
			t.Fatalf("%d follows %d", b, a)
		}
	}
}

func TestStore_TornRecordAtTheEndIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, Options{})
	for _, p := range []string{"one", "two"} {
		s.Append(Envelope{App: app, SourceType: "APP", Payload: []byte(p)})
	}
	s.Close()
	segs, _ := segments(filepath.Join(dir, app))
	for cut := int64(1); cut < segs[0].size; cut++ {
		d := t.TempDir()
		os.MkdirAll(filepath.Join(d, app), 0o700)
		b, _ := os.ReadFile(segs[0].path)
		os.WriteFile(filepath.Join(d, app, filepath.Base(segs[0].path)), b[:segs[0].size-cut], 0o600)
		s := openAt(t, d, Options{})
		s.Append(Envelope{App: app, SourceType: "APP", Payload: []byte("three")})
		got := payloads(read(t, s, ReadOptions{}))
		if got[len(got)-1] != "three" || len(got) > 3 {
			t.Fatalf("cut %d bytes: got %q", cut, got)
		}
	}
}

func TestFollow_SeesOldNewAndForeignEnvelopesOnce(t *testing.T) {
	dir := t.TempDir()
	c := openAt(t, dir, Options{SegmentBytes: 2000})
	r := openAt(t, dir, Options{WriterName: "router", SegmentBytes: 2000})
	c.Append(Envelope{App: app, SourceType: "APP", Payload: []byte("old")})

	const each = 200
	done := errors.New("all seen")
	seen := map[string]int{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range each {
			c.Append(Envelope{App: app, SourceType: "APP", Payload: fmt.Appendf(nil, "c%d", i)})
			r.Append(Envelope{App: app, SourceType: "RTR", Payload: fmt.Appendf(nil, "r%d", i)})
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := c.Follow(ctx, app, 0, func(e Envelope) error {
		seen[string(e.Payload)]++
		if len(seen) == 2*each+1 {
			return done
		}
		return nil
	})
	wg.Wait()
	if !errors.Is(err, done) {
		t.Fatalf("Follow returned %v after %d envelopes", err, len(seen))
	}
	for p, n := range seen {
		if n != 1 {
			t.Errorf("%s was seen %d times", p, n)
		}
	}
}

// Such a tag is longer as it was written than as it is read.
func TestFollow_FindsTheNextEnvelopeWhateverTheTagsHold(t *testing.T) {
	s := open(t, Options{})
	add := func(text string) error {
		return s.Append(Envelope{App: app, Tags: map[string]string{TagVersion: "\xff"}, Payload: []byte(text)})
	}
	if err := add("1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := errors.New("all seen")
	var got []string
	err := s.Follow(ctx, app, 0, func(e Envelope) error {
		if got = append(got, string(e.Payload)); len(got) == 3 {
			return done
		}
		return add(fmt.Sprint(len(got) + 1))
	})
	if diff := cmp.Diff([]string{"1", "2", "3"}, got); diff != "" || !errors.Is(err, done) {
		t.Error(err, diff)
	}
}

func TestFollow_StartsAtTheGivenTime(t *testing.T) {
	s := open(t, Options{SegmentBytes: 200})
	for i := range 20 {
		s.Append(Envelope{Timestamp: int64(1000 + 10*i), App: app, SourceType: "APP", Payload: fmt.Append(nil, i)})
	}
	stop := errors.New("stop")
	var got []string
	s.Follow(t.Context(), app, 1170, func(e Envelope) error {
		if got = append(got, string(e.Payload)); len(got) == 3 {
			return stop
		}
		return nil
	})
	if diff := cmp.Diff([]string{"17", "18", "19"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWriter_SplitsLinesAndKeepsTheUnfinishedOneForClose(t *testing.T) {
	s := open(t, Options{})
	w := s.Writer(app, "STG", "0", false)
	long := strings.Repeat("y", maxPayload+10)
	for _, p := range []string{"one\ntw", "o\r\n", "\n", long, "\nlast"} {
		if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	w.Close()
	want := []string{"one", "two", "", long[:maxPayload], long[maxPayload:], "last"}
	if diff := cmp.Diff(want, payloads(read(t, s, ReadOptions{}))); diff != "" {
		t.Error(diff)
	}
}

func TestWriter_TellsHowManyLinesWereLost(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, Options{})
	blocker := filepath.Join(dir, app) // in the directory's place; not even root can write into it
	os.WriteFile(blocker, nil, 0o600)
	w := s.Writer(app, "APP", "0", false)
	w.Write([]byte("a\nb\nc\n"))
	os.Remove(blocker)
	wantLost(t, s, w, 3)
}

// wantLost writes until a line gets through, and wants it to be preceded by
// one that counts those that did not: lost, and those written here.
func wantLost(t *testing.T, s *Store, w io.Writer, lost int) {
	t.Helper()
	before := len(read(t, s, ReadOptions{}))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		w.Write([]byte("d\n"))
		if got := payloads(read(t, s, ReadOptions{}))[before:]; len(got) > 0 {
			want := []string{fmt.Sprintf("weir: %d log lines were lost: the log could not be written", lost), "d"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			return
		}
		if lost++; time.Now().After(deadline) {
			t.Fatal("no line gets through")
		}
	}
}

func TestWriter_LeavesNothingBehindOfLinesAFullDiskLost(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small tmpfs")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("cannot mount a tmpfs here:", err)
	}
	defer func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}()
	s := openAt(t, disk, Options{})
	defer s.Close()
	w := s.Writer(app, "APP", "0", false)
	filler := filepath.Join(disk, "filler")
	os.WriteFile(filler, make([]byte, 128<<10), 0o600)
	const lines = 20000
	for range lines {
		w.Write([]byte("a line that fills the disk sooner or later\n"))
	}
	kept := len(read(t, s, ReadOptions{}))
	if entries, err := os.ReadDir(filepath.Join(disk, app)); err != nil || len(entries) > 20 {
		t.Errorf("%d segments hold %d lines (%v)", len(entries), kept, err)
	}
	os.Remove(filler)
	wantLost(t, s, w, lines-kept)
}

func TestStore_KeepsFewSegmentsHoweverLittleIsInThem(t *testing.T) {
	dir := t.TempDir()
	for i := range 300 { // as often as the platform starts
		s := openAt(t, dir, Options{MaxBytesPerApp: 2 << 20})
		s.Append(Envelope{App: app, SourceType: "APP", Instance: "0", Payload: []byte(strconv.Itoa(i))})
		s.Close()
	}
	entries, err := os.ReadDir(filepath.Join(dir, app))
	if err != nil || len(entries) > 128 {
		t.Errorf("%d segments of one line each, want at most 128 (%v)", len(entries), err)
	}
	if got := payloads(read(t, openAt(t, dir, Options{}), ReadOptions{Descending: true, Limit: 1})); !cmp.Equal(got, []string{"299"}) {
		t.Errorf("the last line is %q", got)
	}
}

func TestCopyFIFO_EndsWithTheLastWriterOrTheContext(t *testing.T) {
	s := open(t, Options{})
	path := filepath.Join(t.TempDir(), "stdout")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	keep, err := os.OpenFile(path, os.O_RDWR, 0) // as the init does
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error)
	go func() { first <- CopyFIFO(t.Context(), path, s.Writer(app, "APP", "0", false)) }()
	fmt.Fprintln(keep, "hello")
	for len(read(t, s, ReadOptions{})) == 0 {
		time.Sleep(time.Millisecond)
	}
	keep.Close()
	if err := <-first; err != nil {
		t.Error(err)
	}

	keep, _ = os.OpenFile(path, os.O_RDWR, 0)
	defer keep.Close()
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error)
	go func() { second <- CopyFIFO(ctx, path, s.Writer(app, "APP", "0", false)) }()
	cancel()
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func TestDelete_RemovesEveryWritersSegments(t *testing.T) {
	dir := t.TempDir()
	c, r := openAt(t, dir, Options{}), openAt(t, dir, Options{WriterName: "router"})
	c.Append(Envelope{App: app, SourceType: "APP"})
	r.Append(Envelope{App: app, SourceType: "RTR"})
	if err := c.Delete(app); err != nil {
		t.Fatal(err)
	}
	if es := read(t, c, ReadOptions{}); len(es) != 0 {
		t.Errorf("%d envelopes left", len(es))
	}
	if err := c.Append(Envelope{App: "../x"}); err == nil {
		t.Error("an app GUID that is a path was accepted")
	}
}

func BenchmarkAppend(b *testing.B) {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	e := Envelope{App: app, SourceType: "APP/PROC/WEB", Instance: "0", Payload: []byte(strings.Repeat("x", 120))}
	for b.Loop() {
		if err := s.Append(e); err != nil {
			b.Fatal(err)
		}
	}
}
