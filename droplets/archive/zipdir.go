package archive

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
)

// What stands where in a zip, APPNOTE.TXT 4.3:
//
//	[local header, name, extra][data][data descriptor] …   one per entry
//	[central header, name, extra, comment] …               the directory
//	[zip64 end][zip64 locator]                             when it is large
//	[end of directory, comment]
const (
	sigLocal    = 0x04034b50
	sigCentral  = 0x02014b50
	sigEnd      = 0x06054b50
	sigEnd64    = 0x06064b50
	sigLocator  = 0x07064b50
	lenLocal    = 30
	lenCentral  = 46
	lenEnd      = 22
	lenEnd64    = 56
	lenLocator  = 20
	extraZip64  = 0x0001
	flagCrypt   = 0x0001 | 0x0040 | 0x2000
	flagStreams = 0x0008 // sizes follow the data
	max32       = math.MaxUint32

	// maxExtras bounds what extra fields and comments of a whole archive may
	// take, because the library keeps them all.
	maxExtras = 64 << 20
)

// zipEntry is what the directory of a zip says about one entry.
type zipEntry struct {
	name         string
	creator      uint8 // the system the attributes belong to
	flags        uint16
	method       uint16
	crc          uint32
	packed, size uint64
	attrs        uint32
	offset       uint64 // of the local header
}

// le reads little-endian numbers off the front of a slice that is known to be
// long enough.
type le []byte

func (b *le) u16() uint16 {
	v := binary.LittleEndian.Uint16(*b)
	*b = (*b)[2:]
	return v
}

func (b *le) u32() uint32 {
	v := binary.LittleEndian.Uint32(*b)
	*b = (*b)[4:]
	return v
}

func (b *le) u64() uint64 {
	v := binary.LittleEndian.Uint64(*b)
	*b = (*b)[8:]
	return v
}

var errZipDirectory = errors.New("zip: the directory makes no sense")

// readZipDirectory reads the directory and holds it against the local headers.
// Libraries believe the directory alone, other tools the local headers; an
// archive in which they differ, or in which entries share data, was made to
// deceive. Nothing is decompressed.
func readZipDirectory(src io.ReaderAt, size int64, l Limits) ([]zipEntry, error) {
	count, start, length, err := findZipDirectory(src, size)
	if err != nil {
		return nil, err
	}
	if count > uint64(l.Entries) {
		return nil, tooManyEntries(l)
	}
	entries := make([]zipEntry, 0, count)
	r := bufio.NewReaderSize(io.NewSectionReader(src, start, length), 64<<10)
	left := le(nil)
	var names, extras int
	for range count {
		e, n, x, err := readCentral(r, &left)
		if err != nil {
			return nil, broken(TitleCorrupt, "", err)
		}
		names, extras = names+n, extras+x
		if names > maxNames || extras > maxExtras {
			return nil, tooManyEntries(l)
		}
		entries = append(entries, e)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, broken(TitleCorrupt, "", errZipDirectory)
	}
	if err := checkLocals(src, entries, start); err != nil {
		return nil, err
	}
	return entries, checkDeclared(entries, l)
}

// findZipDirectory finds the directory from the end of the file.
func findZipDirectory(src io.ReaderAt, size int64) (count uint64, start, length int64, err error) {
	tail := make([]byte, min(size, lenEnd+math.MaxUint16+lenLocator))
	base := size - int64(len(tail))
	if _, err := src.ReadAt(tail, base); err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, 0, broken(TitleTruncated, "", err)
	}
	at := bytes.LastIndex(tail, []byte("PK\x05\x06"))
	if at < 0 || len(tail)-at < lenEnd {
		return 0, 0, 0, broken(TitleTruncated, "", errors.New("zip: no end of directory"))
	}
	b := le(tail[at+4:])
	disk, dirDisk, here := b.u16(), b.u16(), b.u16()
	count, dirSize, dirOffset := uint64(b.u16()), uint64(b.u32()), uint64(b.u32())
	if comment := int(b.u16()); comment != len(b) {
		return 0, 0, 0, broken(TitleTruncated, "", errors.New("zip: the comment does not fill the end of the file"))
	}
	end := base + int64(at)
	if is64 := count == math.MaxUint16 || dirSize == max32 || dirSize == math.MaxUint16 || dirOffset == max32; is64 && at >= lenLocator {
		c, s, o, e, ok, err := readEnd64(src, tail[at-lenLocator:at], end-lenLocator)
		if err != nil {
			return 0, 0, 0, err
		}
		if ok {
			count, dirSize, dirOffset, end = c, s, o, e
			here = uint16(count)
		}
	}
	if disk != dirDisk || (disk != 0 && disk != math.MaxUint16) || here != uint16(count) {
		return 0, 0, 0, Refuse(TitleMultiPart, "the zip archive is one part of several")
	}
	if dirSize > uint64(end) || dirOffset != uint64(end)-dirSize {
		return 0, 0, 0, broken(TitleCorrupt, "", errors.New("zip: the directory is not where the archive says"))
	}
	return count, int64(dirOffset), int64(dirSize), nil
}

