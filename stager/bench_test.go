package stager_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/stager"
)

// BenchmarkStage measures a build whose buildpack does nothing, from the
// request to the droplet. "own-ms" is that time without the buildpack's
// scripts: what the stager itself costs. An external buildpack gets a copy of
// the app's files; one that is built in and only reads them does not need it.
func BenchmarkStage(b *testing.B) {
	type size struct{ files, bytes int }
	type pack struct {
		name string
		key  func(*world) string
	}
	null := func(w *world) string {
		return w.pack(map[string]string{"bin/compile": ":", "bin/release": "echo '--- {default_process_types: {web: x}}'"})
	}
	for _, c := range []struct {
		size
		pack
	}{
		{size{100, 20 << 10}, pack{"external", null}},
		{size{100, 20 << 10}, pack{"built-in", func(*world) string { return "procfile" }}},
		{size{24000, 14 << 10}, pack{"external", null}},
		{size{24000, 14 << 10}, pack{"built-in", func(*world) string { return "procfile" }}},
	} {
		size, pack := c.size, c.pack
		b.Run(fmt.Sprintf("files=%d/%s", size.files, pack.name), func(b *testing.B) {
			w := newWorld(b, func(c *stager.Config) { c.SweepEvery = time.Hour })
			app := w.app("bench", pack.key(w))
			p, err := w.CreatePackage(b.Context(), w.actor, platform.Package{AppGUID: app.GUID})
			if err != nil {
				b.Fatal(err)
			}
			if p, err = w.UploadPackage(b.Context(), w.actor, p.GUID, manyFiles(b, size.files, size.bytes), nil); err != nil {
				b.Fatal(err)
			}
			var own time.Duration
			b.ResetTimer()
			for i := range b.N {
				start := time.Now()
				w.staged(p)
				took := time.Since(start)
				own += took - w.scriptTime(app.GUID, i+1)
			}
			b.ReportMetric(float64(own.Milliseconds())/float64(b.N), "own-ms")
		})
	}
}

var scriptsTook = regexp.MustCompile(`scripts ([0-9.]+)s`)

// scriptTime is what the n-th build of the app spent in its buildpack.
func (w *world) scriptTime(app string, n int) time.Duration {
	w.t.Helper()
	var all [][]string
	for deadline := time.Now().Add(30 * time.Second); len(all) < n; time.Sleep(time.Millisecond) {
		all = scriptsTook.FindAllStringSubmatch(w.log(app), -1)
		if time.Now().After(deadline) {
			w.t.Fatal("the staging log does not tell the scripts' time")
		}
	}
	s, err := strconv.ParseFloat(all[n-1][1], 64)
	if err != nil {
		w.t.Fatal(err)
	}
	return time.Duration(s * float64(time.Second))
}

// manyFiles packs an app of the size of a large node_modules.
func manyFiles(b *testing.B, files, bytesEach int) io.Reader {
	b.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	content := make([]byte, bytesEach)
	for i := range files {
		for j := 0; j < len(content); j += 8 {
			r := random.Uint64()
			for k := range min(8, len(content)-j) {
				content[j+k] = 'a' + byte(r>>(8*k))&15
			}
		}
		f, err := z.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("node_modules/p%d/lib/f%d.js", i/20, i), Method: zip.Store})
		if err != nil {
			b.Fatal(err)
		}
		f.Write(content)
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	return bytes.NewReader(buf.Bytes())
}
