package source_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"weir/internal/source"
)

// BenchmarkWriteZip packs 1,000 small files, as a package with its
// dependencies has them.
func BenchmarkWriteZip(b *testing.B) {
	b.Setenv("XDG_CACHE_HOME", b.TempDir())
	files := map[string]string{}
	for i := range 1000 {
		files[fmt.Sprintf("lib/d%d/f%d.js", i%50, i)] = strings.Repeat(fmt.Sprintf("module.exports = %d;\n", i), 8)
	}
	dir := b.TempDir()
	write(b, dir, files)
	tree, err := source.Walk(b.Context(), dir)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := tree.WriteZip(b.Context(), io.Discard, nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}