// readEnd64 follows a zip64 locator to the larger end record.
func readEnd64(src io.ReaderAt, locator []byte, locatorAt int64) (count, dirSize, dirOffset uint64, at int64, ok bool, err error) {
	b := le(locator)
	if b.u32() != sigLocator {
		return 0, 0, 0, 0, false, nil
	}
	disk, where, disks := b.u32(), b.u64(), b.u32()
	if disk != 0 || disks > 1 {
		return 0, 0, 0, 0, false, Refuse(TitleMultiPart, "the zip archive is one part of several")
	}
	bad := broken(TitleCorrupt, "", errors.New("zip: no zip64 end of directory"))
	if where > uint64(locatorAt) || uint64(locatorAt)-where < lenEnd64 {
		return 0, 0, 0, 0, false, bad
	}
	buf := make([]byte, lenEnd64)
	if _, err := src.ReadAt(buf, int64(where)); err != nil {
		return 0, 0, 0, 0, false, bad
	}
	b = le(buf)
	if b.u32() != sigEnd64 {
		return 0, 0, 0, 0, false, bad
	}
	b = b[8+2+2+4+4+8:] // its length, versions, disks, entries on this disk
	return b.u64(), b.u64(), b.u64(), int64(where), true, nil
}

// readCentral reads one header of the directory and says how long its name and
// its other trimmings are.
func readCentral(r io.Reader, buf *le) (e zipEntry, names, extras int, err error) {
	var head [lenCentral]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return e, 0, 0, err
	}
	b := le(head[:])
	if b.u32() != sigCentral {
		return e, 0, 0, errZipDirectory
	}
	b.u16()
	e.creator = head[5]
	b.u16()
	e.flags, e.method = b.u16(), b.u16()
	b.u32() // time
	e.crc, e.packed, e.size = b.u32(), uint64(b.u32()), uint64(b.u32())
	nameLen, extraLen, commentLen := int(b.u16()), int(b.u16()), int(b.u16())
	b.u32() // disk, internal attributes
	e.attrs, e.offset = b.u32(), uint64(b.u32())
	total := nameLen + extraLen + commentLen
	if cap(*buf) < total {
		*buf = make(le, total)
	}
	rest := (*buf)[:total]
	if _, err := io.ReadFull(r, rest); err != nil {
		return e, 0, 0, err
	}
	e.name = string(rest[:nameLen])
	err = zip64Values(rest[nameLen:nameLen+extraLen], &e.size, &e.packed, &e.offset)
	return e, nameLen, extraLen + commentLen, err
}

// zip64Values replaces each value that is full up by the one the zip64 extra
// field holds for it, in order.
func zip64Values(extra le, values ...*uint64) error {
	full := slices.DeleteFunc(values, func(v *uint64) bool { return *v != max32 })
	for len(full) > 0 && len(extra) >= 4 {
		tag, n := extra.u16(), int(extra.u16())
		if n > len(extra) {
			return nil
		}
		field := extra[:n]
		extra = extra[n:]
		if tag != extraZip64 {
			continue
		}
		for _, v := range full {
			if len(field) < 8 {
				return errZipDirectory
			}
			*v = field.u64()
		}
		return nil
	}
	return nil
}

// checkLocals holds each local header against the directory, and makes sure
// that no byte belongs to two entries.
func checkLocals(src io.ReaderAt, entries []zipEntry, dirStart int64) error {
	order := make([]*zipEntry, len(entries))
	for i := range entries {
		order[i] = &entries[i]
	}
	slices.SortStableFunc(order, func(a, b *zipEntry) int { return cmp.Compare(a.offset, b.offset) })
	var free uint64 // where the last entry ended
	var before string
	buf := make([]byte, lenLocal+1024)
	for _, e := range order {
		if e.offset < free {
			return Refuse(TitleOverlap, "entries %s and %s of the zip archive overlap", quote(before), quote(e.name))
		}
		end, err := checkLocal(src, e, dirStart, &buf)
		if err != nil {
			return err
		}
		free, before = end, e.name
	}
	return nil
}

