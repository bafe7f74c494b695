package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"weir/internal/platform"
)

// The titles of the errors this package returns, one for each hazard. They are
// titles of platform.Error: stable words a program may branch on.
const (
	TitleNotArchive        = "UploadNotArchive"
	TitleEmpty             = "UploadEmpty"
	TitleTruncated         = "UploadTruncated"
	TitleCorrupt           = "UploadCorrupt"
	TitleTrailingData      = "UploadTrailingData"
	TitleEncrypted         = "UploadEncrypted"
	TitleUnsupportedMethod = "UploadUnsupportedCompression"
	TitleMultiPart         = "UploadMultiPart"
	TitleHeaderMismatch    = "UploadHeaderMismatch"
	TitleOverlap           = "UploadOverlap"
	TitleSizeMismatch      = "UploadSizeMismatch"
	TitleSparse            = "UploadSparseFile"
	TitleWindow            = "UploadWindowTooLarge"

	TitleEmptyName     = "UploadEmptyName"
	TitleTraversal     = "UploadPathTraversal"
	TitleAbsolute      = "UploadAbsolutePath"
	TitleDrive         = "UploadDrivePath"
	TitleBackslash     = "UploadBackslash"
	TitleNUL           = "UploadNulByte"
	TitlePathTooLong   = "UploadPathTooLong"
	TitleNameTooLong   = "UploadNameTooLong"
	TitleTooDeep       = "UploadPathTooDeep"
	TitleDuplicate     = "UploadDuplicatePath"
	TitleCaseCollision = "UploadCaseCollision"
	TitleConflict      = "UploadPathConflict"

	TitleLinkEscape     = "UploadLinkEscape"
	TitleLinkAbsolute   = "UploadLinkAbsolute"
	TitleLinkInvalid    = "UploadLinkInvalid"
	TitleThroughLink    = "UploadWriteThroughLink"
	TitleHardLinkEscape = "UploadHardLinkEscape"
	TitleHardLinkAbsent = "UploadHardLinkAbsent"
	TitleHardLinkTarget = "UploadHardLinkTarget"
	TitleDevice         = "UploadDevice"
	TitleFIFO           = "UploadFIFO"
	TitleSocket         = "UploadSocket"
	TitleUnknownType    = "UploadUnknownType"

	TitleTooManyEntries = "UploadTooManyEntries"
	TitleTooLarge       = "UploadTooLarge"
	TitleBomb           = "UploadBomb"
	TitleDiskFull       = "DiskFull"
)

const (
	hintRepack   = "pack it again with zip or tar from inside the app's directory, or push the directory itself"
	hintNames    = "entries must be relative to the app's directory; pack from inside it: cd app && zip -r ../app.zip ."
	hintLinks    = "replace the link with the file it points to, or make it point inside the app"
	hintSpecial  = "leave it out: only files, directories and symbolic links can be pushed"
	hintBroken   = "the archive was damaged or cut off on its way; pack or download it again"
	hintRename   = "rename or leave out one of the two"
	hintSmaller  = "leave out what the app does not need, with a .cfignore file"
	hintUnpacked = "push the unpacked directory instead"
)

