package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"gopkg.in/yaml.v3"
)

// tenementFile is what of a tenement.toml means something here.
type tenementFile struct {
	Settings struct {
		TLS struct {
			Domain string `toml:"domain"`
		} `toml:"tls"`
	} `toml:"settings"`
	Service   map[string]tenementService `toml:"service"`
	Instances map[string][]string        `toml:"instances"`
	Routing   struct {
		Default   string            `toml:"default"`
		Subdomain map[string]string `toml:"subdomain"`
		Path      map[string]string `toml:"path"`
	} `toml:"routing"`
}

type tenementService struct {
	Command        string            `toml:"command"`
	Args           []string          `toml:"args"`
	Health         string            `toml:"health"`
	StartupTimeout int               `toml:"startup_timeout"`
	RequestTimeout int               `toml:"request_timeout"`
	MemoryLimitMB  int               `toml:"memory_limit_mb"`
	MemoryMB       int               `toml:"memory_mb"`
	Env            map[string]string `toml:"env"`
	Workdir        string            `toml:"workdir"`
	Restart        string            `toml:"restart"`
}

// otherwise says what becomes of settings that have no counterpart.
var otherwise = map[string]string{
	"idle_timeout":     "it keeps running when nobody asks for it",
	"isolation":        "weir serve decides how instances are isolated",
	"storage_persist":  "files an instance writes go with it; keep data in a service",
	"storage_quota_mb": "-k limits the disk of an instance",
	"cpu_shares":       "instances share the processors evenly",
	"socket":           "instances listen on $PORT",
	"mounts":           "instances see their own files only",
	"image":            "weir runs source: push the program itself",
	"kernel":           "there are no virtual machines",
	"rootfs":           "there are no virtual machines",
	"vcpus":            "there are no virtual machines",
	"vsock_port":       "instances listen on $PORT",
}

// manifestEntry is an app of the manifest that comes of it.
type manifestEntry struct {
	Name         string            `yaml:"name"`
	Path         string            `yaml:"path,omitempty"`
	Buildpacks   []string          `yaml:"buildpacks,omitempty"`
	Command      string            `yaml:"command,omitempty"`
	Memory       string            `yaml:"memory,omitempty"`
	Timeout      int               `yaml:"timeout,omitempty"`
	HealthType   string            `yaml:"health-check-type,omitempty"`
	HealthPath   string            `yaml:"health-check-http-endpoint,omitempty"`
	Env          map[string]string `yaml:"env,omitempty"`
	Routes       []manifestRoute   `yaml:"routes,omitempty"`
	DefaultRoute bool              `yaml:"default-route,omitempty"`
}

type manifestRoute struct {
	Route   string            `yaml:"route"`
	Options map[string]string `yaml:"options,omitempty"`
}

// wrongType is the parser's complaint about a value; it speaks of Go's types.
var wrongType = regexp.MustCompile(`cannot decode TOML (\w+) into struct field \S+\.(\w+) of type`)

// importTenement makes a manifest of a tenement.toml at path. domain is used
// instead of the one it names unless it is empty.
func importTenement(path string, data []byte, domain string) (imported, error) {
	bad := func(format string, args ...any) error {
		return newFailure(exitFailed, "invalid", path+": "+fmt.Sprintf(format, args...), "")
	}
	var f tenementFile
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // which editors of Windows put in front
	if err := toml.Unmarshal(data, &f); err != nil {
		text := strings.TrimPrefix(err.Error(), "toml: ")
		if m := wrongType.FindStringSubmatch(text); m != nil {
			text = strings.ToLower(m[2]) + " cannot be of the type " + m[1]
		}
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ := at.Position()
			text = fmt.Sprintf("line %d: %s", line, text)
		}
		return imported{}, bad("%s", text)
	}
	if len(f.Service) == 0 {
		return imported{}, bad("it has no [service.NAME]")
	}
	domain = cmp.Or(domain, f.Settings.TLS.Domain)
	in := tenementImport{file: f, domain: domain, dir: filepath.Dir(path)}
	var entries []manifestEntry
	for _, name := range slices.Sorted(maps.Keys(f.Service)) {
		entry, err := in.app(name, f.Service[name])
		if err != nil {
			return imported{}, bad("%s", err)
		}
		entries = append(entries, entry)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Instances)) {
		if _, ok := f.Service[name]; !ok {
			in.note("[instances] %s was left out: there is no [service.%s]", name, name)
		}
	}
	if err := in.unknown(data); err != nil {
		return imported{}, err
	}
	text, err := yaml.Marshal(map[string]any{"applications": entries})
	if err != nil {
		return imported{}, err
	}
	return imported{Manifest: string(text), Commands: in.commands(entries), Notes: in.notes}, nil
}

// tenementImport is an import under way.
type tenementImport struct {
	file   tenementFile
	domain string
	dir    string
	notes  []string
}

func (in *tenementImport) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(in.notes, n) {
		in.notes = append(in.notes, n)
	}
}

