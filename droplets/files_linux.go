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

// Spread tells the file system that the subdirectories of dir have nothing to
// do with each other, as those of /home have not. ext4 then places each in
// another part of the disk, by its name. It is what makes many files quickly
// created and removed again, as stages and trees are: for five minutes ext4
// does not use a removed file's inode again, but passes each of them on its
// way to a free one, which costs half a second for a thousand files where
// thousands were removed. Where it means nothing it is ignored.
func Spread(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	fd := int(f.Fd())
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil || flags&topDir != 0 {
		return
	}
	// Not all file systems have it, and no file depends on it.
	_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|topDir)
}

// topDir is FS_TOPDIR_FL of <linux/fs.h>.
const topDir = 0x20000

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
