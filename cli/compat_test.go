package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/COMPATIBILITY.md says of each promise of other systems what weir does
// and which test shows it: every row is there, and every test it names.
func TestCompatibility_NamesTestsThatExist(t *testing.T) {
	b, err := os.ReadFile("../docs/COMPATIBILITY.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	var rows []string
	for i := 1; i <= 33; i++ {
		rows = append(rows, fmt.Sprintf("T%d", i))
	}
	for i := 1; i <= 24; i++ {
		rows = append(rows, fmt.Sprintf("D%d", i))
	}
	for _, row := range rows {
		if strings.Count(text, "\n| "+row+" | ") != 1 {
			t.Errorf("there is not one row %s", row)
		}
	}
	there := testNames(t, "..")
	for _, name := range regexp.MustCompile("`(Test\\w+|[\\w-]+\\.txtar)`").FindAllStringSubmatch(text, -1) {
		if !there[name[1]] {
			t.Errorf("there is no test %s", name[1])
		}
	}
}

// testNames returns the names of all tests and scripts below a directory.
func testNames(t *testing.T, root string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && strings.HasPrefix(e.Name(), ".") && path != root:
			return fs.SkipDir
		case strings.HasSuffix(path, ".txtar"):
			names[e.Name()] = true
		case strings.HasSuffix(path, "_test.go"):
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range declared.FindAllStringSubmatch(string(b), -1) {
				names[m[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
