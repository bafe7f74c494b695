package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"

	"weir/internal/platform"
)

// cost is how much work a password hash is.
type cost struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
}

// defaultCost takes 64 MiB and about a fifth of a second.
var defaultCost = cost{memory: 64 << 10, time: 3, threads: 1}

const (
	saltBytes = 16
	hashBytes = 32
	// maxHashing is how many hashes are computed at once; each holds 64 MiB
	// and one core.
	maxHashing = 2
)

// hasher computes argon2id hashes in PHC form.
type hasher struct {
	cost  cost
	slots chan struct{} // a place for each hash being computed
	busy  atomic.Int32  // who is in a place or waits for one
	// unknown is a hash of this cost that no password has: what the password
	// of a user who does not exist is compared with.
	unknown string
}

func newHasher(c cost) *hasher {
	h := &hasher{cost: c, slots: make(chan struct{}, maxHashing)}
	h.unknown = phc(c, make([]byte, saltBytes), make([]byte, hashBytes))
	return h
}

// hash returns the hash of a password with a random salt.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails since Go 1.24
	return phc(h.cost, salt, compute(h.cost, password, salt, hashBytes)), nil
}

// verify reports whether a password has that hash. An empty hash is that of a
// user who does not exist or has no password: it costs the same and is false.
// The caller must have entered.
func (h *hasher) verify(hash, password string) (bool, error) {
	known := hash != ""
	if !known {
		hash = h.unknown
	}
	c, salt, want, err := parsePHC(hash)
	if err != nil {
		return false, err
	}
	if len(password) > maxPassword {
		password, known = password[:maxPassword], false
	}
	got := compute(c, password, salt, len(want))
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}

// enter waits for a place to compute a hash in; leave gives it back.
func (h *hasher) enter(ctx context.Context) (leave func(), err error) {
	h.busy.Add(1)
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		h.busy.Add(-1)
		return nil, &platform.Error{Kind: platform.KindUnavailable, Msg: "too many logins at once", Hint: "try again", Err: ctx.Err()}
	}
	return func() {
		<-h.slots
		// The last one hands the memory back at once; the collector alone
		// would sit on it for minutes.
		if h.busy.Add(-1) == 0 && h.cost.memory >= defaultCost.memory {
			debug.FreeOSMemory()
		}
	}, nil
}

func compute(c cost, password string, salt []byte, length int) []byte {
	return argon2.IDKey([]byte(password), salt, c.time, c.memory, c.threads, uint32(length))
}

// phc writes "$argon2id$v=19$m=65536,t=3,p=1$<salt>$<hash>".
func phc(c cost, salt, hash []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.time, c.threads, b64(salt), b64(hash))
}

// errBadHash says that a hash in the store is not one of ours, or asks for
// more work than any of ours.
var errBadHash = errors.New("auth: malformed password hash")

func parsePHC(text string) (c cost, salt, hash []byte, err error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, errBadHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.time, &c.threads); err != nil {
		return c, nil, nil, errBadHash
	}
	if c.memory < 8 || c.memory > 1<<20 || c.time < 1 || c.time > 16 || c.threads < 1 || c.threads > 16 {
		return c, nil, nil, errBadHash
	}
	if salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4]); err != nil || len(salt) < 8 || len(salt) > 64 {
		return c, nil, nil, errBadHash
	}
	if hash, err = base64.RawStdEncoding.Strict().DecodeString(parts[5]); err != nil || len(hash) < 16 || len(hash) > 64 {
		return c, nil, nil, errBadHash
	}
	return c, salt, hash, nil
}
