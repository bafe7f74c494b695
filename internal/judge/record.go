package judge

import (
	"encoding/binary"
	"errors"
	"math"
)

// A record is what a Judge was told, one entry after the other. Each begins
// with a letter:
//
//	b           Begin
//	c n         Cool
//	r           Restart
//	a share stable candidate clients
//	            Add; versions are requests, bad, custom and the latencies as
//	            pairs of distance to the last bucket and count, ended by 0
//	m share stable candidate clients marked marked clients
//	            Add with marked answers: how many of the stable version and of
//	            the candidate, and their clients
//
// Numbers are varints, the share is eight bytes, little-endian.

// AppendBegin appends that a step began.
func AppendBegin(record []byte) []byte { return append(record, 'b') }

// AppendCool appends that the candidate's next n requests are not judged by
// their latency.
func AppendCool(record []byte, n int64) []byte {
	return binary.AppendVarint(append(record, 'c'), n)
}

// AppendRestart appends that the Judge was read back from what was kept.
func AppendRestart(record []byte) []byte { return append(record, 'r') }

// AppendBatch appends a batch.
func AppendBatch(record []byte, b *Batch) []byte {
	op, isMarked := byte('a'), b.Stable.Marked+b.Candidate.Marked+uint64(len(b.MarkedClients)) > 0
	if isMarked {
		op = 'm'
	}
	record = binary.LittleEndian.AppendUint64(append(record, op), math.Float64bits(b.Share))
	record = appendCounts(record, &b.Stable)
	record = appendCounts(record, &b.Candidate)
	record = appendClients(record, b.BadClients)
	if isMarked {
		record = binary.AppendUvarint(record, b.Stable.Marked)
		record = binary.AppendUvarint(record, b.Candidate.Marked)
		record = appendClients(record, b.MarkedClients)
	}
	return record
}

func appendClients(record []byte, bad []BadClient) []byte {
	record = binary.AppendUvarint(record, uint64(len(bad)))
	for _, c := range bad {
		of := byte(0)
		if c.Candidate {
			of = 1
		}
		record = append(binary.LittleEndian.AppendUint64(record, c.Client), of)
	}
	return record
}

func appendCounts(record []byte, c *Counts) []byte {
	record = binary.AppendUvarint(record, c.Requests)
	record = binary.AppendUvarint(record, c.Bad)
	record = binary.AppendUvarint(record, c.Custom)
	last := -1
	for i, n := range c.Latency {
		if n > 0 {
			record = binary.AppendUvarint(record, uint64(i-last))
			record = binary.AppendUvarint(record, uint64(n))
			last = i
		}
	}
	return append(record, 0)
}

var errDamaged = errors.New("judge: the record is damaged")

// Replay tells a new Judge what a record says. After each entry it calls each,
// unless that is nil, with the number of bytes read so far.
func Replay(cfg Config, record []byte, each func(at int, j *Judge)) (*Judge, error) {
	j := New(cfg)
	r := &reader{rest: record}
	for len(r.rest) > 0 && !r.bad {
		op := r.rest[0]
		r.rest = r.rest[1:]
		switch op {
		case 'b':
			j.Begin()
		case 'c':
			j.Cool(r.signed())
		case 'r':
			if j.clients != nil {
				j.clients.Forget()
			}
		case 'a', 'm':
			if b := r.batch(op == 'm'); !r.bad {
				j.Add(&b)
			}
		default:
			r.bad = true
		}
		if each != nil && !r.bad {
			each(len(record)-len(r.rest), j)
		}
	}
	if r.bad {
		return nil, errDamaged
	}
	return j, nil
}

// reader reads a record; bad says that it could not.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	return v * r.take(n)
}

func (r *reader) signed() int64 {
	v, n := binary.Varint(r.rest)
	return v * int64(r.take(n))
}

// take moves on by n bytes and returns 1, or 0 if there was nothing to read.
func (r *reader) take(n int) uint64 {
	if n <= 0 || n > len(r.rest) {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return 1
}

func (r *reader) fixed() uint64 {
	if len(r.rest) < 8 {
		r.take(0)
		return 0
	}
	v := binary.LittleEndian.Uint64(r.rest)
	r.take(8)
	return v
}

func (r *reader) batch(isMarked bool) (b Batch) {
	b.Share = math.Float64frombits(r.fixed())
	r.counts(&b.Stable)
	r.counts(&b.Candidate)
	b.BadClients = r.clients()
	if isMarked {
		b.Stable.Marked, b.Candidate.Marked = r.number(), r.number()
		b.MarkedClients = r.clients()
	}
	return b
}

func (r *reader) clients() (all []BadClient) {
	n := r.number()
	if n > uint64(len(r.rest)/9) {
		r.bad = true
		return nil
	}
	for range n {
		c := BadClient{Client: r.fixed()}
		c.Candidate = len(r.rest) > 0 && r.rest[0] == 1
		r.take(1)
		all = append(all, c)
	}
	return all
}

func (r *reader) counts(c *Counts) {
	c.Requests, c.Bad, c.Custom = r.number(), r.number(), r.number()
	for at := -1; !r.bad; {
		step := r.number()
		if step == 0 {
			return
		}
		if step > Buckets || at+int(step) >= Buckets {
			r.bad = true
			return
		}
		at += int(step)
		c.Latency[at] = uint32(r.number())
	}
}
