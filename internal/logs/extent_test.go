package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExtent_SaysWhatReadWouldReturn(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, Options{SegmentBytes: 512, MaxBytesPerApp: 1 << 20})
	other := openAt(t, dir, Options{SegmentBytes: 512, WriterName: "router"})
	check := func() {
		t.Helper()
		es := read(t, s, ReadOptions{})
		want := Extent{Count: len(es)}
		if n := len(es); n > 0 {
			want.Oldest, want.Newest = Mark{es[0].Timestamp, es[0].SourceType}, Mark{es[n-1].Timestamp, es[n-1].SourceType}
		}
		got, err := s.Extent(app)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%v %s", err, cmp.Diff(want, got))
		}
	}
	check()
	for i := range 100 {
		must(t, other.Append(Envelope{App: app, SourceType: "RTR", Payload: []byte("GET /"), Timestamp: int64(1000 * (i + 1))}))
		must(t, s.Append(Envelope{App: app, SourceType: "STG", Payload: fmt.Append(nil, i), Tags: map[string]string{"a": "b"}, Timestamp: int64(1000*(i+1) + 500)}))
		if i%30 == 0 {
			check()
		}
	}
	check()
	must(t, s.Delete(app))
	check()
}

// What was read once is not read again: an open "cf logs" of many apps asks often.
func TestExtent_ReadsOnlyWhatWasAppended(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, Options{})
	must(t, s.Append(Envelope{App: app, SourceType: "RTR", Payload: []byte("one"), Timestamp: 2000}))
	if x, err := s.Extent(app); err != nil || x.Count != 1 {
		t.Fatalf("%+v %v", x, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, app, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	f, err := os.OpenFile(files[0], os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte{0xff, 0xff, 0xff, 0xff}, 0) // whoever reads it anew finds no record
	must(t, err)
	must(t, f.Close())
	must(t, s.Append(Envelope{App: app, SourceType: "API", Payload: []byte("two"), Timestamp: 3000}))
	x, err := s.Extent(app)
	if want := (Extent{2, Mark{2000, "RTR"}, Mark{3000, "API"}}); err != nil || x != want {
		t.Errorf("%+v %v, want %+v", x, err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
