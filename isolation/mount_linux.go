package isolation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mountAll arranges the file system of this process's mount namespace, which
// ends with the instance:
//
//	/proc        of the instance's own pid namespace
//	/home        a small read-only tmpfs: what was there, and vcap
//	/home/vcap   the tree: an overlay, a copy, or a directory used in place
//	plan.Hide    empty but for plan.Show
//
// Everything else is the machine's.
func mountAll(p plan) error {
	// Mounts made here stay here; mounts the machine takes away go here too,
	// so that no instance keeps a disk busy.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return failed("separating the mounts", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return failed("mounting /proc", err)
	}
	// The names of an overlay's layers show in the instance; relative ones
	// say nothing about the machine. dirFD is of no use here: it was opened in
	// another mount namespace, where nothing can be mounted from here.
	if err := os.Chdir(p.Dir); err != nil {
		return failed("entering the instance's directory", err)
	}
	inPlace, err := cloneInPlace(p)
	if err != nil {
		return err
	}
	if err := mountHome(); err != nil {
		return err
	}
	switch {
	case inPlace >= 0:
		err = moveMount(inPlace, HomeRoot)
	case p.Tree == "":
	case p.Overlay:
		err = mountOverlay(p)
	default:
		err = bind("fs", HomeRoot)
	}
	if err != nil {
		return failed("mounting the tree", err)
	}
	// The place for vcap was made; nothing else is to be put beside it.
	if err := seal(filepath.Dir(HomeRoot)); err != nil {
		return failed("closing /home", err)
	}
	if p.Hide != "" {
		if err := cover(p.Hide, p.Show); err != nil {
			return failed("hiding the platform's files", err)
		}
	}
	return failed("leaving the instance's directory", os.Chdir("/"))
}

// cloneInPlace takes hold of the directory used in place before /home is
// covered: it may be below it. It returns -1 if there is none.
func cloneInPlace(p plan) (int, error) {
	if p.InPlace == "" {
		return -1, nil
	}
	fd, err := openTree(p.InPlace)
	if err != nil {
		return -1, failed("opening "+p.InPlace, err)
	}
	if err := setAttr(fd, p, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// setAttr gives a mount attributes, and maps its owner: the files belong to
// whoever staged them, and an ID-mapped mount shows them as the program's own,
// so that it may write everywhere among them.
func setAttr(mount int, p plan, attrs uint64) error {
	attr := unix.MountAttr{Attr_set: attrs}
	if p.Mapped && (p.TreeUID != p.UID || p.TreeGID != p.GID) {
		ns, err := userNamespace(p)
		if err != nil {
			return failed("mapping the tree's owner", err)
		}
		defer ns.Close()
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(ns.Fd())
	}
	return failed("mapping the tree's owner", unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr))
}

// mountHome covers /home with a tmpfs that shows the same entries, and vcap.
func mountHome() error {
	home, vcap := filepath.Split(HomeRoot)
	entries, err := os.ReadDir(home)
	if err != nil {
		return failed("reading /home", err)
	}
	var keep []string
	for _, e := range entries {
		if e.Name() != vcap {
			keep = append(keep, e.Name())
		}
	}
	if err := coverWith(home, keep); err != nil {
		return failed("mounting /home", err)
	}
	return failed("making "+HomeRoot, os.Mkdir(HomeRoot, 0o755))
}

// cover makes a directory empty and unwritable, but for the entries to keep.
func cover(dir string, keep []string) error {
	if err := coverWith(dir, keep); err != nil {
		return err
	}
	return seal(dir)
}

// seal makes the mount at a path read-only, not what is mounted below it.
func seal(path string) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	return unix.MountSetattr(unix.AT_FDCWD, path, 0, &attr)
}

// coverWith mounts a small tmpfs over a directory and shows those of its
// entries that are to be kept in it. One that is not there is left out.
func coverWith(dir string, keep []string) error {
	held := make(map[string]int, len(keep))
	links := map[string]string{}
	for _, name := range keep {
		path := filepath.Join(dir, name)
		if target, err := os.Readlink(path); err == nil {
			links[path] = target
			continue
		}
		fd, err := openTree(path)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return failed("keeping "+path, err)
		}
		defer unix.Close(fd)
		held[path] = fd
	}
	opts := fmt.Sprintf("mode=0755,size=1m,nr_inodes=%d", len(keep)+16)
	if err := unix.Mount("weir", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
		return err
	}
	for path, target := range links {
		if err := os.Symlink(target, path); err != nil {
			return failed("keeping "+path, err)
		}
	}
	for path, fd := range held {
		if err := putBack(path, fd); err != nil {
			return failed("keeping "+path, err)
		}
	}
	return nil
}

// putBack shows a held directory or file at its old path again.
func putBack(path string, fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
	} else if err := os.WriteFile(path, nil, 0o644); err != nil {
		return err
	}
	return moveMount(fd, path)
}

// mountOverlay shows the tree at HomeRoot with "rw/upper" over it.
func mountOverlay(p plan) error {
	lower, err := openTree(p.Tree)
	if err != nil {
		return failed("opening the tree", err)
	}
	defer unix.Close(lower)
	if err := setAttr(lower, p, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
		return err
	}
	if err := moveMount(lower, "rw/lower"); err != nil {
		return failed("placing the tree", err)
	}
	// The layer above is gone with the instance: no need to write it to the
	// disk for good, least of all when the mount ends.
	opts := "lowerdir=rw/lower,upperdir=rw/upper,workdir=rw/work,volatile"
	if !p.Root {
		opts += ",userxattr"
	}
	err = unix.Mount("overlay", HomeRoot, "overlay", unix.MS_NOSUID|unix.MS_NODEV, opts)
	if errors.Is(err, unix.EINVAL) { // before Linux 5.10
		err = unix.Mount("overlay", HomeRoot, "overlay", unix.MS_NOSUID|unix.MS_NODEV, strings.Replace(opts, ",volatile", "", 1))
	}
	if err != nil {
		return failed("mounting the overlay", err)
	}
	return failed("tidying up the overlay", unix.Unmount("rw/lower", unix.MNT_DETACH))
}

// userNamespace returns a user namespace that maps the owner of the tree to
// the instance's user. A namespace needs a process to be made; this one is
// stopped by the kernel before its first instruction and killed.
func userNamespace(p plan) (*os.File, error) {
	runtime.LockOSThread() // the tracer of the child is this thread
	defer runtime.UnlockOSThread()
	pid, err := syscall.ForkExec("/proc/self/exe", []string{InitCommand}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{
			Ptrace:      true,
			Cloneflags:  unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: p.TreeUID, HostID: p.UID, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: p.TreeGID, HostID: p.GID, Size: 1}},
		},
	})
	if err != nil {
		return nil, err
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
	unix.Kill(pid, unix.SIGKILL)
	for {
		_, waitErr := unix.Wait4(pid, nil, unix.WALL, nil)
		if !errors.Is(waitErr, unix.EINTR) {
			return ns, err
		}
	}
}

// openTree takes hold of a directory or file with all that is mounted in it.
func openTree(path string) (int, error) {
	return unix.OpenTree(unix.AT_FDCWD, path,
		unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
}

func moveMount(fd int, path string) error {
	return unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func bind(from, to string) error {
	fd, err := openTree(from)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return moveMount(fd, to)
}
