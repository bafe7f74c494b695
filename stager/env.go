package stager

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"weir/buildpacks"
	"weir/internal/platform"
	"weir/internal/runner"
)

// passed are the settings of the operator that builds need to reach packages;
// a star stands for any end. What would lead them out of their own directories
// is not among them.
var passed = []string{
	"GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB", "GONOSUMCHECK", "GOFLAGS", "GOINSECURE", "GOTOOLCHAIN",
	"NPM_CONFIG_*", "npm_config_*", "PIP_*",
	"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO",
}

var notPassed = []string{"npm_config_prefix", "npm_config_userconfig", "npm_config_globalconfig", "npm_config_cache", "npm_config_init_module", "pip_cache_dir", "pip_target", "pip_prefix", "pip_user"}

// PassEnv picks from an environment what the operator of a machine sets for
// all builds on it: proxies, registries, certificates.
func PassEnv(environ []string) []string {
	var picked []string
	for _, kv := range environ {
		name, _, ok := strings.Cut(kv, "=")
		if !ok || slices.Contains(notPassed, strings.ToLower(name)) {
			continue
		}
		if slices.ContainsFunc(passed, func(p string) bool {
			prefix, star := strings.CutSuffix(p, "*")
			return name == p || star && strings.HasPrefix(name, prefix)
		}) {
			picked = append(picked, kv)
		}
	}
	return picked
}

// reserved are the variables of a build that an app cannot set: they would
// lead its scripts astray, or the shell that runs them.
var reserved = []string{
	"PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "SHLVL", "IFS", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS",
	"GIT_DIR", "DEPS_DIR", "CF_STACK", "STACK", "SOURCE_DATE_EPOCH", "SOURCE_VERSION",
}

// allowed reports whether a build gets to see an app's variable of that name.
func allowed(name string) bool {
	return name != "" && !slices.Contains(reserved, name) && !strings.ContainsAny(name, "=\x00/") &&
		!strings.HasPrefix(name, "LD_") && !strings.HasPrefix(name, "BASH_FUNC_") // the loader's, and functions that replace commands
}

// appEnv returns the variables of the app a build sees: all of them, and those
// that are the user's own, which buildpacks of Heroku's kind find as files.
func (s *Stager) appEnv(ctx context.Context, app platform.App) (all, own map[string]string, err error) {
	all = maps.Clone(app.Env)
	if s.cfg.AppEnv != nil {
		if all, err = s.cfg.AppEnv(ctx, app.GUID); err != nil {
			return nil, nil, fmt.Errorf("reading the environment of app %s: %w", app.GUID, err)
		}
	}
	all = maps.Clone(all)
	maps.DeleteFunc(all, func(name, value string) bool { return !allowed(name) || strings.ContainsRune(value, 0) })
	own = maps.Clone(all)
	maps.DeleteFunc(own, func(name, _ string) bool { return strings.HasPrefix(name, "VCAP_") || !isFileName(name) })
	return all, own, nil
}

func isFileName(name string) bool { return name != "." && name != ".." && len(name) < 256 }

// writeEnvDir writes each variable into a file of its own.
func writeEnvDir(dir string, env map[string]string) error {
	for name, value := range env {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// buildEnv returns the function that makes a build's whole environment. Later
// settings win over earlier ones of the same name.
func (s *Stager) buildEnv(b platform.Build, app map[string]string, version string) func(runner.Endpoint) []string {
	return func(ep runner.Endpoint) []string {
		env := map[string]string{
			"LANG": "C.UTF-8", "TZ": "UTC", "TERM": "dumb", "PYTHONUNBUFFERED": "1",
			"MEMORY_LIMIT": fmt.Sprintf("%dm", b.MemoryMB), "STAGING_TIMEOUT": fmt.Sprint(int(s.cfg.Timeout.Seconds())),
			"CURL_CONNECT_TIMEOUT": "90", "CURL_TIMEOUT": "600", "GIT_TERMINAL_PROMPT": "0",
		}
		for _, kv := range s.cfg.BuildEnv {
			if name, value, ok := strings.Cut(kv, "="); ok {
				env[name] = value
			}
		}
		maps.Copy(env, app)
		maps.Copy(env, map[string]string{
			"PATH": s.cfg.Path, "HOME": path.Join(ep.Root, buildpacks.HomeDir), "TMPDIR": path.Join(ep.Root, buildpacks.TempDir),
			"USER": "vcap", "LOGNAME": "vcap", "SHELL": "/bin/bash",
			"CF_STACK": b.Lifecycle.Stack, "STACK": s.cfg.HerokuStack,
			// Files that carry a time get this one, so that two builds of the
			// same source are the same: the first day a zip archive knows.
			"SOURCE_DATE_EPOCH": "315532800",
		})
		if version != "" {
			env["SOURCE_VERSION"] = version
		}
		var list []string
		for _, name := range slices.Sorted(maps.Keys(env)) {
			list = append(list, name+"="+env[name])
		}
		return list
	}
}

// sourceVersion is the commit a package was made from, if that is known.
func sourceVersion(p platform.Package) string {
	if p.Git != nil && p.Git.Commit != "" {
		return p.Git.Commit
	}
	return p.Metadata.Annotations["source-version"]
}
