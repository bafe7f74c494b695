package buildpacks

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// choose settles which buildpacks are used: those given, or the first that
// detects the app.
func (b *build) choose() error {
	if b.plan.Detect {
		return b.detect()
	}
	if b.plan.Strict {
		for i := range b.packs {
			if err := b.mustDetect(&b.packs[i]); err != nil {
				return err
			}
		}
	}
	return b.checkGiven()
}

// mustDetect fails the build if a buildpack of ".buildpacks" does not detect
// the app.
func (b *build) mustDetect(p *pack) error {
	ok, output, complaint := b.detects(p)
	if ok {
		p.output = output
		return nil
	}
	b.out.Write(complaint)
	b.result.Code, b.result.Pack, b.result.Script = CodeNotDetected, p.Name, "detect"
	return fmt.Errorf("buildpack %s of the file .buildpacks does not detect this app", p.Name)
}

// checkGiven refuses, before anything runs, a list in which a buildpack could
// not do its part.
func (b *build) checkGiven() error {
	for i, p := range b.packs {
		if i < len(b.packs)-1 && !p.has["supply"] && !p.has["compile"] {
			b.result.Code, b.result.Pack = CodeSupplyFailed, p.Name
			return fmt.Errorf("buildpack %s does not support multi-buildpack apps: it has no bin/supply; put it last", p.Name)
		}
	}
	if n := len(b.packs); n > 1 {
		last := b.packs[n-1]
		if !last.has["finalize"] && last.has["compile"] && b.packs[0].has["supply"] {
			fmt.Fprintf(b.out, "       Warning: buildpack %s has no bin/finalize and may not know what the buildpacks before it supplied\n", last.Name)
		}
	}
	return nil
}

// detect asks all buildpacks, so that a person can see what else would have
// matched, and keeps the first one that says yes.
func (b *build) detect() error {
	type answer struct {
		ok                bool
		output, complaint string
	}
	answers := make([]answer, len(b.packs))
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(2, runtime.NumCPU())) // as many scripts at a time
	for i := range b.packs {
		if !b.packs[i].has["detect"] {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ok, output, complaint := b.detects(&b.packs[i])
			answers[i] = answer{ok, output, string(complaint)}
		})
	}
	wg.Wait()

	first := -1
	for i, a := range answers {
		if !a.ok {
			continue
		}
		if first < 0 {
			first = i
		}
		b.packs[i].output = a.output
		b.result.Matches = append(b.result.Matches, Match{b.packs[i].Name, a.output})
	}
	if first >= 0 {
		b.explain()
		b.packs = b.packs[first : first+1]
		return nil
	}
	for i, a := range answers {
		if c := strings.TrimSpace(a.complaint); c != "" && b.packs[i].LooksFor == "" {
			fmt.Fprintf(b.out, "       %s: %s\n", b.packs[i].Name, strings.ReplaceAll(c, "\n", "\n       "))
		}
	}
	b.result.Code = CodeNotDetected
	return fmt.Errorf("an app was not successfully detected by any available buildpack; looked for: %s", b.lookedFor())
}

// explain tells which buildpacks matched and why the first one is used.
func (b *build) explain() {
	m := b.result.Matches
	show := func(m Match) string {
		if m.Output == "" || m.Output == m.Name {
			return m.Name
		}
		return fmt.Sprintf("%s: %s", m.Name, m.Output)
	}
	fmt.Fprintf(b.out, "-----> Detected %s\n", show(m[0]))
	if len(m) == 1 {
		return
	}
	var others []string
	for _, o := range m[1:] {
		others = append(others, show(o))
	}
	fmt.Fprintf(b.out, "       Also matching, later in order: %s\n", strings.Join(others, "; "))
	fmt.Fprintf(b.out, "       %s comes first in the order of detection; name another to use it instead\n", m[0].Name)
}

func (b *build) lookedFor() string {
	var all []string
	for _, p := range b.packs {
		if p.LooksFor == "" {
			all = append(all, p.Name+" (its own test)")
			continue
		}
		all = append(all, p.Name+" ("+p.LooksFor+")")
	}
	return strings.Join(all, ", ")
}

// detects runs bin/detect. Its standard output names what it found; its
// standard error is only of interest when nothing was detected.
func (b *build) detects(p *pack) (ok bool, output string, complaint []byte) {
	if !p.has["detect"] {
		return true, "", nil
	}
	var out, complaints bytes.Buffer
	err := b.exec(p, "detect", &limited{buf: &out}, &limited{buf: &complaints}, filepath.Join(b.stage, AppDir))
	output, _, _ = strings.Cut(strings.TrimSpace(out.String()), "\n")
	return err == nil, strings.ToValidUTF8(output, "\ufffd"), complaints.Bytes()
}

// limited keeps the first 64 KiB of what is written and drops the rest.
type limited struct{ buf *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := 64<<10 - l.buf.Len(); room > 0 {
		l.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
