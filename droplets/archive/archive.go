// Package archive unpacks what strangers send and packs what we hand out:
// zip, tar, tar.gz and tar.zst, told apart by their first bytes and never by a
// name.
//
// Unpacking trusts nothing. Every name, link, mode and size is checked before
// anything is written, all writing goes through an os.Root, symbolic links are
// made last, and the work stops at a limit, not after it. Each hazard has an
// error of its own (see the Title constants) that names the entry and says
// what to do.
//
// Packing is deterministic: sorted, without times or owners, links as links.
//
// It is the only importer of archiver/v4 and knows that library's traps: zip
// links arrive as files, hard links in a tar as empty ones, and opening a FIFO
// never returns.
package archive

import (
	"io"
	"io/fs"
)

// Format is a kind of archive.
type Format string

// The formats this package reads and writes.
const (
	Zip    Format = "zip"
	Tar    Format = "tar"
	TarGz  Format = "tar.gz"
	TarZst Format = "tar.zst"
)

// Limits bounds what an archive may unpack to. A zero field means its default.
type Limits struct {
	// Entries counts files, links and directories, the implied ones too.
	// Default 200,000.
	Entries int
	// Bytes is the size of all files together, unpacked. Default 4 GiB.
	Bytes int64
	// Ratio is how many times its packed size an archive may grow to, once
	// RatioAfter bytes are out. Defaults 200 and 10 MiB.
	Ratio      int64
	RatioAfter int64
	// Depth is the number of components of a path. Default 100.
	Depth int
	// PathBytes is the length of a path, NameBytes that of one component.
	// Defaults 4096 and 255.
	PathBytes int
	NameBytes int
}

// Options of Unpack and Walk. The zero value is right for a stranger's upload.
type Options struct {
	Limits Limits
	// AllowCaseCollisions accepts names that differ in case only.
	AllowCaseCollisions bool
	// AllowAbsoluteLinks accepts symbolic links to absolute paths; the caller
	// checks where they lead. Relative ones must stay inside all the same.
	AllowAbsoluteLinks bool
	// Index, if set, is filled in, so that the caller may add entries of its
	// own under the same rules afterwards.
	Index *Index
	// Digest fills in SHA1 and SHA256 of each file, computed while writing.
	Digest bool
	// Written, if set, is called for each regular file once it is complete and
	// closed, possibly from two goroutines at a time.
	Written func(Entry) error
	// Progress, if set, is called as bytes are written, with how many; an
	// error ends the work. Possibly from two goroutines at a time.
	Progress func(n int64) error
}

// Entry is one member of an archive, its name checked and cleaned: relative,
// slash-separated, without "." or "..".
type Entry struct {
	Name string
	// Mode holds fs.ModeDir, fs.ModeSymlink or no type bit, and 0755 or 0644.
	Mode fs.FileMode
	// Size is that of a regular file.
	Size int64
	// Link is the target of a symbolic link as it stands in the archive.
	Link string
	// HardLink is the name of the earlier file this one is another name of.
	HardLink string
	// SHA1 and SHA256 are hex, set when Options.Digest asks for them.
	SHA1, SHA256 string
}

// Stats says what was read or written.
type Stats struct {
	Format Format
	Files  int // regular files, hard links included
	Dirs   int
	Links  int   // symbolic links
	Bytes  int64 // of all files
	// Stripped counts entries that lost setuid, setgid or sticky bits.
	Stripped int
	// Skipped names what Pack left out: sockets, FIFOs and devices.
	Skipped []string
}

// File is something to pack that need not lie on disk.
type File struct {
	Name string
	// Mode may hold fs.ModeDir or fs.ModeSymlink; of the permissions only
	// "may anyone execute it" is kept.
	Mode fs.FileMode
	Size int64
	Link string // target, for a symbolic link
	// Open is called once, for a regular file; it must yield Size bytes.
	Open func() (io.ReadCloser, error)
}
