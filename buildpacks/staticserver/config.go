package staticserver

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Config is what a Staticfile may say. The zero value serves files and
// nothing else.
type Config struct {
	// PushState answers paths that do not exist with the index page, for apps
	// that do their own routing in the browser.
	PushState bool
	// DirectoryListing shows the files of a directory without index page.
	DirectoryListing bool
	// DotFiles serves files whose name begins with a dot.
	DotFiles bool
	// ForceHTTPS redirects requests that came to the router without TLS.
	ForceHTTPS bool
	// HSTS is the Strict-Transport-Security header; empty means none.
	HSTS string
	// Headers are added to answers, by pattern of the path.
	Headers []HeaderRule
	// StatusPages are the pages shown for a status such as 404, by path.
	StatusPages map[int]string
	// Users are the only ones let in, with their passwords' hashes, unless
	// there are none.
	Users map[string]string
}

// HeaderRule adds headers to answers for paths that match.
type HeaderRule struct {
	// Pattern is a path. "/*" at its end stands for everything below; other
	// stars and question marks match within one component, as in "/*.css".
	Pattern string
	Headers map[string]string
}

func (r HeaderRule) matches(p string) bool {
	if prefix, ok := strings.CutSuffix(r.Pattern, "/*"); ok {
		return strings.HasPrefix(p, prefix+"/")
	}
	ok, err := path.Match(r.Pattern, p)
	return ok && err == nil
}

// enabled is a switch as Staticfiles spell it.
type enabled bool

func (e *enabled) UnmarshalYAML(n *yaml.Node) error {
	switch strings.ToLower(n.Value) {
	case "enabled", "enable", "true", "yes", "on", "visible":
		*e = true
	case "", "disabled", "false", "no", "off", "null", "~":
	default:
		return fmt.Errorf("line %d: %q is neither enabled nor disabled", n.Line, n.Value)
	}
	return nil
}

// LoadConfig reads the files Staticfile and Staticfile.auth of a directory.
// Neither has to be there.
func LoadConfig(dir string) (Config, error) {
	var c Config
	data, err := os.ReadFile(filepath.Join(dir, "Staticfile"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if c, err = ParseConfig(data); err != nil {
		return c, fmt.Errorf("the Staticfile: %w", err)
	}
	auth, err := os.ReadFile(filepath.Join(dir, "Staticfile.auth"))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if c.Users, err = parseUsers(auth); err != nil {
		return c, fmt.Errorf("the file Staticfile.auth: %w", err)
	}
	return c, nil
}

// ParseConfig reads a Staticfile. Keys it does not know are ignored, since
// other platforms' servers have their own; what it knows must make sense.
func ParseConfig(data []byte) (Config, error) {
	var doc struct {
		PushState  enabled              `yaml:"pushstate"`
		Directory  enabled              `yaml:"directory"`
		DotFiles   enabled              `yaml:"host_dot_files"`
		ForceHTTPS enabled              `yaml:"force_https"`
		HSTS       enabled              `yaml:"http_strict_transport_security"`
		Subdomains enabled              `yaml:"http_strict_transport_security_include_subdomains"`
		Preload    enabled              `yaml:"http_strict_transport_security_preload"`
		Status     map[int]string       `yaml:"status_codes"`
		Headers    map[string]yaml.Node `yaml:"headers"`
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return Config{}, err
	}
	c := Config{
		PushState: bool(doc.PushState), DirectoryListing: bool(doc.Directory),
		DotFiles: bool(doc.DotFiles), ForceHTTPS: bool(doc.ForceHTTPS),
		StatusPages: map[int]string{},
	}
	if doc.HSTS {
		c.HSTS = "max-age=31536000"
		if doc.Subdomains {
			c.HSTS += "; includeSubDomains"
		}
		if doc.Preload {
			c.HSTS += "; preload"
		}
	}
	for code, page := range doc.Status {
		if code < 400 || code > 599 {
			return Config{}, fmt.Errorf("status_codes: %d is not the status of an error", code)
		}
		c.StatusPages[code] = path.Clean("/" + page)
	}
	var err error
	c.Headers, err = parseHeaders(doc.Headers)
	return c, err
}

// parseHeaders reads the key headers: either names and values for all paths,
// or for each pattern of a path its own.
func parseHeaders(nodes map[string]yaml.Node) ([]HeaderRule, error) {
	all := map[string]string{}
	var rules []HeaderRule
	for _, key := range slices.Sorted(maps.Keys(nodes)) {
		node := nodes[key]
		if node.Kind == yaml.ScalarNode {
			all[key] = node.Value
			continue
		}
		r := HeaderRule{Pattern: path.Join("/", key), Headers: map[string]string{}}
		if err := node.Decode(&r.Headers); err != nil {
			return nil, fmt.Errorf("headers of %q: %w", key, err)
		}
		rules = append(rules, r)
	}
	if len(all) > 0 {
		rules = append([]HeaderRule{{Pattern: "/*", Headers: all}}, rules...)
	}
	for _, r := range rules {
		for name, value := range r.Headers {
			if !validHeader(name, value) {
				return nil, fmt.Errorf("headers: %q with the value %q is not a header", name, value)
			}
		}
	}
	return rules, nil
}

func validHeader(name, value string) bool {
	for _, r := range name {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) {
			return false
		}
	}
	return name != "" && !strings.ContainsAny(value, "\r\n\x00")
}
