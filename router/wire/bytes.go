package wire

import "encoding/binary"

// isToken marks the bytes of a token of RFC 9110.
var isToken = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// IsToken reports whether s is a token of RFC 9110, such as a field name.
func IsToken(s string) bool {
	for i := range len(s) {
		if !isToken[s[i]] {
			return false
		}
	}
	return s != ""
}

// isHost marks the bytes of a host name or IPv4 address.
var isHost = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "-._~" {
		t[c] = true
	}
	return t
}()

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// valueEnd returns the index of the first byte of b that may not stand in a
// field value: a control character other than a tab.
func valueEnd(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		// The subtraction borrows, so a byte after one that is really below
		// 0x20 may be flagged too: this only says where to look closer.
		if (w-ones*0x20)&^w&highs != 0 || hasDel(w) {
			for j := i; j < i+8; j++ {
				if isCtl(b[j]) {
					return j
				}
			}
		}
	}
	for ; i < len(b); i++ {
		if isCtl(b[i]) {
			return i
		}
	}
	return i
}

// hasDel reports whether w may hold the byte 0x7f.
func hasDel(w uint64) bool {
	x := w ^ ones*0x7f
	return (x-ones)&^x&highs != 0
}

func isCtl(c byte) bool { return c < 0x20 && c != '\t' || c == 0x7f }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// equalFold reports whether b is the lower-case ASCII text s in any case.
// Only letters of s may differ: b must have no other byte of the kind.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// EqualFold reports whether a and b are equal but for the case of ASCII
// letters.
func EqualFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if 'A' <= x && x <= 'Z' {
			x |= 0x20
		}
		if 'A' <= y && y <= 'Z' {
			y |= 0x20
		}
		if x != y {
			return false
		}
	}
	return true
}

// trim returns b without blanks and tabs around it.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// EachToken calls f for each element of a comma-separated list.
func EachToken(list []byte, f func(token []byte)) {
	for len(list) > 0 {
		i := 0
		for i < len(list) && list[i] != ',' {
			i++
		}
		if t := trim(list[:i]); len(t) > 0 {
			f(t)
		}
		if i == len(list) {
			return
		}
		list = list[i+1:]
	}
}

// AppendUint appends n in decimal.
func AppendUint(dst []byte, n uint64) []byte {
	var buf [20]byte
	i := len(buf)
	for {
		i--
		buf[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return append(dst, buf[i:]...)
		}
	}
}
