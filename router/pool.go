package router

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
)

// pool is a Destination made ready for choosing, as far as it is the same for
// all routes that lead there. Routes share it, so that a million of them over
// a few apps cost little more than their names. It never changes.
type pool struct {
	src      *Destination
	http2    bool
	backends []*backend
	match    []condition

	hash uint64
	refs int // guarded by Router.writer
}

// pools are the pools in use, by the hash of what they say.
type pools struct {
	byHash   map[uint64][]*pool
	backends *backends
}

// acquire returns the pool for src with one more reference. The caller holds
// Router.writer.
func (s *pools) acquire(src *Destination) *pool {
	hash := hashDestination(src)
	for _, p := range s.byHash[hash] {
		if sameDestination(p.src, src) {
			p.refs++
			return p
		}
	}
	own := *src
	p := &pool{src: &own, http2: own.Protocol == ProtocolHTTP2, hash: hash, refs: 1, match: compileMatch(own.Match)}
	for _, b := range own.Backends {
		p.backends = append(p.backends, s.backends.acquire(b))
	}
	s.byHash[hash] = append(s.byHash[hash], p)
	return p
}

// release takes back one reference. A table without it must have been
// published before.
func (s *pools) release(p *pool) {
	if p.refs--; p.refs > 0 {
		return
	}
	left := slices.DeleteFunc(s.byHash[p.hash], func(o *pool) bool { return o == p })
	if len(left) == 0 {
		delete(s.byHash, p.hash)
	} else {
		s.byHash[p.hash] = left
	}
	for _, b := range p.backends {
		s.backends.release(b)
	}
}

// hashDestination hashes what tells most destinations apart.
func hashDestination(d *Destination) uint64 {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	text := func(s string) {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	text(d.AppGUID)
	text(d.Process)
	text(d.Version)
	for i := range d.Backends {
		text(d.Backends[i].InstanceGUID)
		text(d.Backends[i].Addr)
	}
	var n [16]byte
	binary.LittleEndian.PutUint64(n[:], uint64(d.Weight))
	binary.LittleEndian.PutUint64(n[8:], d.Split)
	_, _ = h.Write(n[:])
	return h.Sum64()
}
