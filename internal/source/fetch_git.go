package source

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"weir/internal/platform"
)

// isHash reports whether s can be the hash of a commit: a full one has 40
// digits, shorter ones begin with 4.
func isHash(s string) bool {
	return len(s) >= 4 && len(s) <= fullHash && strings.Trim(s, "0123456789abcdef") == ""
}

const fullHash = 40

// fetchedRef is where the wanted commit ends up in the temporary repository.
const fetchedRef = "refs/weir/fetched"

// fetch brings ref of the remote into a new bare repository at dir and
// returns its commit. The git program is preferred: it is twice as fast and
// knows every server; without one go-git does the same.
func (r remote) fetch(ctx context.Context, git, ref, dir string) (string, error) {
	if git == "" {
		return r.fetchPure(ctx, ref, dir)
	}
	g := gitProgram{remote: r, path: git, dir: dir}
	if _, err := g.run(ctx, "init", "--quiet", "--bare", dir); err != nil {
		return "", err
	}
	want := ref
	if want == "" {
		want = "HEAD"
	}
	err := g.fetchRef(ctx, want, "--depth=1")
	if err != nil && ctx.Err() == nil && isHash(want) {
		return g.fetchAny(ctx, want) // a commit the server does not give out by its hash
	}
	if err != nil {
		return "", err
	}
	return g.commit(ctx, fetchedRef)
}

// gitProgram runs the git binary on a repository of its own, with nothing of
// the caller's configuration, hooks, filters, prompts or credentials.
type gitProgram struct {
	remote
	path string
	dir  string
}

func (g gitProgram) fetchRef(ctx context.Context, ref string, extra ...string) error {
	args := append([]string{"fetch", "--quiet", "--no-tags", "--no-recurse-submodules"}, extra...)
	_, err := g.run(ctx, append(args, "--", g.url, "+"+ref+":"+fetchedRef)...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if text := err.Error(); strings.Contains(text, "couldn't find remote ref") ||
		strings.Contains(text, "not our ref") || strings.Contains(text, "no such remote ref") {
		if ref == "HEAD" {
			ref = ""
		}
		return g.noSuchRef(ref, g.refs(ctx))
	}
	return err
}

// fetchAny brings all branches and tags and looks for rev among them: for
// commits that the server will not give out by their hash.
func (g gitProgram) fetchAny(ctx context.Context, rev string) (string, error) {
	_, err := g.run(ctx, "fetch", "--quiet", "--no-recurse-submodules", "--", g.url,
		"+refs/heads/*:refs/remotes/o/*", "+refs/tags/*:refs/tags/*")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"refs/remotes/o/" + rev, "refs/tags/" + rev, rev} {
		if hash, err := g.commit(ctx, name); err == nil {
			return hash, nil
		}
	}
	return "", g.noSuchRef(rev, g.refs(ctx))
}

func (g gitProgram) commit(ctx context.Context, rev string) (string, error) {
	out, err := g.run(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	return strings.TrimSpace(out), err
}

// refs lists branches and tags for a hint; none if that fails.
func (g gitProgram) refs(ctx context.Context) (names []string) {
	out, err := g.run(ctx, "ls-remote", "--quiet", "--heads", "--tags", "--refs", "--", g.url)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(out) {
		_, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		names = append(names, shortRef(ref))
	}
	return names
}

func shortRef(ref string) string {
	return strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/")
}

// run starts git with args and returns its standard output. The whole process
// group is killed when ctx ends, since git leaves the transfer to children.
func (g gitProgram) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, g.path, append([]string{
		"-c", "core.hooksPath=/dev/null", "-c", "credential.helper=", "-c", "gc.auto=0",
	}, args...)...)
	cmd.Dir = g.dir
	cmd.Env = g.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", g.explain(stderr.String(), err)
	}
	return stdout.String(), nil
}

func (g gitProgram) environ() []string {
	env := []string{
		"HOME=" + g.dir, "GIT_DIR=" + g.dir, "LC_ALL=C",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false", "SSH_ASKPASS=/bin/false", "GIT_LFS_SKIP_SMUDGE=1",
		"GIT_SSH_COMMAND=ssh -oBatchMode=yes -oConnectTimeout=10",
		"GIT_ALLOW_PROTOCOL=" + strings.Join(g.protocols(), ":"),
	}
	for _, key := range []string{
		"PATH", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
	} {
		if v, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+v)
		}
	}
	if g.user != "" || g.password != "" {
		// Through the environment: argv is visible to every user of the machine.
		basic := base64.StdEncoding.EncodeToString([]byte(g.user + ":" + g.password))
		env = append(env, "GIT_CONFIG_COUNT=1",
			"GIT_CONFIG_KEY_0=http."+g.url+".extraHeader",
			"GIT_CONFIG_VALUE_0=Authorization: Basic "+basic)
	}
	return env
}

// protocols are those that the first address and its redirects may use.
func (r remote) protocols() []string {
	if r.scheme == "http" {
		return []string{"http", "https"}
	}
	return []string{r.scheme}
}

// explain turns what git wrote into an error for a person.
func (r remote) explain(stderr string, err error) error {
	text := strings.TrimSpace(r.scrub(stderr))
	msg := "fetching " + r.shown
	e := &platform.Error{Kind: platform.KindInvalid, Msg: msg, Err: fmt.Errorf("%w: %s", err, text)}
	switch {
	case strings.Contains(text, "could not read Username"), strings.Contains(text, "Authentication failed"),
		strings.Contains(text, "Permission denied"), strings.Contains(text, "terminal prompts disabled"),
		strings.Contains(text, "authentication required"), strings.Contains(text, "authorization failed"):
		e.Msg += " needs credentials, or those given were refused"
		e.Hint = "use https://TOKEN@host/path, or push a local clone: weir push --ref REF"
	case strings.Contains(text, "not found"), strings.Contains(text, "does not appear to be a git repository"),
		strings.Contains(text, "does not exist"):
		e.Msg += ": there is no such repository"
		e.Hint = "check the address; a private one needs credentials"
	case strings.Contains(text, "Could not resolve host"), strings.Contains(text, "no such host"),
		strings.Contains(text, "unable to access"), strings.Contains(text, "Connection refused"),
		strings.Contains(text, "connection refused"):
		e.Kind = platform.KindUnavailable
		e.Msg += ": its host cannot be reached from the server"
	case strings.Contains(text, "dubious ownership"):
		e.Msg += ": the repository belongs to another user than weir runs as"
		e.Hint = "push it from where it is: weir push APP -p DIRECTORY --ref REF"
	default:
		e.Msg += " failed: " + cause(text, err)
	}
	return e
}

// cause is the line in which git says what was wrong: the first fatal one, for
// advice follows; else the last one.
func cause(text string, err error) string {
	if text == "" {
		return err.Error()
	}
	lines := strings.Split(text, "\n")
	for _, line := range lines {
		if why, ok := strings.CutPrefix(line, "fatal: "); ok {
			return why
		}
	}
	return lines[len(lines)-1]
}
