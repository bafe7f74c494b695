package cli

import (
	"context"
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"weir/api/client"
	v3 "weir/api/v3"
)

// session is a connection to the server, logged in.
type session struct {
	*client.Client
	out    *ui
	cfg    config
	tokens *client.Session
	user   string
}

// space is the space that commands act in.
type space struct {
	v3.Space
	Org v3.Organization
}

// connect returns a session: with the login that is remembered, or else with
// the admin password of a server on this machine.
func (c *call) connect(ctx context.Context) (*session, error) {
	cfg, err := loadConfig()
	if err != nil {
		return nil, err
	}
	if target := env("WEIR_TARGET"); target != "" && target != cfg.API {
		return nil, withHint(newFailure(exitLogin, "not-logged-in", "not logged in to WEIR_TARGET "+target, ""), "weir login -a "+target)
	}
	if cfg, err = c.refind(cfg); err != nil {
		return nil, err
	}
	if cfg.Token.AccessToken == "" {
		if cfg, err = c.loginLocally(ctx, cfg); err != nil {
			return nil, err
		}
	}
	return c.session(cfg)
}

// refind looks again for a server on this machine: it may have got another
// port, or be gone, or WEIR_DATA may name another one now.
func (c *call) refind(cfg config) (config, error) {
	if cfg.Data == "" {
		return cfg, nil
	}
	l, ok := readLocal(cfg.Data)
	if dir := env("WEIR_DATA"); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return cfg, err
		}
		ok = ok && abs == cfg.Data
	}
	if ok {
		cfg.API = l.API
		return cfg, nil
	}
	if _, other := findLocal(); other {
		return config{}, nil
	}
	return cfg, nil
}

// loginLocally logs in as admin to a server on this machine.
func (c *call) loginLocally(ctx context.Context, cfg config) (config, error) {
	l, ok := findLocal()
	switch {
	case !ok && cfg.API != "":
		return cfg, newFailure(exitLogin, "not-logged-in", "not logged in", "weir login -a "+cfg.API)
	case !ok:
		return cfg, newFailure(exitLogin, "not-logged-in", "not logged in, and no server was found on this machine",
			"start one here: weir serve; or log in to another: weir login -a URL -u USER")
	case l.password == "":
		return cfg, newFailure(exitLogin, "not-logged-in", "not logged in; the admin password in "+l.dir+" is not yours to read",
			"weir login -a "+l.API+" -u USER")
	case cfg.API != "" && cfg.API != l.API && cfg.Data == "":
		return cfg, newFailure(exitLogin, "not-logged-in", "not logged in to "+cfg.API, "weir login -a "+cfg.API)
	}
	auth, err := c.client(l.API, nil)
	if err != nil {
		return cfg, err
	}
	token, err := auth.Login(ctx, adminUser, l.password)
	if err != nil {
		if client.IsUnauthorized(err) && !isLocked(err) {
			return cfg, newFailure(exitLogin, "not-logged-in", "the password in "+l.dir+"/admin-password is not admin's any more",
				"weir login -a "+l.API+" -u "+adminUser)
		}
		return cfg, err
	}
	next := config{API: l.API, Data: l.dir, Token: token, Org: cfg.Org, Space: cfg.Space}
	if cfg.Data != next.Data {
		next.Org, next.Space = "", ""
	}
	return next, replaceConfig(next)
}

const adminUser = "admin"

// session makes a session of a config that holds a token.
func (c *call) session(cfg config) (*session, error) {
	s := &session{out: c.out, cfg: cfg}
	auth, err := c.client(cfg.API, nil)
	if err != nil {
		return nil, err
	}
	tokens := client.NewSession(client.SessionConfig{
		Auth: auth, Token: cfg.Token,
		Update: func(ctx context.Context, current v3.Token, refresh func(v3.Token) (v3.Token, error)) (v3.Token, error) {
			return c.renew(ctx, current, refresh)
		},
	})
	s.tokens = tokens
	if s.Client, err = c.client(cfg.API, tokens); err != nil {
		return nil, err
	}
	if claims, ok := client.ParseClaims(cfg.Token.AccessToken); ok {
		s.user = claims.UserName
		if s.user == "" {
			s.user = claims.ClientID
		}
	}
	return s, nil
}

// renew gets a new token and keeps it: one that another weir command put into
// the file meanwhile, or a refreshed one, or, for a server on this machine
// that forgot us, one for the admin password.
func (c *call) renew(ctx context.Context, current v3.Token, refresh func(v3.Token) (v3.Token, error)) (v3.Token, error) {
	var now config
	err := updateConfig(func(cfg *config) (err error) {
		if cfg.Token.AccessToken == "" || cfg.Token.AccessToken == current.AccessToken {
			var token v3.Token
			if token, err = refresh(current); err == nil {
				cfg.Token = token
			}
		}
		now = *cfg
		return err
	})
	if errors.Is(err, client.ErrLogin) && now.Data != "" {
		if l, ok := findLocal(); ok && l.dir == now.Data && l.password != "" {
			now, err = c.loginLocally(ctx, now)
		}
	}
	if errors.Is(err, client.ErrLogin) {
		return v3.Token{}, withHint(err, "weir login -a "+now.API)
	}
	return now.Token, err
}

