package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"weir/internal/platform"
)

// databaseFiles hold what nobody else may read: secrets of apps, and the key
// that tokens are signed with.
var databaseFiles = []string{"weir.db", "weir.db-wal", "weir.db-shm"}

// childrensOwn is what controller and router read and write below the data
// directory. Instances belong to the uids of apps.
var childrensOwn = append([]string{
	"admin-password", "build-cache", "cache", "certs", "droplets", "logs", "router", "shadow", "staging", "uploads",
}, databaseFiles...)

// sampleDepth is how many levels below a directory of childrensOwn tell whose
// it is: as far as the names of packages, droplets and apps. What a backup put
// there differs from the top, so the many files below are not asked at each start.
const sampleDepth = 2

// handOver makes what lies in the data directory controller's and router's, as
// root: a backup put back by root, or a directory that another --uid ran on,
// belongs to somebody else, and they could not write it. Nobody else may read
// the database, whatever program made the copy.
func handOver(cfg Config, logger *slog.Logger) error {
	root, err := os.OpenRoot(cfg.DataDir)
	if err != nil {
		return fmt.Errorf("preparing the data directory: %w", err)
	}
	defer root.Close()
	if os.Geteuid() == 0 {
		_, err := owned(root, cfg.UID, sampleDepth, func(string) error { return errForeign })
		if errors.Is(err, errForeign) {
			var foreign int
			foreign, err = owned(root, cfg.UID, -1, func(path string) error {
				return root.Lchown(path, cfg.UID, cfg.UID)
			})
			logger.Info("what lay in the data directory was given to its uid", "uid", cfg.UID, "files", foreign)
		}
		if err != nil {
			return fmt.Errorf("preparing the data directory: %w", err)
		}
	}
	return closeFiles(root, cfg.DataDir, databaseFiles)
}

var errForeign = errors.New("belongs to somebody else")

// owned calls give for what belongs to another uid, as deep as depth, -1 for
// all, and counts it.
func owned(root *os.Root, uid, depth int, give func(path string) error) (foreign int, err error) {
	for _, name := range childrensOwn {
		err := fs.WalkDir(root.FS(), name, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // never made, or just removed
			}
			if err != nil {
				return err
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if uidOf(info) != uid {
				foreign++
				if err := give(path); err != nil {
					return err
				}
			}
			if d.IsDir() && strings.Count(path, "/") == depth {
				return fs.SkipDir
			}
			return nil
		})
		if err != nil {
			return foreign, err
		}
	}
	return foreign, nil
}

// closeFiles makes files readable and writable by their owner alone, and says so
// if that is not who runs weir.
func closeFiles(root *os.Root, dataDir string, names []string) error {
	for _, name := range names {
		info, err := root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && info.Mode().Perm() != 0o600 {
			err = root.Chmod(name, 0o600)
		}
		if err == nil && os.Geteuid() != 0 && uidOf(info) != os.Geteuid() {
			err = errForeign
		}
		if err != nil {
			return &platform.Error{
				Kind: platform.KindInvalid,
				Msg:  fmt.Sprintf("%s belongs to another user than the one who runs weir", filepath.Join(dataDir, name)),
				Hint: "give that user the data directory (chown -R), or start weir as the other one",
				Err:  err,
			}
		}
	}
	return nil
}

// uidOf returns whose a file is, -1 where the system does not say.
func uidOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
