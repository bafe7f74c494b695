package auth_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/auth"
	"weir/internal/store"
)

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if auth.ParsePHC(text) == nil && !strings.HasPrefix(text, "$argon2id$v=19$m=") {
			t.Errorf("%q was accepted", text)
		}
	})
}

func TestPHC_RefusesWhatIsNotOursOrTooExpensive(t *testing.T) {
	const salt, hash = "$AAAAAAAAAAAAAAAAAAAAAA", "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	if err := auth.ParsePHC("$argon2id$v=19$m=65536,t=3,p=1" + salt + hash); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"", "plain", "$2a$10$abcdefghijklmnopqrstuv",
		"$argon2i$v=19$m=65536,t=3,p=1" + salt + hash,
		"$argon2id$v=16$m=65536,t=3,p=1" + salt + hash,
		"$argon2id$v=19$m=4194304,t=3,p=1" + salt + hash,
		"$argon2id$v=19$m=65536,t=0,p=1" + salt + hash,
		"$argon2id$v=19$m=65536,t=1000,p=1" + salt + hash,
		"$argon2id$v=19$m=65536,t=3,p=0" + salt + hash,
		"$argon2id$v=19$m=65536,t=3,p=1$" + hash,
		"$argon2id$v=19$m=65536,t=3,p=1" + salt + "$",
		"$argon2id$v=19$m=65536,t=3,p=1" + salt + hash + "$",
	} {
		if auth.ParsePHC(bad) == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// With the real cost: it takes as long to refuse a user who does not exist as
// one who does.
func TestPassword_UnknownUsersCostAsMuch(t *testing.T) {
	if testing.Short() {
		t.Skip("computes half a dozen hashes of 64 MiB")
	}
	ctx := t.Context()
	db, err := store.Open(ctx, filepath.Join(t.TempDir(), "weir.db"))
	must(t, err)
	defer db.Close()
	s := auth.New(auth.Config{Store: db})
	must(t, s.Bootstrap(ctx, "secret"))
	if _, err := s.Password(ctx, "cf", "admin", "secret"); err != nil {
		t.Fatalf("a hash of the real cost: %v", err)
	}
	var known, unknown []time.Duration
	for i := range 2 {
		known = append(known, costOf(ctx, s, "admin"))
		unknown = append(unknown, costOf(ctx, s, fmt.Sprint("nobody-", i)))
	}
	slices.Sort(known)
	slices.Sort(unknown)
	// The least of each is the least disturbed by other work on the machine.
	if ratio := float64(known[0]) / float64(unknown[0]); ratio < 0.5 || ratio > 2 {
		t.Errorf("known users take %s, unknown ones %s", known, unknown)
	}
}

// costOf is the processor time of one attempt: what others do on the machine
// makes it last longer, not cost more.
func costOf(ctx context.Context, s *auth.Service, user string) time.Duration {
	begin := cpuTime()
	_, _ = s.Password(ctx, "cf", user, "wrong")
	return cpuTime() - begin
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func BenchmarkPassword(b *testing.B) {
	db, err := store.Open(b.Context(), filepath.Join(b.TempDir(), "weir.db"))
	must(b, err)
	defer db.Close()
	s := auth.New(auth.Config{Store: db})
	must(b, s.Bootstrap(b.Context(), "secret"))
	for b.Loop() {
		login(b, s)
	}
}

func BenchmarkVerify(b *testing.B) {
	s, _, _ := setup(b)
	token := login(b, s).Access
	for b.Loop() {
		_, err := s.Verify(b.Context(), token)
		must(b, err)
	}
}
