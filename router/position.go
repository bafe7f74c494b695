package router

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"
)

// sticky keeps a user with one version. What is kept is not the version but
// the user's position in the unit interval, which the shares of the versions
// divide: who is among the first 5 % is among the first 25 % too, and a
// version whose share becomes 0 loses everybody at once. The router remembers
// nothing.
type sticky struct {
	by       stickyBy
	header   string // in lower case
	fixed    bool   // the salt does not change with rollouts
	cookie   string // its name
	maxAge   time.Duration
	sameSite string

	salt uint64
}

type stickyBy uint8

const (
	stickyOff stickyBy = iota
	stickyCookie
	stickyHeader
	stickyIP
)

// seal computes the salt of a route.
func (s *sticky) seal(src *Route) {
	s.salt = hashText(src.GUID, 0)
	if !s.fixed {
		s.salt = mix(s.salt ^ src.Cohort)
	}
}

// name returns the name of the cookie.
func (s *sticky) appendName(b []byte, secure bool) []byte {
	if secure {
		// Browsers take it only from this very host, over https.
		b = append(b, "__Host-"...)
	}
	return append(b, s.cookie...)
}

// position returns where the user stands, and false if the request does not
// say who it is.
func (s *sticky) position(a *ask) (u uint64, ok bool) {
	switch s.by {
	case stickyCookie:
		var name [80]byte
		kept, ok := parsePosition(a.cookie(s.appendName(name[:0], a.secure)))
		return s.place(kept), ok
	case stickyHeader:
		if v := a.field(s.header); len(v) > 0 {
			return hashText(v, s.salt), true
		}
	case stickyIP:
		return hashAddr(a.client, s.salt), true
	}
	return 0, false
}

// place returns where a position kept by a client stands now.
func (s *sticky) place(kept uint32) uint64 {
	if s.fixed {
		return uint64(kept)<<32 | uint64(kept)
	}
	return mix(uint64(kept) ^ s.salt)
}

// fresh draws a position for a new user.
func (s *sticky) fresh() uint32 { return rand.Uint32() }

const positionDigits = 8

// parsePosition reads the value of the cookie: eight hex digits.
func parsePosition(v []byte) (kept uint32, ok bool) {
	if len(v) != positionDigits {
		return 0, false
	}
	for _, c := range v {
		switch {
		case '0' <= c && c <= '9':
			kept = kept<<4 | uint32(c-'0')
		case 'a' <= c && c <= 'f':
			kept = kept<<4 | uint32(c-'a'+10)
		default:
			return 0, false
		}
	}
	return kept, true
}

// appendCookie appends the line that gives a client its position.
func (s *sticky) appendCookie(b []byte, kept uint32, secure bool) []byte {
	b = append(b, "Set-Cookie: "...)
	b = s.appendName(b, secure)
	b = append(b, '=')
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[kept>>shift&15])
	}
	b = append(b, "; Path=/"...)
	if s.maxAge > 0 {
		b = append(b, "; Max-Age="...)
		b = strconv.AppendInt(b, int64(s.maxAge/time.Second), 10)
	}
	b = append(b, "; HttpOnly; SameSite="...)
	b = append(b, s.sameSite...)
	if secure {
		b = append(b, "; Secure"...)
	}
	return append(b, "\r\n"...)
}

// cookie returns the value of the first cookie with this name; nil if there
// is none.
func (a *ask) cookie(name []byte) []byte {
	rest := a.field("cookie")
	for len(rest) > 0 {
		var pair []byte
		pair, rest = cutByte(rest, ';')
		for len(pair) > 0 && (pair[0] == ' ' || pair[0] == '\t') {
			pair = pair[1:]
		}
		if len(pair) > len(name) && pair[len(name)] == '=' && string(pair[:len(name)]) == string(name) {
			return pair[len(name)+1:]
		}
	}
	return nil
}

func cutByte(b []byte, sep byte) (before, after []byte) {
	for i, c := range b {
		if c == sep {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

// hashText hashes text in the same way in every process: routers agree.
func hashText[T string | []byte](s T, salt uint64) uint64 {
	h := uint64(0xcbf29ce484222325) ^ salt
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return mix(h)
}

// hashAddr hashes a client's address: of IPv6 the network of one customer.
func hashAddr(a netip.Addr, salt uint64) uint64 {
	a = a.Unmap()
	b := a.As16()
	n := 16
	if a.Is6() {
		n = 8
	}
	return hashText(b[:n], salt)
}

// mix spreads the bits of h (the finaliser of SplitMix64).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
