package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
	"weir/internal/source"
)

// gitRun runs the git program in dir; the test is skipped without one.
func gitRun(t *testing.T, dir string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("git")
	if err != nil {
		t.Skip("no git program to make repositories with")
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@t", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@t")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// repository makes one with two commits: v1 (tagged, annotated) and main.
func repository(t *testing.T) (dir, v1, main string) {
	dir = t.TempDir()
	gitRun(t, dir, "init", "-q", "-b", "main")
	write(t, dir, map[string]string{"app/main.go": "one", "app/run.sh": "#!", "README": "read", ".cfignore": "README\n"})
	os.Chmod(filepath.Join(dir, "app/run.sh"), 0o755)
	os.Symlink("main.go", filepath.Join(dir, "app/link"))
	gitRun(t, dir, "add", ".")
	gitRun(t, dir, "commit", "-qm", "one")
	gitRun(t, dir, "tag", "-am", "first", "v1")
	v1 = gitRun(t, dir, "rev-parse", "HEAD")
	write(t, dir, map[string]string{"app/main.go": "two"})
	gitRun(t, dir, "commit", "-qam", "two")
	main = gitRun(t, dir, "rev-parse", "HEAD")
	return dir, v1, main
}

func TestCommit_ReadsTheCommitWhateverTheWorkingTreeHolds(t *testing.T) {
	quietCache(t)
	dir, v1, _ := repository(t)
	write(t, dir, map[string]string{"app/main.go": "uncommitted", "app/new": "new"})
	for range 2 { // the second time with digests from the index
		tree, err := source.Commit(t.Context(), filepath.Join(dir, "app"), "v1")
		if err != nil {
			t.Fatal(err)
		}
		if tree.Commit != v1 {
			t.Errorf("commit %s, want %s", tree.Commit, v1)
		}
		want := []source.File{
			{Path: "link", Mode: fs.ModeSymlink | 0o777, Link: "main.go"},
			{Path: "main.go", Mode: 0o644, Size: 3, SHA1: sum("one")},
			{Path: "run.sh", Mode: 0o755, Size: 2, SHA1: sum("#!")},
		}
		if d := cmp.Diff(want, tree.Files); d != "" {
			t.Error(d)
		}
		r, err := tree.Open(tree.Files[1])
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		r.Close()
		if string(text) != "one" {
			t.Errorf("content %q", text)
		}
	}
}

func TestCommit_AppliesTheIgnoreFileOfTheCommit(t *testing.T) {
	quietCache(t)
	dir, _, _ := repository(t)
	write(t, dir, map[string]string{".cfignore": "app\n"})
	tree, err := source.Commit(t.Context(), dir, "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"app", "app/link", "app/main.go", "app/run.sh"}, paths(tree)); d != "" {
		t.Error(d)
	}
}

func TestCommitFile_ReadsOneFileOrSaysThatItIsNotThere(t *testing.T) {
	dir, v1, _ := repository(t)
	app := filepath.Join(dir, "app")
	if b, err := source.CommitFile(app, "v1", "main.go"); err != nil || string(b) != "one" {
		t.Errorf("%q, %v", b, err)
	}
	for _, name := range []string{"none", "README"} { // README lies above the app
		if _, err := source.CommitFile(app, v1, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	os.Mkdir(filepath.Join(dir, "new"), 0o755)
	_, err := source.CommitFile(filepath.Join(dir, "new"), "v1", "x")
	wantError(t, err, platform.KindNotFound, "has no directory new")
}

func TestCommit_ReadsWorktreesAndBareRepositories(t *testing.T) {
	quietCache(t)
	dir, v1, _ := repository(t)
	other := filepath.Join(t.TempDir(), "wt")
	gitRun(t, dir, "worktree", "add", "-q", other, "v1")
	bare := filepath.Join(t.TempDir(), "bare.git")
	gitRun(t, dir, "clone", "-q", "--bare", dir, bare)
	for _, d := range []string{other, bare} {
		tree, err := source.Commit(t.Context(), d, "v1")
		if err != nil {
			t.Errorf("%s: %v", d, err)
			continue
		}
		if tree.Commit != v1 {
			t.Errorf("%s: commit %s", d, tree.Commit)
		}
	}
}

func TestCommit_TakesBranchesTagsAndCommits(t *testing.T) {
	dir, v1, main := repository(t)
	for ref, want := range map[string]string{
		"": main, "HEAD": main, "main": main, "v1": v1, "HEAD~1": v1, v1: v1, v1[:8]: v1,
	} {
		tree, err := source.Commit(t.Context(), dir, ref)
		if err != nil || tree.Commit != want {
			t.Errorf("Commit(%q) = %+v, %v; want %s", ref, tree, err, want)
		}
	}
	_, err := source.Commit(t.Context(), dir, "v9")
	wantError(t, err, platform.KindNotFound, `no branch, tag or commit "v9"`)
	if e, _ := errors.AsType[*platform.Error](err); e == nil || !strings.Contains(e.Hint, "main, v1") {
		t.Errorf("the hint does not list what there is: %+v", e)
	}
	_, err = source.Commit(t.Context(), t.TempDir(), "main")
	wantError(t, err, platform.KindInvalid, "not in a git repository")
}

func wantError(t *testing.T, err error, kind platform.Kind, text string) {
	t.Helper()
	if platform.KindOf(err) != kind || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("got %v (%s); want %q (%s)", err, platform.KindOf(err), text, kind)
	}
}

func TestCommit_RefusesSubmodulesAndLFSPointers(t *testing.T) {
	quietCache(t)
	dir, v1, _ := repository(t)
	gitRun(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+v1+",vendor/dep")
	gitRun(t, dir, "commit", "-qm", "submodule")
	_, err := source.Commit(t.Context(), dir, "HEAD")
	wantError(t, err, platform.KindInvalid, "vendor/dep is a git submodule")
	_, err = source.Fetch(t.Context(), dir, "main", filepath.Join(t.TempDir(), "x"), source.FetchOptions{AllowLocal: true})
	wantError(t, err, platform.KindInvalid, "vendor/dep is a git submodule")

	dir, _, _ = repository(t)
	write(t, dir, map[string]string{"model.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"})
	gitRun(t, dir, "add", ".")
	gitRun(t, dir, "commit", "-qm", "lfs")
	for range 2 {
		_, err = source.Commit(t.Context(), dir, "HEAD")
		wantError(t, err, platform.KindInvalid, "model.bin is a Git LFS pointer")
	}
	_, err = source.Fetch(t.Context(), dir, "main", filepath.Join(t.TempDir(), "x"), source.FetchOptions{AllowLocal: true})
	wantError(t, err, platform.KindInvalid, "model.bin is a Git LFS pointer")
}

// gitServer serves the repository over HTTP, as a hosting service does.
func gitServer(t *testing.T, dir string, config ...string) *httptest.Server {
	path, err := exec.LookPath("git")
	if err != nil {
		t.Skip("no git program to serve a repository with")
	}
	for _, c := range config {
		key, value, _ := strings.Cut(c, "=")
		gitRun(t, dir, "config", key, value)
	}
	h := &cgi.Handler{
		Path: path, Args: []string{"http-backend"},
		Env: []string{
			"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		},
		Stderr: io.Discard,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/private/") {
			if user, pass, _ := r.BasicAuth(); user != "bot" || pass != "s3cret/t0ken" {
				w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			r.URL.Path = strings.TrimPrefix(r.URL.Path, "/private")
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// Both ways of fetching must give the same files, commits and refusals.
func fetchers() map[string]string { return map[string]string{"git": "", "go-git": "none"} }

func TestFetch_BringsBranchTagCommitAndDefault(t *testing.T) {
	dir, v1, main := repository(t)
	for _, tips := range []string{"uploadpack.allowAnySHA1InWant=false", "uploadpack.allowAnySHA1InWant=true"} {
		srv := gitServer(t, dir, tips)
		for name, git := range fetchers() {
			for ref, want := range map[string]string{
				"": main, "main": main, "v1": v1, "refs/tags/v1": v1, v1: v1, v1[:9]: v1, main: main,
			} {
				dst := filepath.Join(t.TempDir(), "app")
				got, err := source.Fetch(t.Context(), srv.URL+"/.git", ref, dst, source.FetchOptions{Git: git})
				if err != nil {
					t.Errorf("%s %q: %v", name, ref, err)
					continue
				}
				if got.Commit != want || got.Files != 6 {
					t.Errorf("%s %q: %+v, want commit %s", name, ref, got, want)
				}
				checkFetched(t, dst, map[string]string{main: "two", v1: "one"}[want])
			}
		}
	}
}

func checkFetched(t *testing.T, dst, content string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dst, "app/link"))
	if err != nil || string(text) != content {
		t.Errorf("app/link reads %q, %v; want %q", text, err, content)
	}
	if info, err := os.Stat(filepath.Join(dst, "app/run.sh")); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("run.sh lost its executable bit: %v %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(dst, ".git")); err == nil {
		t.Error(".git was left in the app")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dst), ".fetch-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFetch_ExplainsWhatIsMissing(t *testing.T) {
	dir, _, _ := repository(t)
	srv := gitServer(t, dir)
	for name, git := range fetchers() {
		t.Run(name, func(t *testing.T) {
			fetch := func(url, ref string) error {
				_, err := source.Fetch(t.Context(), url, ref, filepath.Join(t.TempDir(), "app"), source.FetchOptions{Git: git})
				return err
			}
			err := fetch(srv.URL+"/.git", "v9")
			wantError(t, err, platform.KindNotFound, `no branch, tag or commit "v9"`)
			if e, _ := errors.AsType[*platform.Error](err); e == nil || !strings.Contains(e.Hint, "main, v1") {
				t.Errorf("hint: %+v", e)
			}
			err = fetch(srv.URL+"/.git", strings.Repeat("0123456789", 4))
			wantError(t, err, platform.KindNotFound, "no branch, tag or commit")
			err = fetch(srv.URL+"/nothing.git", "")
			wantError(t, err, platform.KindInvalid, "there is no such repository")
			err = fetch("http://127.0.0.1:1/x.git", "")
			wantError(t, err, platform.KindUnavailable, "cannot be reached")
		})
	}
}

func TestFetch_NeverShowsCredentials(t *testing.T) {
	dir, _, _ := repository(t)
	srv := gitServer(t, dir)
	host := strings.TrimPrefix(srv.URL, "http://")
	for name, git := range fetchers() {
		opts := source.FetchOptions{Git: git}
		got, err := source.Fetch(t.Context(), "http://bot:s3cret%2Ft0ken@"+host+"/private/.git", "v1", filepath.Join(t.TempDir(), "a"), opts)
		if err != nil || got.URL != srv.URL+"/private/.git" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		for _, ref := range []string{"v1", "nope"} {
			for _, cred := range []string{"bot:wr0ng%2Fpass", "t0pt0ken"} {
				_, err = source.Fetch(t.Context(), "http://"+cred+"@"+host+"/private/.git", ref, filepath.Join(t.TempDir(), "a"), opts)
				wantError(t, err, platform.KindInvalid, "needs credentials")
				if e, _ := errors.AsType[*platform.Error](err); e != nil {
					all := e.Error() + e.Hint
					if strings.Contains(all, "wr0ng") || strings.Contains(all, "t0pt0ken") {
						t.Errorf("%s shows the credentials: %s", name, all)
					}
				}
			}
		}
	}
}

func TestFetch_RefusesAddressesThatAreNotRemote(t *testing.T) {
	for _, url := range []string{
		"", "-uploadpack=/bin/sh", "--help", "file:///etc", "/etc", "./repo", "../repo", "ext::sh -c id",
		"fd::17", "http://", "http://-oProxyCommand=x/y", "ssh://-oProxyCommand=x/y", "ssh://-x@host/y",
		"host:-oProxyCommand=x", "ftp://host/x", "http://h/x\ny", "git@-host:x",
	} {
		_, err := source.Fetch(t.Context(), url, "main", filepath.Join(t.TempDir(), "a"), source.FetchOptions{})
		wantError(t, err, platform.KindInvalid, "is refused")
	}
	for _, ref := range []string{"-u", "a b", "a:b", "a..b", "@{-1}", "x*"} {
		_, err := source.Fetch(t.Context(), "http://127.0.0.1:1/x", ref, filepath.Join(t.TempDir(), "a"), source.FetchOptions{})
		wantError(t, err, platform.KindInvalid, "is refused")
	}
}

func TestFetch_KeepsItsLimits(t *testing.T) {
	dir, _, _ := repository(t)
	write(t, dir, map[string]string{"zeros": strings.Repeat("0", 3<<20)})
	gitRun(t, dir, "add", ".")
	gitRun(t, dir, "commit", "-qm", "a file that packs small")
	srv := gitServer(t, dir)
	for _, git := range fetchers() {
		fetch := func(o source.FetchOptions) error {
			o.Git = git
			_, err := source.Fetch(t.Context(), srv.URL+"/.git", "main", filepath.Join(t.TempDir(), "a"), o)
			return err
		}
		wantError(t, fetch(source.FetchOptions{MaxBytes: 1 << 20}), platform.KindTooLarge, "larger than 1 MB")
		wantError(t, fetch(source.FetchOptions{MaxFiles: 3}), platform.KindTooLarge, "more than 3 files")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := source.Fetch(ctx, srv.URL+"/.git", "main", filepath.Join(t.TempDir(), "a"), source.FetchOptions{})
	if err == nil {
		t.Error("a cancelled fetch succeeded")
	}
}

// A server that accepts and says nothing must not hold a fetch for ever.
func TestFetch_GivesUpOnASilentServer(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	defer close(release)
	for name, git := range fetchers() {
		start := time.Now()
		_, err := source.Fetch(t.Context(), srv.URL+"/x.git", "main", filepath.Join(t.TempDir(), "a"),
			source.FetchOptions{Git: git, Timeout: 500 * time.Millisecond})
		wantError(t, err, platform.KindUnavailable, "took longer than 500ms")
		if d := time.Since(start); d > time.Minute {
			t.Errorf("%s took %s", name, d)
		}
	}
}

func TestSplitRef(t *testing.T) {
	url, ref := source.SplitRef("https://h/x.git#v1.2")
	if url != "https://h/x.git" || ref != "v1.2" {
		t.Errorf("%q %q", url, ref)
	}
	if url, ref = source.SplitRef("https://h/x"); url != "https://h/x" || ref != "" {
		t.Errorf("%q %q", url, ref)
	}
}
