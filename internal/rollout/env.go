package rollout

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"weir/internal/platform"
	"weir/internal/runner"
)

// fdsLimit is what apps are told about open files.
const fdsLimit = 16384

// environ returns the complete environment of an instance.
func (e *Engine) environ(c copySpec, row platform.Instance, at runner.Endpoint) []string {
	port := strconv.Itoa(at.Port)
	addr := net.JoinHostPort(at.IP, port)
	env := map[string]string{
		"HOME": at.Home, "TMPDIR": at.Root + "/tmp", "DEPS_DIR": at.Root + "/deps",
		"USER": "vcap", "LANG": "C.UTF-8", "PATH": e.cfg.Path, "SHELL": e.cfg.Shell,
		"MEMORY_LIMIT":            fmt.Sprintf("%dm", c.process.MemoryMB),
		"INSTANCE_GUID":           row.GUID,
		"INSTANCE_INDEX":          strconv.Itoa(row.Index),
		"CF_INSTANCE_GUID":        row.GUID,
		"CF_INSTANCE_INDEX":       strconv.Itoa(row.Index),
		"CF_INSTANCE_IP":          at.IP,
		"CF_INSTANCE_INTERNAL_IP": at.IP,
		"CF_INSTANCE_PORT":        port,
		"CF_INSTANCE_ADDR":        addr,
		"CF_INSTANCE_PORTS":       fmt.Sprintf(`[{"external":%s,"internal":%s}]`, port, port),
	}
	if c.version.Label != "" { // what it is when it starts; the role may change
		env["WEIR_APP"], env["WEIR_VERSION"], env["WEIR_ROLE"] = c.app.Name, c.version.Label, c.version.Role()
	}
	if e.cfg.Exe != "" {
		env["WEIR_EXE"] = e.cfg.Exe
	}
	if u := databaseURL(c.revision.Services); u != "" {
		env["DATABASE_URL"] = u
	}
	maps.Copy(env, c.revision.Env)

	// What the platform promises cannot be overridden.
	for name := range c.revision.Env {
		if strings.HasPrefix(name, "VCAP_") {
			delete(env, name)
		}
	}
	application := e.vcapApplication(c.app, c.process, c.revision.Version, c.revision.GUID, c.names)
	application["host"] = "0.0.0.0"
	application["instance_id"] = row.GUID
	application["instance_index"] = row.Index
	application["port"] = at.Port
	env["PORT"], env["VCAP_APP_PORT"], env["VCAP_APP_HOST"] = port, port, "0.0.0.0"
	env["VCAP_APPLICATION"] = asJSON(application)
	env["VCAP_SERVICES"] = asJSON(vcapServices(c.revision.Services))

	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // maps of strings and numbers always have a JSON form
		return "{}"
	}
	return string(b)
}

// vcapApplication is VCAP_APPLICATION without what differs per instance.
func (e *Engine) vcapApplication(app platform.App, p platform.Process, version int, revision string, n names) map[string]any {
	uris := n.uris
	if uris == nil {
		uris = []string{}
	}
	m := map[string]any{
		"application_id": app.GUID, "application_name": app.Name, "name": app.Name,
		"application_uris": uris, "uris": uris,
		"cf_api":     e.cfg.APIURL,
		"limits":     map[string]any{"fds": fdsLimit, "mem": p.MemoryMB, "disk": p.DiskMB},
		"process_id": p.GUID, "process_type": p.Type,
		"space_id": n.space.GUID, "space_name": n.space.Name,
		"organization_id": n.org.GUID, "organization_name": n.org.Name,
		"users":   nil,
		"version": revision, "application_version": revision,
	}
	if version > 0 {
		m["revision"] = version
	}
	return m
}

// vcapServices is VCAP_SERVICES: all services weir knows are user-provided.
func vcapServices(services []platform.BoundService) map[string]any {
	var list []map[string]any
	for _, s := range services {
		var bindingName any
		name := s.InstanceName
		if s.BindingName != "" {
			bindingName, name = s.BindingName, s.BindingName
		}
		tags, credentials := s.Tags, s.Credentials
		if tags == nil {
			tags = []string{}
		}
		if credentials == nil {
			credentials = map[string]any{}
		}
		list = append(list, map[string]any{
			"label": "user-provided", "name": name, "tags": tags,
			"instance_guid": s.InstanceGUID, "instance_name": s.InstanceName,
			"binding_guid": s.BindingGUID, "binding_name": bindingName,
			"credentials": credentials, "syslog_drain_url": s.SyslogDrainURL, "volume_mounts": []any{},
		})
	}
	if list == nil {
		return map[string]any{}
	}
	return map[string]any{"user-provided": list}
}

// databaseSchemes are the URLs that count as a relational database, and how
// frameworks want them spelled in DATABASE_URL.
var databaseSchemes = map[string]string{
	"mysql": "mysql2", "mysql2": "mysql2",
	"postgres": "postgres", "postgresql": "postgres",
	"db2": "ibmdb", "informix": "informix",
}

// databaseURL returns the first database among the services, as Cloud Foundry
// derives it from their credential "uri".
func databaseURL(services []platform.BoundService) string {
	for _, s := range services {
		text, _ := s.Credentials["uri"].(string)
		u, err := url.Parse(text)
		if err != nil || text == "" {
			continue
		}
		if scheme := databaseSchemes[u.Scheme]; scheme != "" {
			return scheme + strings.TrimPrefix(text, u.Scheme)
		}
	}
	return ""
}
