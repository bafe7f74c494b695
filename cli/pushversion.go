package cli

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	v3 "weir/api/v3"
)

// A push can bring a version to stand beside the main one instead of taking
// its place. Then the app's settings stay as they are: what manifest and flags
// say holds for the version alone, until it becomes the main one.

// percentFlag is a flag that may have a value: --shadow, --shadow 20%.
type percentFlag struct {
	n int // 0: not given
}

var percentText = regexp.MustCompile(`^[0-9]{1,3}%?$`)

// IsBoolFlag lets the flag stand without a value.
func (*percentFlag) IsBoolFlag() bool { return true }

// takes reports whether the next argument is the flag's value.
func (*percentFlag) takes(arg string) bool { return percentText.MatchString(arg) }

func (f *percentFlag) String() string { return "" }

// Set reads a percentage; without one the flag means all.
func (f *percentFlag) Set(s string) error {
	if s == "" || s == "true" {
		s = "100"
	}
	n, err := strconv.Atoi(strings.TrimSuffix(s, "%"))
	if err != nil || n < 1 || n > 100 {
		return fmt.Errorf("%q is no percentage from 1%% to 100%%", s)
	}
	f.n = n
	return nil
}

// shadowPercent returns the value of --shadow, 0 if it was not given.
func (c *call) shadowPercent() int {
	if f, ok := c.Generic("shadow").(*percentFlag); ok {
		return f.n
	}
	return 0
}

// beside reports whether the push is to bring a version beside the main one.
func (c *call) beside() bool {
	return c.Bool("no-traffic") || c.shadowPercent() > 0 || c.has("weight") || c.rollsOut()
}

// checkVersionFlags refuses what contradicts itself.
func (c *call) checkVersionFlags() error {
	if label := c.String("version"); c.has("version") && label == "" {
		return usagef("--version is empty")
	} else if label != "" {
		if err := checkLabel(label); err != nil { // before anything is built
			return err
		}
	}
	if c.has("replace") && !c.beside() {
		return usagef("--replace needs --no-traffic, --shadow, --weight or a rollout")
	}
	if i := slices.IndexFunc(copyFlagNames, c.has); i >= 0 && c.shadowPercent() == 0 {
		return usagef("--%s needs --shadow: it is about the copies that a shadow gets", copyFlagNames[i])
	}
	if !c.beside() {
		return nil
	}
	ways := 0
	for _, is := range []bool{c.Bool("no-traffic"), c.shadowPercent() > 0, c.has("weight"), c.rollsOut()} {
		if is {
			ways++
		}
	}
	if ways > 1 {
		return usagef("--no-traffic, --shadow, --weight and a rollout exclude each other")
	}
	for _, flag := range []string{"strategy", "max-in-flight", "instance-steps", "no-start", "attach"} {
		if c.has(flag) && !(flag == "strategy" && c.rollsOut()) {
			return withHint(usagef("--%s is about the main version", flag), "a version beside it just starts; leave --"+flag+" away")
		}
	}
	return checkWeight(c.Int("weight"))
}

// standsBeside reports whether the app of an item has a main version that a
// new one can stand beside; the first one is always the main one itself.
func (p *push) standsBeside(ctx context.Context) (bool, error) {
	if !p.c.beside() {
		return false, nil
	}
	app, ok, err := p.AppByName(ctx, p.space.GUID, p.name)
	if err != nil || !ok || app.State != v3.AppStarted {
		return false, err
	}
	versions, err := p.AppVersions(ctx, app.GUID)
	if err != nil {
		return false, err
	}
	_, runs := fleet{app, versions}.main()
	if !runs {
		return false, nil
	}
	for _, flag := range []string{"hostname", "domain", "no-route", "random-route"} {
		if p.c.has(flag) {
			return false, withHint(usagef("--%s is about routes, and those are the app's", flag), "the version gets an address of its own; weir versions "+p.name+" shows it")
		}
	}
	if label := p.c.String("version"); label != "" && !p.c.Bool("replace") {
		if v, taken := (fleet{app, versions}).atAddress(label); taken { // before anything is uploaded
			msg := fmt.Sprintf("app %q has a version %s already", p.name, v.Label)
			if !strings.EqualFold(v.Label, label) {
				msg += ", which has the address that " + label + " would get"
			}
			hint := "choose another label: it is the main version"
			if v.Role != v3.RoleMain {
				hint = fmt.Sprintf("choose another label, add --replace, or take it away: weir kill %s %s", p.name, v.Label)
			}
			return false, newFailure(exitConflict, "conflict", msg, hint)
		}
	}
	return true, nil
}

