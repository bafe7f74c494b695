package router

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol, versions 1 and 2: a load balancer in front of us begins
// each connection with a header that names the client.
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
const (
	proxyV2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyV1Longest   = 107     // bytes, the end of the line included
	proxyV1Shortest  = 15      // "PROXY UNKNOWN\r\n"; also less than version 2's
	proxyV2Head      = 16      // before addresses and extensions
	proxyV2Longest   = 4 << 10 // of addresses and extensions; a limit of ours
)

var errNoProxyHeader = errors.New("no PROXY header")

// readProxyHeader reads a PROXY header and not a byte more. It returns the
// client, or nothing if the header names none: a health check of the load
// balancer, or a client that has no address.
func readProxyHeader(in io.Reader) (netip.AddrPort, error) {
	var buf [proxyV1Longest]byte
	head := buf[:proxyV1Shortest]
	if _, err := io.ReadFull(in, head); err != nil {
		return netip.AddrPort{}, err
	}
	if string(head[:len(proxyV2Signature)]) == proxyV2Signature {
		head = buf[:proxyV2Head]
		if _, err := io.ReadFull(in, head[proxyV1Shortest:]); err != nil {
			return netip.AddrPort{}, err
		}
		return readProxyV2(head, in)
	}
	if !bytes.HasPrefix(head, []byte("PROXY ")) {
		return netip.AddrPort{}, errNoProxyHeader
	}
	for n := len(head); !bytes.HasSuffix(head, []byte("\r\n")); n++ {
		if n == len(buf) {
			return netip.AddrPort{}, errors.New("PROXY header without an end")
		}
		if _, err := io.ReadFull(in, buf[n:n+1]); err != nil {
			return netip.AddrPort{}, err
		}
		head = buf[:n+1]
	}
	return parseProxyV1(string(head[:len(head)-2]))
}

// parseProxyV1 parses "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443".
func parseProxyV1(line string) (netip.AddrPort, error) {
	bad := fmt.Errorf("malformed PROXY header %q", line)
	if strings.ContainsAny(line, "\r\n\x00") {
		return netip.AddrPort{}, bad
	}
	f := strings.Split(line, " ")
	if len(f) >= 2 && f[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil // whatever follows is to be ignored
	}
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return netip.AddrPort{}, bad
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		addr, err := netip.ParseAddr(f[2+i])
		port, ok := parsePort(f[4+i])
		if err != nil || !ok || addr.Zone() != "" || addr.Is4() != (f[1] == "TCP4") {
			return netip.AddrPort{}, bad
		}
		ends[i] = netip.AddrPortFrom(addr.Unmap(), port)
	}
	return ends[0], nil
}

func parsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && s == strconv.FormatUint(n, 10)
}

// readProxyV2 reads what follows the head of version 2:
//
//	12 signature · 1 version and command · 1 family and transport · 2 length
//	length bytes: source, destination, source port, destination port, extensions
func readProxyV2(head []byte, in io.Reader) (netip.AddrPort, error) {
	command, family := head[12], head[13]
	length := int(binary.BigEndian.Uint16(head[14:]))
	if command != 0x20 && command != 0x21 {
		return netip.AddrPort{}, fmt.Errorf("PROXY header with version and command %#x", command)
	}
	if length > proxyV2Longest {
		return netip.AddrPort{}, fmt.Errorf("PROXY header of %d bytes", length)
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(in, rest); err != nil {
		return netip.AddrPort{}, err
	}
	if command == 0x20 {
		return netip.AddrPort{}, nil // the load balancer speaks for itself
	}
	size := 0
	switch family {
	case 0x00, 0x31, 0x32: // not told, or a unix socket
		return netip.AddrPort{}, nil
	case 0x11, 0x12:
		size = 4
	case 0x21, 0x22:
		size = 16
	default:
		return netip.AddrPort{}, fmt.Errorf("PROXY header with family and transport %#x", family)
	}
	if length < 2*size+4 {
		return netip.AddrPort{}, errors.New("PROXY header too short for its addresses")
	}
	if !extensionsFit(rest[2*size+4:]) {
		return netip.AddrPort{}, errors.New("PROXY header with malformed extensions")
	}
	addr, _ := netip.AddrFromSlice(rest[:size])
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(rest[2*size:])), nil
}

// extensionsFit reports whether b is a sequence of extensions: type, length in
// two bytes, value. What they say is of no use to us.
func extensionsFit(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 3 {
			return false
		}
		n := 3 + int(binary.BigEndian.Uint16(b[1:]))
		if n > len(b) {
			return false
		}
		b = b[n:]
	}
	return true
}
