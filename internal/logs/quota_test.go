package logs

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuota_DropsWhatIsTooMuchAndSaysSoOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{})
		q := NewQuota(10)
		meta := Envelope{App: app, SourceType: "APP/PROC/WEB", Instance: "0"}
		out := s.WriterWithin(meta, q)
		meta.Stderr = true
		errs := s.WriterWithin(meta, q)
		fmt.Fprint(out, "12345\n")
		fmt.Fprint(errs, "67890\n") // both share the ten bytes
		fmt.Fprint(out, "dropped and told\nx\n")
		fmt.Fprint(errs, "x\n")
		time.Sleep(500 * time.Millisecond)
		fmt.Fprint(out, "half\ntoo much\n")
		time.Sleep(time.Second)
		fmt.Fprint(out, "more than ten bytes\n") // never passes
		time.Sleep(time.Hour)
		fmt.Fprint(out, "0123456789\n") // an hour saves up no more than a second does
		const told = "app instance exceeded log rate limit (10 bytes/sec)"
		want := []string{"12345", "67890", told, "half", told, "0123456789"}
		if d := cmp.Diff(want, payloads(read(t, s, ReadOptions{}))); d != "" {
			t.Error(d)
		}
	})
}

func TestQuota_ZeroLetsNothingPassAndNoneEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{})
		meta := Envelope{App: app, SourceType: "APP/PROC/WEB", Instance: "0"}
		fmt.Fprint(s.WriterWithin(meta, NewQuota(0)), "a\n\nb\n")
		fmt.Fprint(s.WriterWithin(meta, NewQuota(-1)), "c\n\n")
		want := []string{"app instance exceeded log rate limit (0 bytes/sec)", "c", ""}
		if d := cmp.Diff(want, payloads(read(t, s, ReadOptions{}))); d != "" {
			t.Error(d)
		}
	})
}

func TestQuota_Rate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQuota(-1)
		for range 20 {
			q.take(100)
			time.Sleep(100 * time.Millisecond)
		}
		if got := q.Rate(); got != 1000 {
			t.Errorf("of 1000 bytes a second it measured %d", got)
		}
		time.Sleep(5 * time.Second)
		if got := q.Rate(); got != 0 {
			t.Errorf("after silence it measured %d", got)
		}
	})
}