func checkLocal(src io.ReaderAt, e *zipEntry, dirStart int64, buf *[]byte) (end uint64, err error) {
	if e.offset > uint64(dirStart) || uint64(dirStart)-e.offset < lenLocal {
		return 0, mismatch(e, "place")
	}
	head := (*buf)[:min(int64(len(*buf)), dirStart-int64(e.offset))]
	if _, err := src.ReadAt(head, int64(e.offset)); err != nil {
		return 0, broken(TitleTruncated, e.name, err)
	}
	b := le(head)
	if b.u32() != sigLocal {
		return 0, mismatch(e, "place")
	}
	b.u16()
	flags, method := b.u16(), b.u16()
	b.u32()
	crc, packed, size := b.u32(), uint64(b.u32()), uint64(b.u32())
	nameLen, extraLen := int(b.u16()), int(b.u16())
	trimmings, err := readTrimmings(src, e, dirStart, head, nameLen+extraLen)
	if err != nil {
		return 0, err
	}
	if err := zip64Values(trimmings[nameLen:], &size, &packed); err != nil {
		return 0, mismatch(e, "size")
	}
	end = e.offset + lenLocal + uint64(nameLen+extraLen) + e.packed
	streams := flags&flagStreams != 0
	agrees := func(local, central uint64) bool {
		// Some writers leave the zip64 field out of the local header.
		return local == central || (streams && local == 0) || (local == max32 && (streams || central > max32))
	}
	switch {
	case (e.flags|flags)&flagCrypt != 0:
		return 0, Refuse(TitleEncrypted, "entry %s of the zip archive is encrypted", quote(e.name))
	case string(trimmings[:nameLen]) != e.name:
		return 0, mismatch(e, "name")
	case method != e.method:
		return 0, mismatch(e, "compression")
	case !agrees(size, e.size) || !agrees(packed, e.packed):
		return 0, mismatch(e, "size")
	case !agrees(uint64(crc), uint64(e.crc)):
		return 0, mismatch(e, "checksum")
	case e.packed > uint64(dirStart) || end > uint64(dirStart):
		return 0, Refuse(TitleOverlap, "entry %s of the zip archive overlaps the archive's directory", quote(e.name))
	case e.method == 0 && e.packed != e.size:
		return 0, Refuse(TitleSizeMismatch, "entry %s of the zip archive is stored as it is, yet with two different sizes", quote(e.name))
	}
	return end, nil
}

// readTrimmings returns name and extra field of a local header, of which head
// usually holds all.
func readTrimmings(src io.ReaderAt, e *zipEntry, dirStart int64, head []byte, n int) (le, error) {
	if lenLocal+n <= len(head) {
		return head[lenLocal : lenLocal+n], nil
	}
	if int64(e.offset)+lenLocal+int64(n) > dirStart {
		return nil, mismatch(e, "place")
	}
	b := make([]byte, n)
	if _, err := src.ReadAt(b, int64(e.offset)+lenLocal); err != nil {
		return nil, broken(TitleTruncated, e.name, err)
	}
	return b, nil
}

func mismatch(e *zipEntry, what string) error {
	return Refuse(TitleHeaderMismatch, "the zip archive contradicts itself about the %s of entry %s", what, quote(e.name))
}

// checkDeclared refuses what the directory itself admits is too much. The
// sizes are binding: reading stops at them.
func checkDeclared(entries []zipEntry, l Limits) error {
	var packed, size uint64
	for i := range entries {
		e := &entries[i]
		if e.size > math.MaxInt64/4 || size > math.MaxInt64/4 {
			return tooLarge(l)
		}
		packed += e.packed
		size += e.size
	}
	if size > uint64(l.RatioAfter) && size/uint64(l.Ratio) >= max(packed, 1) {
		return bomb(l)
	}
	if size > uint64(l.Bytes) {
		return tooLarge(l)
	}
	return nil
}

func tooLarge(l Limits) error {
	return Refuse(TitleTooLarge, "the archive holds more than %s", size(l.Bytes))
}

func bomb(l Limits) error {
	return Refuse(TitleBomb, "the archive grows to more than %d times its size when unpacked", l.Ratio)
}
