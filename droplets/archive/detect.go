package archive

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/mholt/archiver/v4"
)

const (
	tarBlock = 512
	// maxWindow bounds the memory a zstd frame may ask for: what zstd's
	// highest levels without --long use, and --long=27.
	maxWindow = 128 << 20
)

// Detect tells the format by content: the magic bytes of the outside and, for
// a compressed one, whether there is a tar inside.
func Detect(src io.ReaderAt, size int64) (Format, error) {
	if size == 0 {
		return "", Refuse(TitleEmpty, "the archive is empty: 0 bytes arrived")
	}
	head := make([]byte, min(size, tarBlock))
	if _, err := src.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", broken(TitleTruncated, "", err)
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return Zip, nil
	case bytes.HasPrefix(head, []byte("PK\x07\x08")):
		return "", Refuse(TitleMultiPart, "the zip archive is one part of several")
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return TarGz, checkInside(src, size, TarGz)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return TarZst, checkInside(src, size, TarZst)
	case isTarHeader(head):
		return Tar, nil
	}
	if name := foreignMagic(head); name != "" {
		return "", Refuse(TitleNotArchive, "this is a %s, not a zip, tar, tar.gz or tar.zst archive", name)
	}
	return "", Refuse(TitleNotArchive, "this is not a zip, tar, tar.gz or tar.zst archive")
}

// checkInside refuses compressed files that are no tar.
func checkInside(src io.ReaderAt, size int64, f Format) error {
	r, err := decompress(io.NewSectionReader(src, 0, size), f)
	if err != nil {
		return err
	}
	defer r.Close()
	head := make([]byte, tarBlock)
	n, err := io.ReadFull(r, head)
	switch {
	case errors.Is(err, io.EOF):
		return Refuse(TitleEmpty, "the %s archive is empty", f)
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return decodeError("", err)
	case n == tarBlock && isTarHeader(head):
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF) && bytes.Contains(head, []byte("ustar")):
		return broken(TitleTruncated, "", err)
	}
	compressor := map[Format]string{TarGz: "gzip", TarZst: "zstd"}[f]
	return Refuse(TitleNotArchive, "this is a %s file, but what it holds is no tar archive", compressor)
}

// isTarHeader reports whether b is a tar header block with a right checksum,
// or the zeros that an empty archive starts with.
func isTarHeader(b []byte) bool {
	if len(b) < tarBlock {
		return false
	}
	b = b[:tarBlock]
	if allZero(b) {
		return true
	}
	var unsigned, signed int64
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' ' // the checksum field itself
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	want, err := strconv.ParseInt(strings.Trim(string(b[148:156]), " \x00"), 8, 64)
	return err == nil && (want == unsigned || want == signed)
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// decompress returns the tar stream of a tar, tar.gz or tar.zst.
func decompress(r io.Reader, f Format) (io.ReadCloser, error) {
	r = bufio.NewReaderSize(r, 64<<10)
	var d archiver.Decompressor
	switch f {
	case TarGz:
		d = archiver.Gz{}
	case TarZst:
		d = archiver.Zstd{DecoderOptions: []zstd.DOption{
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow),
		}}
	default:
		return io.NopCloser(r), nil
	}
	rc, err := d.OpenReader(r)
	if err != nil {
		return nil, decodeError("", err)
	}
	return rc, nil
}

// decodeError sorts what decoders say into cut off and damaged.
func decodeError(name string, err error) error {
	switch {
	case asIs(err):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return broken(TitleTruncated, name, err)
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		e := Refuse(TitleWindow, "the archive was compressed with a zstd window larger than %s", size(maxWindow))
		e.Err = err
		return e
	}
	return broken(TitleCorrupt, name, err)
}
