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
	busy  atomic.Int32  // hashes being computed or waiting
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
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails since Go 1.24
	sum, err := h.compute(ctx, h.cost, password, salt, hashBytes)
	if err != nil {
		return "", err
	}
	return phc(h.cost, salt, sum), nil
}

// verify reports whether a password has that hash. An empty hash is that of a
// user who does not exist or has no password: it costs the same and is false.
func (h *hasher) verify(ctx context.Context, hash, password string) (bool, error) {
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
	got, err := h.compute(ctx, c, password, salt, len(want))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}

func (h *hasher) compute(ctx context.Context, c cost, password string, salt []byte, length int) ([]byte, error) {
	h.busy.Add(1)
	defer func() {
		// The last one hands the memory back at once; the collector alone
		// would sit on it for minutes.
		if h.busy.Add(-1) == 0 && c.memory >= defaultCost.memory {
			debug.FreeOSMemory()
		}
	}()
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, &platform.Error{Kind: platform.KindUnavailable, Msg: "too many logins at once", Hint: "try again", Err: ctx.Err()}
	}
	defer func() { <-h.slots }()
	return argon2.IDKey([]byte(password), salt, c.time, c.memory, c.threads, uint32(length)), nil
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
