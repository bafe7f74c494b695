package load

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// records is the record layer of a TLS 1.3 connection after its handshake.
// crypto/tls does the handshake, but its connection wants a goroutine that
// waits; an event loop needs the records themselves.
type records struct {
	in, out half
}

// half is one direction.
type half struct {
	aead  cipher.AEAD
	iv    [12]byte
	nonce [12]byte
	seq   uint64
}

const (
	recordHead  = 5
	recordTag   = 16
	typeAlert   = 21
	typeShake   = 22
	typeData    = 23
	maxRecordIn = 1<<14 + 256
)

// shake makes a handshake on conn and returns the record layer from there on.
// It reads not one byte more than the handshake.
func shake(conn net.Conn, cfg *tls.Config) (*records, error) {
	var keys bytes.Buffer
	cfg = cfg.Clone()
	cfg.KeyLogWriter = &keys
	cfg.MinVersion = tls.VersionTLS13
	c := tls.Client(&byRecord{Conn: conn}, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	st := c.ConnectionState()
	if st.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return nil, fmt.Errorf("the proxy chose %s, not the suite all are measured with", tls.CipherSuiteName(st.CipherSuite))
	}
	if want := cfg.NextProtos[0]; st.NegotiatedProtocol != want && (st.NegotiatedProtocol != "" || want == "h2") {
		return nil, fmt.Errorf("the proxy does not speak %s over TLS", want)
	}
	var r records
	for line := range strings.Lines(keys.String()) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		secret, err := hex.DecodeString(f[2])
		if err != nil {
			return nil, err
		}
		switch f[0] {
		case "CLIENT_TRAFFIC_SECRET_0":
			err = r.out.key(secret)
		case "SERVER_TRAFFIC_SECRET_0":
			err = r.in.key(secret)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.in.aead == nil || r.out.aead == nil {
		return nil, errors.New("the handshake left no traffic keys")
	}
	return &r, nil
}

// key derives key and nonce from a traffic secret: RFC 8446 §7.3.
func (h *half) key(secret []byte) error {
	key, err := expandLabel(secret, "key", 16)
	if err != nil {
		return err
	}
	iv, err := expandLabel(secret, "iv", 12)
	if err != nil {
		return err
	}
	copy(h.iv[:], iv)
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	h.aead, err = cipher.NewGCM(block)
	return err
}

func expandLabel(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := append([]byte{byte(n >> 8), byte(n), byte(len(label))}, label...)
	return hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
}

func (h *half) next() []byte {
	h.nonce = h.iv
	seq := binary.BigEndian.Uint64(h.nonce[4:]) ^ h.seq
	binary.BigEndian.PutUint64(h.nonce[4:], seq)
	h.seq++
	return h.nonce[:]
}

// seal appends data to dst as one record.
func (r *records) seal(dst, data []byte) []byte {
	n := len(data) + 1 + recordTag
	at := len(dst)
	dst = slices.Grow(dst, recordHead+n)
	dst = append(dst, typeData, 3, 3, byte(n>>8), byte(n))
	dst = append(dst, data...)
	dst = append(dst, typeData)
	body := dst[at+recordHead:]
	sealed := r.out.aead.Seal(body[:0], r.out.next(), body, dst[at:at+recordHead])
	return dst[:at+recordHead+len(sealed)]
}

// open decrypts the first record of b in place. It returns how long the record
// is, zero if it is not complete, and its data, nil for anything but data.
func (r *records) open(b []byte) (n int, data []byte, err error) {
	if len(b) < recordHead {
		return 0, nil, nil
	}
	n = recordHead + int(binary.BigEndian.Uint16(b[3:]))
	if n > recordHead+maxRecordIn {
		return 0, nil, errors.New("a record that is too long")
	}
	if len(b) < n {
		return 0, nil, nil
	}
	body := b[recordHead:n]
	plain, err := r.in.aead.Open(body[:0], r.in.next(), body, b[:recordHead])
	if err != nil {
		return 0, nil, err
	}
	plain = bytes.TrimRight(plain, "\x00")
	if len(plain) == 0 {
		return 0, nil, errors.New("a record without a type")
	}
	switch t := plain[len(plain)-1]; t {
	case typeData:
		return n, plain[:len(plain)-1], nil
	case typeShake: // a ticket
		return n, nil, nil
	case typeAlert:
		return 0, nil, io.EOF
	default:
		return 0, nil, fmt.Errorf("a record of type %d", t)
	}
}

// byRecord lets crypto/tls read no further than the record it asks for.
type byRecord struct {
	net.Conn
	rest []byte
}

func (c *byRecord) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		var head [recordHead]byte
		if _, err := io.ReadFull(c.Conn, head[:]); err != nil {
			return 0, err
		}
		c.rest = make([]byte, recordHead+int(binary.BigEndian.Uint16(head[3:])))
		copy(c.rest, head[:])
		if _, err := io.ReadFull(c.Conn, c.rest[recordHead:]); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}
