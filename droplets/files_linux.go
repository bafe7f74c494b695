package droplets

import (
	"encoding/hex"
	"os"

	"golang.org/x/sys/unix"
)

// syncFS puts everything written to f's file system on disk: one call instead
// of one for each of thousands of files.
func syncFS(f *os.File) error {
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

// clone makes dst share src's blocks, where the file system can.
func clone(dst, src *os.File) error {
	return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
}

// The SHA-256 of a pooled file is kept in an extended attribute, so that a
// file known by its SHA-1 can be put into a manifest without being read. It is
// binary because 64 digits would not fit into an ext4 inode: each file would
// take a block more.
const attrSHA256 = "user.weir.sha256"

func setSHA256(name, sum string) error {
	b, err := hex.DecodeString(sum)
	if err != nil {
		return err
	}
	return unix.Lsetxattr(name, attrSHA256, b, 0)
}

// getSHA256 returns "" where there is none.
func getSHA256(name string) string {
	var buf [32]byte
	n, err := unix.Lgetxattr(name, attrSHA256, buf[:])
	if err != nil || n != len(buf) {
		return ""
	}
	return hex.EncodeToString(buf[:])
}
