package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// docs/CLI.md promises what is in the JSON results: it must name every kind
// and every field.
func TestDocs_NameEveryKindAndField(t *testing.T) {
	b, err := os.ReadFile("../docs/CLI.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	sources, _ := filepath.Glob("*.go")
	kinds := regexp.MustCompile(`\.(?:print|done)\("([A-Za-z]+)"`)
	codes := regexp.MustCompile(`(?:code: |newFailure\(exit[A-Za-z]+, |f\.exit, f\.code = exit[A-Za-z]+, |f\.code(?:, f\.retryable)? = )"([a-z-]+)"`)
	keys := regexp.MustCompile(`print\("[A-Za-z]+", map\[string\]any\{"([A-Za-z]+)"`)
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, re := range []*regexp.Regexp{kinds, codes, keys} {
			for _, m := range re.FindAllStringSubmatch(string(src), -1) {
				if !strings.Contains(doc, "`"+m[1]+"`") {
					t.Errorf("%s uses %q, which docs/CLI.md does not know", name, m[1])
				}
			}
		}
	}
	for _, v := range []any{
		appView{},
		buildpackUsed{},
		processView{},
		instanceView{},
		deploymentView{},
		appItem{},
		processItem{},
		pushed{},
		uploadView{},
		appAction{},
		envChange{},
		logLine{},
		eventView{},
		routeView{},
		destinationView{},
		routeChange{},
		mapping{},
		domainView{},
		domainChange{},
		dropletView{},
		packageView{},
		revisionView{},
		buildpackView{},
		targetView{},
		orgView{},
		spaceView{},
		versionView{},
		versionRow{},
		versionShare{},
		trafficView{},
		versionChange{},
		trafficShare{},
		routeMove{},
		killed{},
		appTraffic{},
		pauseView{},
		maintenanceView{},
		revisionDiff{},
		revisionChange{},
		rolloutView{},
		rolloutUsage{},
		evidence{},
		rolloutBadRequest{},
		rolloutEvent{},
		rolloutReplay{},
		rolloutSimulation{},
		freezeView{},
		conceptsView{},
		conceptView{},
	} {
		typ := reflect.TypeOf(v)
		for _, f := range reflect.VisibleFields(typ) {
			if f.Anonymous {
				continue
			}
			tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if tag == "" || !strings.Contains(doc, "`"+tag+"`") {
				t.Errorf("docs/CLI.md does not know field %q of %s", tag, typ.Name())
			}
		}
	}
	for _, code := range []int{
		exitOK, exitFailed, exitUsage, exitLogin, exitRefused, exitConflict, exitRolledBack, exitTimedOut, exitNotFound, exitCurl, exitInterrupted,
	} {
		if !strings.Contains(doc, fmt.Sprintf("\n| %d | ", code)) {
			t.Errorf("docs/CLI.md does not know exit code %d", code)
		}
	}
}