// app makes an app of a service.
func (in *tenementImport) app(name string, s tenementService) (manifestEntry, error) {
	if s.Command == "" {
		return manifestEntry{}, fmt.Errorf("service %s has no command", name)
	}
	e := manifestEntry{Name: appName(name), Path: s.Workdir, Env: map[string]string{}, Timeout: s.StartupTimeout}
	if e.Name != name {
		in.note("service %s is called %s, which can stand in a host name", name, e.Name)
	}
	if !filepath.IsAbs(e.Path) {
		e.Path = filepath.Join(in.dir, e.Path)
	}
	e.Command = in.fill(name, strings.Join(append([]string{s.Command}, quoteAll(s.Args)...), " "))
	if mb := cmp.Or(s.MemoryLimitMB, s.MemoryMB); mb > 0 {
		e.Memory = fmt.Sprintf("%dM", mb)
	}
	if s.Health != "" {
		e.HealthType, e.HealthPath = "http", "/"+strings.TrimPrefix(s.Health, "/")
	}
	for k, v := range s.Env {
		if k == "PORT" || k == "SOCKET_PATH" {
			in.note("service %s: variable %s is the platform's own and was left out", name, k)
			continue
		}
		e.Env[k] = in.fill(name, v)
	}
	if s.Restart != "" && s.Restart != "always" {
		in.note("service %s: restart = %q: an instance that ends is always started again", name, s.Restart)
	}
	in.routes(&e, name, s)
	return e, nil
}

// routes gives an app its addresses.
func (in *tenementImport) routes(e *manifestEntry, name string, s tenementService) {
	if in.domain == "" {
		e.DefaultRoute = true
		if in.file.Routing.Default != "" || len(in.file.Routing.Subdomain) > 0 || len(in.file.Routing.Path) > 0 {
			in.note("[routing] needs a domain: import again with --domain DOMAIN")
		}
		return
	}
	hosts := []string{e.Name + "." + in.domain}
	if in.file.Routing.Default == name {
		hosts = append(hosts, in.domain)
	}
	for _, sub := range slices.Sorted(maps.Keys(in.file.Routing.Subdomain)) {
		if in.file.Routing.Subdomain[sub] == name && sub != e.Name {
			hosts = append(hosts, sub+"."+in.domain)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(in.file.Routing.Path)) {
		if in.file.Routing.Path[p] == name {
			hosts = append(hosts, in.domain+"/"+strings.Trim(p, "/"))
		}
	}
	for _, h := range hosts {
		r := manifestRoute{Route: h}
		if s.RequestTimeout > 0 {
			r.Options = map[string]string{"timeout": fmt.Sprintf("%ds", s.RequestTimeout)}
		}
		e.Routes = append(e.Routes, r)
	}
}

// fill puts in what tenement writes in braces.
func (in *tenementImport) fill(name, text string) string {
	if strings.Contains(text, "{socket}") {
		in.note("service %s: {socket}: instances listen on $PORT", name)
	}
	if strings.Contains(text, "{data_dir}") {
		in.note("service %s: {data_dir} is $HOME, which goes with the instance", name)
	}
	return strings.NewReplacer(
		"{name}", name, "{id}", "$WEIR_VERSION", "{port}", "$PORT", "{data_dir}", "$HOME", "{socket}", "$PORT",
	).Replace(text)
}

// quoteAll writes arguments as a shell reads them.
func quoteAll(args []string) []string {
	out := make([]string, 0, len(args))
	for _, a := range args {
		if a != "" && !strings.ContainsAny(a, " \t\n'\"\\$&|;<>()*?[]#~`!") {
			out = append(out, a)
			continue
		}
		out = append(out, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`").Replace(a)+`"`)
	}
	return out
}

// unknown notes the settings that were not taken over.
func (in *tenementImport) unknown(data []byte) error {
	var all struct {
		Service map[string]map[string]any `toml:"service"`
	}
	if err := toml.Unmarshal(data, &all); err != nil {
		return err
	}
	known := []string{"command", "args", "health", "startup_timeout", "request_timeout", "memory_limit_mb", "memory_mb", "env", "workdir", "restart"}
	for _, name := range slices.Sorted(maps.Keys(all.Service)) {
		for _, key := range slices.Sorted(maps.Keys(all.Service[name])) {
			if slices.Contains(known, key) {
				continue
			}
			in.note("service %s: %s was left out: %s", name, key, cmp.Or(otherwise[key], "weir does not know it"))
		}
	}
	return nil
}

// commands are what brings everything up, instances as versions.
func (in *tenementImport) commands(entries []manifestEntry) []string {
	var out, more []string
	for _, e := range entries {
		ids := in.file.Instances[e.Name]
		if len(ids) == 0 {
			out = append(out, "weir push "+e.Name)
			continue
		}
		out = append(out, fmt.Sprintf("weir push %s --version %s", e.Name, ids[0]))
		shares := []string{e.Name + ":" + ids[0] + "=100"}
		for _, id := range ids[1:] {
			more = append(more, fmt.Sprintf("weir spawn %s:%s", e.Name, id))
			shares = append(shares, e.Name+":"+id+"=100")
		}
		if len(shares) > 1 {
			more = append(more, "weir weight "+strings.Join(shares, " "))
		}
	}
	return append(out, more...)
}
