package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/mholt/archiver/v4"
)

// member is an entry on its way out of an archive.
type member struct {
	Entry
	// open yields the content of a regular file. Of a zip it may be called at
	// any time and from anywhere; of a tar only before the next member.
	open func() (io.ReadCloser, error)
	// stripped is set when setuid, setgid or sticky bits were there.
	stripped bool
}

// scan calls fn for each member of the archive, checked on its own and against
// those before. Where links lead is checked before the first call for a zip
// and after the last one for a tar, so links must be made last.
func scan(ctx context.Context, src io.ReaderAt, size int64, f Format, x *Index, fn func(member) error) error {
	if f == Zip {
		return scanZip(ctx, src, size, x, fn)
	}
	return scanTar(ctx, src, size, f, x, fn)
}

// scanZip checks the whole directory first, so that nothing is written for an
// archive with one bad name.
func scanZip(ctx context.Context, src io.ReaderAt, size int64, x *Index, fn func(member) error) error {
	dir, err := readZipDirectory(src, size, x.limits)
	if err != nil {
		return err
	}
	members := make([]member, 0, len(dir))
	for i := range dir {
		m, err := zipMember(&dir[i], x.limits)
		if err != nil {
			return err
		}
		if err := x.Add(m.Entry); err != nil {
			return err
		}
		members = append(members, m)
	}
	var handled int
	var ours error // the library wraps what we return
	handle := func(_ context.Context, f archiver.FileInfo) error {
		i := handled
		if i >= len(dir) || f.NameInArchive != dir[i].name || uint64(f.Size()) != dir[i].size {
			ours = broken(TitleCorrupt, "", errZipDirectory)
			return ours
		}
		handled++
		members[i].open = func() (io.ReadCloser, error) { return f.Open() }
		if members[i].Mode&fs.ModeSymlink != 0 {
			if ours = readZipLink(&members[i]); ours == nil {
				x.setLink(members[i].Name, members[i].Link)
			}
		}
		return ours
	}
	err = archiver.Zip{}.Extract(ctx, io.NewSectionReader(src, 0, size), handle)
	switch {
	case ours != nil:
		return ours
	case err != nil:
		return decodeError("", err)
	case handled != len(dir):
		return broken(TitleCorrupt, "", errZipDirectory)
	}
	if err := x.checkLinks(); err != nil {
		return err
	}
	return eachMember(ctx, members, fn)
}

func eachMember(ctx context.Context, members []member, fn func(member) error) error {
	for _, m := range members {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(m); err != nil {
			return err
		}
	}
	return nil
}

// The systems whose attributes carry a Unix mode, and the file type bits of it.
const (
	creatorUnix  = 3
	creatorMacOS = 19

	unixType    = 0o170000
	unixSocket  = 0o140000
	unixLink    = 0o120000
	unixRegular = 0o100000
	unixBlock   = 0o060000
	unixDir     = 0o040000
	unixChar    = 0o020000
	unixFIFO    = 0o010000
	unixSpecial = 0o007000 // setuid, setgid, sticky
	unixExec    = 0o000111
)

func zipMember(e *zipEntry, l Limits) (member, error) {
	name, err := l.CleanName(e.name)
	if err != nil {
		return member{}, err
	}
	unix := e.attrs >> 16
	m := member{Entry: Entry{Name: name, Size: int64(e.size)}, stripped: unix&unixSpecial != 0}
	isDir := e.name[len(e.name)-1] == '/'
	kind := uint32(unixRegular)
	if e.creator == creatorUnix || e.creator == creatorMacOS {
		if t := unix & unixType; t != 0 {
			kind = t
		}
	} else if e.attrs&0x10 != 0 && !isDir && e.size == 0 {
		kind = unixDir // the DOS attribute
	}
	if isDir && kind == unixRegular {
		kind = unixDir
	}
	switch kind {
	case unixDir:
		if e.size != 0 {
			return m, Refuse(TitleConflict, "entry %s is a directory, yet it has content", quote(e.name))
		}
		m.Mode = fs.ModeDir | 0o755
		return m, nil
	case unixLink, unixRegular:
		if isDir {
			return m, Refuse(TitleConflict, "entry %s is named like a directory, but is none", quote(e.name))
		}
	default:
		return m, refuseType(e.name, kind)
	}
	if e.method != 0 && e.method != 8 {
		return m, Refuse(TitleUnsupportedMethod, "entry %s is compressed with method %d, which is not supported", quote(e.name), e.method)
	}
	if kind == unixLink {
		// The target is the content; scanZip reads it once it can.
		m.Mode, m.Link = fs.ModeSymlink|0o777, "?"
		if e.size > maxTarget {
			return m, Refuse(TitleLinkInvalid, "the target of the symbolic link %s is longer than %d bytes", quote(name), maxTarget)
		}
		return m, nil
	}
	m.Mode = fileMode(unix)
	return m, nil
}

func readZipLink(m *member) error {
	r, err := m.open()
	if err != nil {
		return decodeError(m.Name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxTarget+1))
	if err != nil {
		return decodeError(m.Name, err)
	}
	m.Link, m.Size = string(b), 0
	return checkTarget(m.Name, m.Link)
}

// fileMode is 0755 for what anyone may execute and 0644 otherwise.
func fileMode(unix uint32) fs.FileMode {
	if unix&unixExec != 0 {
		return 0o755
	}
	return 0o644
}

func refuseType(name string, kind uint32) error {
	switch kind {
	case unixBlock, unixChar:
		return Refuse(TitleDevice, "entry %s is a device", quote(name))
	case unixFIFO:
		return Refuse(TitleFIFO, "entry %s is a FIFO", quote(name))
	case unixSocket:
		return Refuse(TitleSocket, "entry %s is a socket", quote(name))
	}
	return Refuse(TitleUnknownType, "entry %s is of an unknown type", quote(name))
}

