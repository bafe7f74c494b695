package router

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// keeper keeps the last table on disk, so that a restarted router serves at
// once what the killed one served. A generation is two files:
//
//	table.G    a line {"number":N,"routes":K}, then K lines with a Route each
//	journal.G  a line with an Update for each change since
//
// table.G appears by rename, complete or not at all. journal.G is appended to
// before a change is acknowledged; a torn last line is one that nobody was
// told of. While table.G+1 is written in the background, changes go to
// journal.G+1 already, and each start of the router begins a new journal too;
// so loading takes the newest table and every journal since.
//
// Nothing is fsynced: it has to survive the end of the process. After the end
// of the machine the controller sends the table anew.
type keeper struct {
	dir string

	mu      sync.Mutex
	gen     uint64 // of the journal in use
	journal *os.File
	size    int64 // of all journals since the last complete table
	base    int64 // size of the last complete table
	broken  bool  // the journal has a hole: only a new table helps

	compacting sync.WaitGroup
}

// minJournal is how large the journal may get however small the table is.
const minJournal = 1 << 20

type tableHead struct {
	Number uint64 `json:"number"`
	Routes int    `json:"routes"`
}

// openKeeper returns the keeper of dir and the table found there; a zero
// Table if there is none. Damage is reported as an error beside a usable
// keeper and what could be read.
func openKeeper(dir string) (*keeper, Table, error) {
	k := &keeper{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, Table{}, fmt.Errorf("making the directory of the route table: %w", err)
	}
	tables, journals, err := k.generations()
	if err != nil {
		return nil, Table{}, err
	}
	var damage error
	var t Table
	for _, g := range slices.Backward(tables) {
		var err error
		if t, k.base, err = readTable(k.path("table", g)); err == nil {
			k.gen = g
			break
		}
		damage = errors.Join(damage, err)
		t = Table{}
	}
	journals = slices.DeleteFunc(journals, func(g uint64) bool { return g < k.gen })
	t = k.replay(t, journals)
	// Begin a journal of its own, so that nothing is ever appended to a torn
	// line, and numbers of generations never come back.
	for _, g := range append(tables, journals...) {
		k.gen = max(k.gen, g)
	}
	k.gen++
	return k, t, damage
}

func (k *keeper) path(kind string, gen uint64) string {
	return filepath.Join(k.dir, kind+"."+strconv.FormatUint(gen, 10))
}

// generations lists the numbers of the files that are there, ascending, and
// removes unfinished ones.
func (k *keeper) generations() (tables, journals []uint64, err error) {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the directory of the route table: %w", err)
	}
	for _, e := range entries {
		kind, num, _ := strings.Cut(e.Name(), ".")
		g, err := strconv.ParseUint(num, 10, 64)
		switch {
		case kind == "table" && err == nil:
			tables = append(tables, g)
		case kind == "journal" && err == nil:
			journals = append(journals, g)
		case strings.HasSuffix(e.Name(), ".tmp"):
			if err := os.Remove(filepath.Join(k.dir, e.Name())); err != nil {
				return nil, nil, fmt.Errorf("removing an unfinished route table: %w", err)
			}
		}
	}
	slices.Sort(tables)
	slices.Sort(journals)
	return tables, journals, nil
}

// replay applies the given journals to t. Only lines that follow from t count:
// what lies behind a hole cannot be applied.
func (k *keeper) replay(t Table, journals []uint64) Table {
	if len(journals) == 0 {
		return t
	}
	routes := make(map[RouteKey]Route, len(t.Routes))
	for _, r := range t.Routes {
		routes[r.Key()] = r
	}
	for _, g := range journals {
		k.size += readJournal(k.path("journal", g), func(u Update) {
			if u.From != t.Number {
				return
			}
			for _, key := range u.Delete {
				delete(routes, key)
			}
			for _, r := range u.Upsert {
				routes[r.Key()] = r
			}
			t.Number = u.Number
		})
	}
	t.Routes = t.Routes[:0]
	for _, r := range routes {
		t.Routes = append(t.Routes, r)
	}
	return t
}

// readJournal calls apply for each complete line, up to the first that cannot
// be read, and returns how many bytes that was.
func readJournal(path string, apply func(Update)) (size int64) {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<16)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return size // the end, or a torn last line
		}
		var u Update
		if json.Unmarshal(line, &u) != nil {
			return size
		}
		apply(u)
		size += int64(len(line))
	}
}