// besideMain builds a version and starts it beside the main one.
func (p *push) besideMain(ctx context.Context) error {
	app, err := p.app(ctx, p.space, p.name)
	if err != nil {
		return err
	}
	if err := p.checkPlan(ctx, app); err != nil {
		return err
	}
	p.lifecycle = lifecycleOf(p.item.entry)
	if p.item.droplet != "" {
		err = p.uploadDroplet(ctx, app)
	} else if err = p.upload(ctx, app); err == nil {
		p.at("its files are uploaded, nothing was built", "weir push "+p.name+" begins again")
		err = p.stage(ctx, app, p.result.Package)
	}
	if err != nil {
		return err
	}
	p.at("it is built and not started", "weir push "+p.name+" begins again")
	req, err := p.versionRequest()
	if err != nil {
		return err
	}
	if p.c.rollsOut() {
		return p.rollOut(ctx, app, req)
	}
	v, err := p.CreateVersion(ctx, app.GUID, req)
	if err != nil {
		return err
	}
	p.at("it is being started", "weir versions "+p.name+" shows how far it is")
	f := fleet{app, []v3.Version{v}}
	if v, err = p.c.awaitVersion(ctx, p.session, f, v, 0); err != nil {
		return err
	}
	row := p.versionRows(ctx, app.Name, []v3.Version{v})[0]
	p.result.Version = &row
	return p.finish(ctx, app)
}

// lifecycleOf returns how a manifest wants an app built, nil if it does not say.
func lifecycleOf(entry *manifestApp) *v3.LifecycleInput {
	var data v3.LifecycleDataInput
	if list := lookup(entry.node, "buildpacks"); list != nil && list.Kind == yaml.SequenceNode {
		data.Buildpacks = []string{}
		for _, n := range list.Content {
			data.Buildpacks = append(data.Buildpacks, n.Value)
		}
	} else if one := entry.text("buildpack"); one != "" {
		data.Buildpacks = []string{one}
	}
	if stack := entry.text("stack"); stack != "" {
		data.Stack = &stack
	}
	if data.Buildpacks == nil && data.Stack == nil {
		return nil
	}
	return &v3.LifecycleInput{Type: "buildpack", Data: &data}
}

// versionRequest says what the version is: its droplet, and what of the app's
// configuration manifest and flags have otherwise.
func (p *push) versionRequest() (v3.VersionCreate, error) {
	c, entry := p.c, p.item.entry
	req := v3.VersionCreate{
		Label: c.String("version"), Droplet: &v3.Ref{GUID: p.result.Droplet}, Weight: c.Int("weight"), Replace: c.Bool("replace"),
	}
	if n := c.shadowPercent(); n > 0 {
		req.Mode, req.ShadowPercent, req.Weight = v3.ModeShadow, n, 0
		var err error
		if req.Shadow, err = c.copyOptions(v3.ShadowOptions{}); err != nil {
			return req, err
		}
	}
	if env := lookup(entry.node, "env"); env != nil && env.Kind == yaml.MappingNode {
		req.EnvironmentVariables = map[string]*string{}
		for i := 0; i+1 < len(env.Content); i += 2 {
			value := env.Content[i+1]
			if value.ShortTag() == "!!null" {
				req.EnvironmentVariables[env.Content[i].Value] = nil
				continue
			}
			req.EnvironmentVariables[env.Content[i].Value] = &value.Value
		}
	}
	web := entry.web()
	if command := web.text("command"); command != "" {
		req.Command = &command
	}
	if text := web.text("instances"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return req, usagef("instances of a version are at least 1, not %s", text)
		}
		req.Instances = &n
	}
	for key, field := range map[string]**int{"memory": &req.MemoryMB, "disk_quota": &req.DiskMB} {
		if text := web.text(key); text != "" {
			mb, err := parseMB(key, text)
			if err != nil {
				return req, err
			}
			*field = &mb
		}
	}
	var err error
	req.HealthCheck, err = healthOf(web)
	return req, err
}

// healthOf reads the health check of a manifest's web process, nil if it says
// nothing about it.
func healthOf(web *manifestApp) (*v3.HealthCheckUpdate, error) {
	var h v3.HealthCheckUpdate
	if kind := web.text("health-check-type"); kind != "" {
		h.Type = &kind
	}
	var data v3.HealthCheckDataUpdate
	if endpoint := web.text("health-check-http-endpoint"); endpoint != "" {
		data.Endpoint, h.Data = v3.NullOf(endpoint), &data
	}
	for key, field := range map[string]*v3.Null[int]{
		"timeout": &data.Timeout, "health-check-invocation-timeout": &data.InvocationTimeout, "health-check-interval": &data.Interval,
	} {
		if text := web.text(key); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				return nil, usagef("%s %q is no number of seconds", key, text)
			}
			*field, h.Data = v3.NullOf(n), &data
		}
	}
	if h == (v3.HealthCheckUpdate{}) {
		return nil, nil
	}
	return &h, nil
}
