package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v3 "weir/api/v3"
)

// config is what is remembered between two command lines: where the server
// is, who is logged in, and which space is meant. It lies in a file that only
// its owner may read.
type config struct {
	Version int    `json:"version"`
	API     string `json:"api"`
	// Data is the data directory of a server on this machine, whose address
	// and admin password are then read from there.
	Data  string   `json:"data,omitempty"`
	Org   string   `json:"org,omitempty"`   // name
	Space string   `json:"space,omitempty"` // name
	Token v3.Token `json:"token"`
}

const configVersion = 1

// configDir returns the directory of the config file: WEIR_HOME, or the
// directory .weir in CF_HOME or in the home directory.
func configDir() (string, error) {
	if dir := env("WEIR_HOME"); dir != "" {
		return dir, nil
	}
	home := env("CF_HOME")
	if home == "" {
		var err error
		if home, err = os.UserHomeDir(); err != nil {
			return "", withHint(usagef("there is no home directory to keep the login in"), "set WEIR_HOME to a directory")
		}
	}
	return filepath.Join(home, ".weir"), nil
}

// loadConfig reads the config file; a missing one is an empty config.
func loadConfig() (config, error) {
	dir, err := configDir()
	if err != nil {
		return config{}, err
	}
	path := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, nil
	}
	var c config
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	switch {
	case err != nil:
		return config{}, withHint(fmt.Errorf("reading the login from %s: %w", path, err), "remove the file and log in again: weir login")
	case c.Version > configVersion:
		return config{}, withHint(fmt.Errorf("%s was written by a newer weir", path), "use that one, or log in again: weir login")
	}
	return c, nil
}

// save replaces the config file, without an instant in which it is half
// written or readable by others. Its caller holds the lock: updateConfig and
// replaceConfig do.
func (c config) save() error {
	dir, err := configDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	c.Version = configVersion
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".config-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, "config.json"))
	}
	if err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	return nil
}

// updateConfig changes the config file while no other weir command does. It is
// not written if nothing is changed in it.
func updateConfig(change func(*config) error) error {
	unlock, err := lockConfig()
	if err != nil {
		return err
	}
	defer unlock()
	before, err := loadConfig()
	if err != nil {
		return err
	}
	after := before
	if err := change(&after); err != nil || after == before {
		return err
	}
	return after.save()
}

// replaceConfig puts c into the config file, whatever is there, even if it
// cannot be read.
func replaceConfig(c config) error {
	unlock, err := lockConfig()
	if err != nil {
		return err
	}
	defer unlock()
	return c.save()
}

// local is a server on this machine, found by its data directory.
type local struct {
	dir      string
	API      string `json:"api"`
	HTTP     string `json:"http"`
	password string // "" if the caller may not read it
}

// findLocal looks for a server on this machine: in WEIR_DATA if that is set,
// else where weir serve keeps its data by default.
func findLocal() (local, bool) {
	var dirs []string
	if dir := env("WEIR_DATA"); dir != "" {
		dirs = []string{dir}
	} else {
		if home, err := os.UserHomeDir(); err == nil {
			dirs = append(dirs, filepath.Join(home, ".weir", "server"))
		}
		dirs = append(dirs, "/var/lib/weir")
	}
	var fallback local
	for _, dir := range dirs {
		l, ok := readLocal(dir)
		if ok && l.password != "" {
			return l, true
		}
		if ok && fallback.dir == "" {
			fallback = l
		}
	}
	return fallback, fallback.dir != ""
}

func readLocal(dir string) (local, bool) {
	l := local{dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, "server.json"))
	if err != nil || json.Unmarshal(b, &l) != nil || l.API == "" {
		return local{}, false
	}
	if abs, err := filepath.Abs(dir); err == nil {
		l.dir = abs
	}
	if b, err := os.ReadFile(filepath.Join(dir, "admin-password")); err == nil {
		l.password = strings.TrimSpace(string(b))
	}
	return l, true
}