// scanTar reads the stream once; members are handed on as they come.
func scanTar(ctx context.Context, src io.ReaderAt, size int64, f Format, x *Index, fn func(member) error) error {
	packed := &countingReader{r: io.NewSectionReader(src, 0, size)}
	r, err := decompress(packed, f)
	if err != nil {
		return err
	}
	defer r.Close()
	stream := &tarStream{r: r, packed: packed, limits: x.limits}
	files := map[string]Entry{} // what a hard link may point to
	handle := func(_ context.Context, info archiver.FileInfo) error {
		hdr, ok := info.Header.(*tar.Header)
		if !ok {
			return fmt.Errorf("reading tar: unexpected header %T", info.Header)
		}
		m, err := tarMember(hdr, x.limits, files)
		if err != nil {
			return err
		}
		if err := x.Add(m.Entry); err != nil {
			return err
		}
		if m.Mode.IsRegular() {
			files[m.Name] = m.Entry
		}
		m.open = func() (io.ReadCloser, error) { return info.Open() }
		return fn(m)
	}
	var ours error // the library wraps what we return
	err = archiver.Tar{}.Extract(ctx, stream, func(ctx context.Context, f archiver.FileInfo) error {
		ours = handle(ctx, f)
		return ours
	})
	switch {
	case stream.err != nil:
		return stream.err
	case ours != nil:
		return ours
	case err != nil:
		return decodeError("", err)
	}
	if err := x.checkLinks(); err != nil {
		return err
	}
	return stream.finish(ctx)
}

func tarMember(hdr *tar.Header, l Limits, files map[string]Entry) (member, error) {
	name, err := l.CleanName(hdr.Name)
	if err != nil {
		return member{}, err
	}
	m := member{Entry: Entry{Name: name}, stripped: hdr.Mode&unixSpecial != 0}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont:
		if isSparse(hdr) {
			return m, Refuse(TitleSparse, "entry %s is a sparse file", quote(hdr.Name))
		}
		m.Size, m.Mode = hdr.Size, fileMode(uint32(hdr.Mode))
	case tar.TypeDir:
		m.Mode = fs.ModeDir | 0o755
	case tar.TypeSymlink:
		m.Mode, m.Link = fs.ModeSymlink|0o777, hdr.Linkname
		return m, checkTarget(name, m.Link)
	case tar.TypeLink:
		return hardLink(m, hdr, l, files)
	case tar.TypeGNUSparse:
		return m, Refuse(TitleSparse, "entry %s is a sparse file", quote(hdr.Name))
	case tar.TypeChar, tar.TypeBlock:
		return m, refuseType(hdr.Name, unixChar)
	case tar.TypeFifo:
		return m, refuseType(hdr.Name, unixFIFO)
	default:
		return m, refuseType(hdr.Name, 0)
	}
	return m, nil
}

func isSparse(hdr *tar.Header) bool {
	for _, key := range []string{"GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.name", "GNU.sparse.size", "GNU.sparse.realsize"} {
		if _, ok := hdr.PAXRecords[key]; ok {
			return true
		}
	}
	return false
}

// hardLink makes m another name of a file that came before it.
func hardLink(m member, hdr *tar.Header, l Limits, files map[string]Entry) (member, error) {
	target, err := l.CleanName(hdr.Linkname)
	if err != nil {
		return m, Refuse(TitleHardLinkEscape, "the hard link %s points to %s, outside the app", quote(m.Name), quote(hdr.Linkname))
	}
	file, ok := files[target]
	if !ok {
		return m, Refuse(TitleHardLinkAbsent, "the hard link %s points to %s, which is no file that came before it", quote(m.Name), quote(hdr.Linkname))
	}
	m.HardLink, m.Size, m.Mode = target, file.Size, file.Mode
	return m, nil
}

// maxTarExtra is how much of a tar may be neither content nor, at 8 blocks an
// entry, headers.
const maxTarExtra = 1 << 20

// countingReader counts what was read through it.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// tarStream is the decompressed tar. It stops when that grows out of
// proportion, and knows whether the stream ended as a tar must.
type tarStream struct {
	r      io.Reader
	packed *countingReader
	limits Limits
	out    int64
	zeros  int // how many zero bytes were read last, up to a block
	err    error
}

func (s *tarStream) Read(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(b)
	s.out += int64(n)
	s.countZeros(b[:n])
	l := s.limits
	switch {
	case s.out > l.RatioAfter && s.out/l.Ratio >= max(s.packed.n, 1):
		s.err = bomb(l)
	case s.out-l.Bytes > maxTarExtra+int64(l.Entries)*8*tarBlock:
		s.err = tooLarge(l) // headers and padding without end
	}
	if s.err != nil {
		return 0, s.err
	}
	return n, err
}

func (s *tarStream) countZeros(b []byte) {
	if len(b) == 0 {
		return
	}
	n := 0
	for n < len(b) && n < tarBlock && b[len(b)-1-n] == 0 {
		n++
	}
	if n == len(b) {
		n += s.zeros
	}
	s.zeros = min(n, tarBlock)
}

// finish reads to the end, as checksums come last, and makes sure that there
// was an end mark and that nothing hides behind it.
func (s *tarStream) finish(ctx context.Context) error {
	if s.zeros < tarBlock {
		return broken(TitleTruncated, "", errors.New("tar: no end mark"))
	}
	buf := make([]byte, 32<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.Read(buf)
		if !allZero(buf[:n]) {
			return Refuse(TitleTrailingData, "the archive goes on after its end: only the first part would be unpacked")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return decodeError("", err)
		}
	}
}
