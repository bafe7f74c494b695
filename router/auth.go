package router

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// users are the names and hashed passwords of a route.
type users struct {
	hash map[string]string // by name
	seen *seenPasswords
}

// seenPasswords remembers which fields were found right, because checking a
// password is slow on purpose: as a keyed hash together with the stored hash,
// so that it holds no password, and forgets those that changed.
type seenPasswords struct {
	mu sync.Mutex // guards ok
	ok map[[32]byte]struct{}
}

// maxSeen is how many right passwords a route remembers.
const maxSeen = 256

// checking bounds how many passwords are checked at the same time: it takes a
// processor for some 50 ms.
var checking = make(chan struct{}, 2)

// The secrets of this process: nobody can prepare values that collide.
var (
	secretKey  = func() (k [32]byte) { _, _ = rand.Read(k[:]); return k }()
	clientSeed = binary.LittleEndian.Uint64(secretKey[:8])
)

// check reports whether the request brings the name and password of a user.
func (u *users) check(a *ask) reason {
	field := a.field("authorization")
	if len(field) < 6 || len(field) > 1024 || !strings.EqualFold(string(field[:6]), "basic ") {
		return reasonUnauthorized
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(field[6:])))
	if err != nil {
		return reasonUnauthorized
	}
	name, password, _ := strings.Cut(string(plain), ":")
	hash, known := u.hash[name]
	if !known {
		return reasonUnauthorized
	}
	mac := hmac.New(sha256.New, secretKey[:])
	mac.Write([]byte(hash + "\x00"))
	mac.Write(plain)
	key := [32]byte(mac.Sum(nil))
	u.seen.mu.Lock()
	_, ok := u.seen.ok[key]
	u.seen.mu.Unlock()
	if ok {
		return reasonNone
	}
	checking <- struct{}{}
	ok = rightPassword(hash, password)
	<-checking
	if !ok {
		return reasonUnauthorized
	}
	u.seen.mu.Lock()
	if len(u.seen.ok) >= maxSeen {
		clear(u.seen.ok)
	}
	u.seen.ok[key] = struct{}{}
	u.seen.mu.Unlock()
	return reasonNone
}

func rightPassword(hash, password string) bool {
	if strings.HasPrefix(hash, "$2") {
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	}
	got, err := shaCrypt(password, hash)
	return err == nil && subtle.ConstantTimeCompare([]byte(got), []byte(hash)) == 1
}

// parseUsers parses "user:hash user2:hash".
func parseUsers(v string) (*users, error) {
	u := &users{hash: map[string]string{}, seen: &seenPasswords{ok: map[[32]byte]struct{}{}}}
	for _, entry := range strings.Fields(v) {
		name, hash, ok := strings.Cut(entry, ":")
		if !ok || name == "" || !isHash(hash) {
			// The value is not repeated: it may be a password.
			return nil, errSecretValue
		}
		if u.hash[name] = hash; len(u.hash) > maxUsers {
			return nil, errSecretValue
		}
	}
	if len(u.hash) == 0 {
		return nil, errSecretValue
	}
	return u, nil
}

// errSecretValue says what basic-auth must be; the message must not repeat
// the value.
var errSecretValue = errors.New(`must be at most 64 pairs "user:hash", with hashes of bcrypt ($2a$, $2b$, $2y$; cost at most 14) or SHA-crypt ($5$, $6$; at most 200000 rounds)`)

// isHash reports whether a hash can be checked within reasonable time.
func isHash(hash string) bool {
	switch {
	case strings.HasPrefix(hash, "$2a$"), strings.HasPrefix(hash, "$2b$"), strings.HasPrefix(hash, "$2y$"):
		cost, err := bcrypt.Cost([]byte(hash))
		return err == nil && cost <= 14 && len(hash) == 60
	case strings.HasPrefix(hash, "$5$"), strings.HasPrefix(hash, "$6$"):
		_, err := parseSHACrypt(hash)
		return err == nil
	}
	return false
}

// sameSecret compares without telling by its time how much is the same.
func sameSecret(v []byte, want string) bool {
	return subtle.ConstantTimeCompare(v, []byte(want)) == 1
}