// client returns a client of the API at the given address.
func (c *call) client(api string, tokens client.TokenSource) (*client.Client, error) {
	cfg := client.Config{
		URL: api, Tokens: tokens, UserAgent: "weir/" + c.shell.version(),
		Warn: func(text string) { c.out.warn("%s", text) },
	}
	if c.out.verbose {
		cfg.Trace = c.out.trace
	}
	k, err := client.New(cfg)
	if err != nil {
		return nil, usagef("%v", err)
	}
	return k, nil
}

// space returns the space that commands act in: the one targeted, or else the
// only one, or else "default".
func (s *session) space(ctx context.Context) (space, error) {
	all, err := s.spaces(ctx)
	if err != nil {
		return space{}, err
	}
	if s.cfg.Space != "" {
		for _, sp := range all {
			if sp.Name == s.cfg.Space && sp.Org.Name == s.cfg.Org {
				return sp, nil
			}
		}
		return space{}, notFound("choose another: weir target -s SPACE; weir spaces lists them",
			"Space '%s' in org '%s' not found", s.cfg.Space, s.cfg.Org)
	}
	switch {
	case len(all) == 0:
		return space{}, notFound("ask who runs the server for one", "there is no space to put apps in")
	case len(all) == 1:
		return all[0], nil
	}
	for _, sp := range all {
		if sp.Name == "default" {
			return sp, nil
		}
	}
	return all[0], nil
}

// spaces lists the spaces with their organizations, oldest first.
func (s *session) spaces(ctx context.Context) ([]space, error) {
	orgs, err := s.Organizations(ctx, nil)
	if err != nil {
		return nil, err
	}
	list, err := s.Spaces(ctx, nil)
	if err != nil {
		return nil, err
	}
	byGUID := map[string]v3.Organization{}
	for _, o := range orgs {
		byGUID[o.GUID] = o
	}
	var all []space
	for _, sp := range list {
		all = append(all, space{sp, byGUID[sp.Relationships.GUID("organization")]})
	}
	return all, nil
}

// open connects and finds the space: what most commands begin with.
func (c *call) open(ctx context.Context) (*session, space, error) {
	s, err := c.connect(ctx)
	if err != nil {
		return nil, space{}, err
	}
	sp, err := s.space(ctx)
	return s, sp, err
}

// openApp connects and finds the app named by the first argument.
func (c *call) openApp(ctx context.Context) (*session, space, v3.App, error) {
	s, sp, err := c.open(ctx)
	if err != nil {
		return nil, space{}, v3.App{}, err
	}
	app, err := s.app(ctx, sp, c.arg(0))
	return s, sp, app, err
}

// app finds an app by name, with a suggestion if there is none.
func (s *session) app(ctx context.Context, sp space, name string) (v3.App, error) {
	app, ok, err := s.AppByName(ctx, sp.GUID, name)
	if err != nil || ok {
		return app, err
	}
	hint := "weir apps lists them"
	if all, err := s.Apps(ctx, client.Query(nil).In("space_guids", sp.GUID)); err == nil {
		names := make([]string, len(all))
		for i, a := range all {
			names[i] = a.Name
		}
		switch near := nearest(name, names); {
		case near != "":
			hint = "did you mean " + near + "?"
		case len(all) == 0:
			hint = "there are no apps yet: weir push " + name
		}
	}
	return v3.App{}, notFound(hint, "App '%s' not found", name)
}

// appURLs returns the URLs under which routes are reached. The router's port
// is what the server says it is.
func (s *session) appURLs(ctx context.Context, routes []v3.Route) []string {
	if len(routes) == 0 {
		return nil
	}
	scheme, port := s.routerAddress(ctx)
	urls := make([]string, len(routes))
	for i, r := range routes {
		urls[i] = routeURL(scheme, port, r.URL)
	}
	return urls
}

// routerAddress returns how the router is reached; the port is "" if it is the
// scheme's own.
func (s *session) routerAddress(ctx context.Context) (scheme, port string) {
	scheme = "http"
	if info, err := s.Info(ctx); err == nil {
		if u, err := url.Parse(info.Custom.RouterHTTP); err == nil && u.Host != "" {
			scheme, port = u.Scheme, u.Port()
		}
	}
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		port = ""
	}
	return scheme, port
}

// routeURL makes a URL of "host.domain/path".
func routeURL(scheme, port, route string) string {
	host, path, _ := strings.Cut(route, "/")
	if port != "" {
		host = net.JoinHostPort(host, port)
	}
	return scheme + "://" + host + "/" + path
}
