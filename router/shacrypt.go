package router

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"strconv"
	"strings"
)

// shaCrypt checks and makes hashes of the SHA-crypt scheme ("$5$" with
// SHA-256, "$6$" with SHA-512), as crypt(3) and mkpasswd do. The scheme is
// Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512" of 2008.
type shaCryptSpec struct {
	prefix   string
	salt     string
	rounds   int
	explicit bool // the rounds stand in the hash
	new      func() hash.Hash
	order    []byte // of the digest's bytes, three per group
}

const (
	defaultRounds = 5000
	minRounds     = 1000
	maxRounds     = 200_000
)

var errNotSHACrypt = errors.New("not a SHA-crypt hash")

// parseSHACrypt reads everything but the digest of a hash.
func parseSHACrypt(hash string) (s shaCryptSpec, err error) {
	digest := 0
	switch {
	case strings.HasPrefix(hash, "$5$"):
		s = shaCryptSpec{prefix: "$5$", new: sha256.New, order: order256}
		digest = 43
	case strings.HasPrefix(hash, "$6$"):
		s = shaCryptSpec{prefix: "$6$", new: sha512.New, order: order512}
		digest = 86
	default:
		return s, errNotSHACrypt
	}
	s.rounds = defaultRounds
	parts := strings.Split(hash[3:], "$")
	if len(parts) == 3 {
		digits, ok := strings.CutPrefix(parts[0], "rounds=")
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || n < minRounds || n > maxRounds {
			return s, errNotSHACrypt
		}
		s.rounds, s.explicit = n, true
		parts = parts[1:]
	}
	if len(parts) != 2 || len(parts[0]) > 16 || len(parts[1]) != digest {
		return s, errNotSHACrypt
	}
	s.salt = parts[0]
	return s, nil
}

// shaCrypt hashes a password with the salt and the rounds of a given hash.
func shaCrypt(password, like string) (string, error) {
	s, err := parseSHACrypt(like)
	if err != nil {
		return "", err
	}
	sum := s.first([]byte(password))
	p, salt := s.sequences([]byte(password), sum[0])
	for i := range s.rounds {
		h := s.new()
		if i&1 != 0 {
			h.Write(p)
		} else {
			h.Write(sum)
		}
		if i%3 != 0 {
			h.Write(salt)
		}
		if i%7 != 0 {
			h.Write(p)
		}
		if i&1 != 0 {
			h.Write(sum)
		} else {
			h.Write(p)
		}
		sum = h.Sum(sum[:0])
	}
	out := s.prefix
	if s.explicit {
		out += "rounds=" + strconv.Itoa(s.rounds) + "$"
	}
	return out + s.salt + "$" + s.encode(sum), nil
}

// first is the digest the rounds begin with.
func (s *shaCryptSpec) first(password []byte) []byte {
	b := s.new()
	b.Write(password)
	b.Write([]byte(s.salt))
	b.Write(password)
	other := b.Sum(nil)
	a := s.new()
	a.Write(password)
	a.Write([]byte(s.salt))
	writeRepeated(a, other, len(password))
	for n := len(password); n > 0; n >>= 1 {
		if n&1 != 0 {
			a.Write(other)
		} else {
			a.Write(password)
		}
	}
	return a.Sum(nil)
}

// sequences stretches password and salt to what the rounds mix in.
func (s *shaCryptSpec) sequences(password []byte, first byte) (p, salt []byte) {
	h := s.new()
	for range password {
		h.Write(password)
	}
	p = repeated(h.Sum(nil), len(password))
	h = s.new()
	for range 16 + int(first) {
		h.Write([]byte(s.salt))
	}
	return p, repeated(h.Sum(nil), len(s.salt))
}

func writeRepeated(h hash.Hash, b []byte, n int) { h.Write(repeated(b, n)) }

// repeated returns n bytes of b, over and over.
func repeated(b []byte, n int) []byte {
	out := make([]byte, 0, n)
	for len(out) < n {
		out = append(out, b[:min(len(b), n-len(out))]...)
	}
	return out
}

// The bytes of the digest in the order they are written, three for each group
// of four letters, the most significant first.
var (
	order256 = cryptOrder(10, 20)
	order512 = cryptOrder(21, 42)
)

// cryptOrder begins with the bytes 0, step and twice the step of a digest of
// three times step bytes; each further group takes the same three rotated
// and one further.
func cryptOrder(b, c int) (order []byte) {
	a := [3]int{0, b, c}
	for range b {
		order = append(order, byte(a[0]), byte(a[1]), byte(a[2]))
		if b == 10 {
			a = [3]int{a[2] + 1, a[0] + 1, a[1] + 1}
		} else {
			a = [3]int{a[1] + 1, a[2] + 1, a[0] + 1}
		}
	}
	return order
}

func (s *shaCryptSpec) encode(sum []byte) string {
	const letters = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var out []byte
	group := func(w uint, n int) {
		for ; n > 0; n-- {
			out = append(out, letters[w&63])
			w >>= 6
		}
	}
	for i := 0; i < len(s.order); i += 3 {
		o := s.order[i : i+3]
		group(uint(sum[o[0]])<<16|uint(sum[o[1]])<<8|uint(sum[o[2]]), 4)
	}
	if len(sum) == 32 {
		group(uint(sum[31])<<8|uint(sum[30]), 3)
	} else {
		group(uint(sum[63]), 2)
	}
	return string(out)
}
