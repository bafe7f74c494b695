package staticserver

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// parseUsers reads a password file as htpasswd writes it: bcrypt ($2y$),
// Apache's MD5 ($apr1$) or {SHA}.
func parseUsers(data []byte) (map[string]string, error) {
	users := map[string]string{}
	line := 0
	for text := range strings.Lines(string(data)) {
		line++
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, hash, ok := strings.Cut(text, ":")
		if !ok || name == "" {
			return nil, fmt.Errorf("line %d is not of the form name:hash", line)
		}
		if !knownHash(hash) {
			return nil, fmt.Errorf("line %d: the hash is neither bcrypt, $apr1$ nor {SHA}; make it with htpasswd -B", line)
		}
		users[name] = hash
	}
	if len(users) == 0 {
		return nil, errors.New("it names no user")
	}
	return users, nil
}

func knownHash(hash string) bool {
	for _, prefix := range []string{"$2a$", "$2b$", "$2y$", "$apr1$", "{SHA}"} {
		if strings.HasPrefix(hash, prefix) {
			return true
		}
	}
	return false
}

// gate lets in who knows a password. Hashes are slow on purpose, so an answer
// that was right is remembered by a fast one.
type gate struct {
	users map[string]string
	seen  sync.Map // name → [32]byte, SHA-256 of the right password
}

func (g *gate) admits(r *http.Request) bool {
	name, password, ok := r.BasicAuth()
	if !ok {
		return false
	}
	hash, known := g.users[name]
	if !known {
		return false
	}
	sum := sha256.Sum256([]byte(password))
	if right, ok := g.seen.Load(name); ok {
		want := right.([32]byte)
		if subtle.ConstantTimeCompare(sum[:], want[:]) == 1 {
			return true
		}
	}
	if !matches(password, hash) {
		return false
	}
	g.seen.Store(name, sum)
	return true
}

func matches(password, hash string) bool {
	switch {
	case strings.HasPrefix(hash, "{SHA}"):
		sum := sha1.Sum([]byte(password))
		want := base64.StdEncoding.EncodeToString(sum[:])
		return subtle.ConstantTimeCompare([]byte(want), []byte(hash[5:])) == 1
	case strings.HasPrefix(hash, "$apr1$"):
		salt, _, _ := strings.Cut(hash[6:], "$")
		return subtle.ConstantTimeCompare([]byte(apr1(password, salt)), []byte(hash)) == 1
	}
	// bcrypt's variants differ in name only, as far as this library goes.
	return bcrypt.CompareHashAndPassword([]byte("$2a$"+hash[4:]), []byte(password)) == nil
}

// apr1 is Apache's variant of the MD5 crypt of BSD.
func apr1(password, salt string) string {
	salt = salt[:min(8, len(salt))]
	inner := md5.Sum([]byte(password + salt + password))
	data := []byte(password + "$apr1$" + salt)
	for n := len(password); n > 0; n -= 16 {
		data = append(data, inner[:min(16, n)]...)
	}
	for n := len(password); n > 0; n >>= 1 {
		if n&1 == 1 {
			data = append(data, 0)
		} else {
			data = append(data, password[0])
		}
	}
	sum := md5.Sum(data)
	for i := range 1000 {
		var round []byte
		part := func(odd bool) {
			if odd {
				round = append(round, password...)
			} else {
				round = append(round, sum[:]...)
			}
		}
		part(i%2 == 1)
		if i%3 != 0 {
			round = append(round, salt...)
		}
		if i%7 != 0 {
			round = append(round, password...)
		}
		part(i%2 == 0)
		sum = md5.Sum(round)
	}
	return "$apr1$" + salt + "$" + encode64(sum)
}

// encode64 is the base 64 of crypt(3), with its order of bytes.
func encode64(sum [16]byte) string {
	const digits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var out []byte
	put := func(v uint, n int) {
		for range n {
			out = append(out, digits[v&0x3f])
			v >>= 6
		}
	}
	for _, i := range [][3]int{{0, 6, 12}, {1, 7, 13}, {2, 8, 14}, {3, 9, 15}, {4, 10, 5}} {
		put(uint(sum[i[0]])<<16|uint(sum[i[1]])<<8|uint(sum[i[2]]), 4)
	}
	put(uint(sum[11]), 2)
	return string(out)
}