func readTable(path string) (t Table, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return Table{}, 0, fmt.Errorf("opening the kept route table: %w", err)
	}
	defer f.Close()
	dec := json.NewDecoder(bufio.NewReaderSize(f, 1<<16))
	var head tableHead
	if err := dec.Decode(&head); err != nil {
		return Table{}, 0, fmt.Errorf("reading %s: %w", path, err)
	}
	t = Table{Number: head.Number, Routes: make([]Route, 0, min(max(head.Routes, 0), 1<<20))}
	for range head.Routes {
		var r Route
		if err := dec.Decode(&r); err != nil {
			return Table{}, 0, fmt.Errorf("reading %s: route %d of %d: %w", path, len(t.Routes)+1, head.Routes, err)
		}
		t.Routes = append(t.Routes, r)
	}
	return t, dec.InputOffset(), nil
}

// writeTable writes a complete table beside its place and renames it there.
func (k *keeper) writeTable(gen, number uint64, n int, routes func(yield func(*Route) bool)) (size int64, err error) {
	path := k.path("table", gen)
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, fmt.Errorf("keeping the route table: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(tmp)
		}
	}()
	out := bufio.NewWriterSize(f, 1<<16)
	enc := json.NewEncoder(out)
	if err := enc.Encode(tableHead{Number: number, Routes: n}); err != nil {
		return 0, fmt.Errorf("keeping the route table: %w", err)
	}
	for r := range routes {
		if err := enc.Encode(r); err != nil {
			return 0, fmt.Errorf("keeping the route table: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return 0, fmt.Errorf("keeping the route table: %w", err)
	}
	if size, err = f.Seek(0, io.SeekCurrent); err != nil {
		return 0, fmt.Errorf("keeping the route table: %w", err)
	}
	if err := f.Close(); err != nil {
		return 0, fmt.Errorf("keeping the route table: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return 0, fmt.Errorf("keeping the route table: %w", err)
	}
	return size, nil
}

// replace keeps t instead of everything kept so far.
func (k *keeper) replace(t Table) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gen++
	k.closeJournal()
	size, err := k.writeTable(k.gen, t.Number, len(t.Routes), func(yield func(*Route) bool) {
		for i := range t.Routes {
			if !yield(&t.Routes[i]) {
				return
			}
		}
	})
	if err != nil {
		k.broken = true
		return err
	}
	k.completed(k.gen, size)
	k.size, k.broken = 0, false
	return nil
}

// completed notes that table.gen is in its place, and removes what it
// replaces.
func (k *keeper) completed(gen uint64, size int64) {
	k.base = size
	tables, journals, err := k.generations()
	if err != nil {
		return // it only leaves files behind that are never read again
	}
	for _, g := range tables {
		if g < gen {
			_ = os.Remove(k.path("table", g))
		}
	}
	for _, g := range journals {
		if g < gen {
			_ = os.Remove(k.path("journal", g))
		}
	}
}

func (k *keeper) closeJournal() {
	if k.journal != nil {
		_ = k.journal.Close()
		k.journal = nil
	}
}

// append keeps one change. now is the table after it, written down anew when
// the journal got long, and when a journal could not be written.
func (k *keeper) append(u Update, now *table) error {
	line, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("keeping a route update: %w", err)
	}
	line = append(line, '\n')
	k.mu.Lock()
	broken := k.broken
	if !broken {
		err = k.write(line)
		if err == nil && k.size > max(minJournal, k.base) {
			k.compact(now)
		}
	}
	k.mu.Unlock()
	if broken || err != nil {
		return k.replace(now.table())
	}
	return nil
}

func (k *keeper) write(line []byte) error {
	if k.journal == nil {
		f, err := os.OpenFile(k.path("journal", k.gen), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			k.broken = true
			return fmt.Errorf("keeping a route update: %w", err)
		}
		k.journal = f
	}
	if _, err := k.journal.Write(line); err != nil {
		k.broken = true
		return fmt.Errorf("keeping a route update: %w", err)
	}
	k.size += int64(len(line))
	return nil
}

// compact begins the next generation with the table now; updates after it go
// to the next journal at once.
func (k *keeper) compact(now *table) {
	k.gen++
	k.closeJournal()
	k.size = 0
	gen, number := k.gen, now.number()
	routes := slices.Collect(now.all) // they do not change, the table does
	n := len(routes)
	k.compacting.Go(func() {
		size, err := k.writeTable(gen, number, n, func(yield func(*Route) bool) {
			for _, r := range routes {
				if src := r.route(); !yield(&src) {
					return
				}
			}
		})
		if err != nil {
			return // the journals since the last table are still there
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.completed(gen, size)
	})
}

// close waits for a table being written. The keeper must not be used after.
func (k *keeper) close() {
	k.compacting.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closeJournal()
}