// kindAndHint is the table of what each hazard means to the one who pushed.
func kindAndHint(title string) (platform.Kind, string) {
	switch title {
	case TitleNotArchive:
		return platform.KindInvalid, "send a zip, tar, tar.gz or tar.zst archive"
	case TitleEmpty:
		return platform.KindInvalid, "send an archive with the app's files in it"
	case TitleTruncated, TitleCorrupt, TitleSizeMismatch:
		return platform.KindInvalid, hintBroken
	case TitleTrailingData, TitleHeaderMismatch, TitleOverlap:
		return platform.KindInvalid, hintRepack
	case TitleEncrypted:
		return platform.KindInvalid, "pack it without a password"
	case TitleUnsupportedMethod:
		return platform.KindInvalid, "pack it with the usual compression (deflate) or none"
	case TitleMultiPart:
		return platform.KindInvalid, "join the parts into one archive"
	case TitleSparse:
		return platform.KindInvalid, "pack it with tar without --sparse"
	case TitleWindow:
		return platform.KindInvalid, "compress it with zstd without --long or --ultra"
	case TitleEmptyName, TitleTraversal, TitleAbsolute, TitleDrive:
		return platform.KindInvalid, hintNames
	case TitleBackslash:
		return platform.KindInvalid, "use / between directories; some Windows tools write \\ instead"
	case TitleNUL, TitlePathTooLong, TitleNameTooLong, TitleTooDeep:
		return platform.KindInvalid, "rename it, or leave it out with a .cfignore file"
	case TitleDuplicate, TitleCaseCollision, TitleConflict:
		return platform.KindInvalid, hintRename
	case TitleLinkEscape, TitleLinkAbsolute, TitleLinkInvalid, TitleThroughLink:
		return platform.KindInvalid, hintLinks
	case TitleHardLinkEscape, TitleHardLinkAbsent, TitleHardLinkTarget:
		return platform.KindInvalid, "pack with tar --hard-dereference, which stores a copy instead of a hard link"
	case TitleDevice, TitleFIFO, TitleSocket, TitleUnknownType:
		return platform.KindInvalid, hintSpecial
	case TitleTooManyEntries, TitleTooLarge:
		return platform.KindTooLarge, hintSmaller
	case TitleBomb:
		return platform.KindTooLarge, hintUnpacked
	}
	return platform.KindInternal, ""
}

// Refuse returns the error for a hazard, with the kind and hint that belong to
// its title.
func Refuse(title, format string, args ...any) *platform.Error {
	kind, hint := kindAndHint(title)
	return &platform.Error{Kind: kind, Title: title, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// broken turns what a decoder said about entry name, or about the archive if
// name is empty, into an error of ours.
func broken(title, name string, cause error) error {
	where := "the archive"
	if name != "" {
		where = "entry " + quote(name)
	}
	what := " is damaged"
	if title == TitleTruncated {
		what = " is cut off"
	}
	e := Refuse(title, "%s%s", where, what)
	e.Err = cause
	return e
}

// asIs reports whether err already says what a person needs, or that the
// caller gave up.
func asIs(err error) bool {
	if _, ok := errors.AsType[*platform.Error](err); ok {
		return true
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// DiskError gives an error of writing a form a person can act on: no space, or
// something only the log should show in full.
func DiskError(err error) error {
	if err == nil || asIs(err) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &platform.Error{
			Kind:  platform.KindExhausted,
			Title: TitleDiskFull,
			Msg:   "insufficient resources: no space left on the server's disk",
			Hint:  "delete apps or old packages, or give the server a larger disk, and push again",
			Err:   err,
		}
	}
	return fmt.Errorf("writing unpacked files: %w", err)
}

// quote shows a foreign name in a message: escaped, and cut in the middle when
// it is long.
func quote(name string) string {
	const most = 200
	if len(name) > most {
		return strconv.Quote(name[:most/2]) + "…" + strconv.Quote(name[len(name)-most/4:])
	}
	return strconv.Quote(name)
}

// size shows a number of bytes the way limits are written: 512M, 4G.
func size(n int64) string {
	units := []string{"", "K", "M", "G", "T"}
	u := 0
	for n >= 1024 && n%1024 == 0 && u < len(units)-1 {
		n /= 1024
		u++
	}
	if u == 0 {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	return strconv.FormatInt(n, 10) + units[u]
}

// foreignMagic names archives we know by sight but do not take.
func foreignMagic(head []byte) string {
	for _, m := range []struct{ magic, name string }{
		{"7z\xbc\xaf\x27\x1c", "7-Zip archive"},
		{"Rar!\x1a\x07", "RAR archive"},
		{"BZh", "bzip2 file"},
		{"\xfd7zXZ\x00", "xz file"},
		{"\x7fELF", "program"},
		{"\x04\x22\x4d\x18", "lz4 file"},
		{"#!", "script"},
		{"<", "web page or XML file"},
	} {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.name
		}
	}
	return ""
}
