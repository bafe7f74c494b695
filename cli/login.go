package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/api/client"
	v3 "weir/api/v3"
)

func loginCommands() []*command {
	spaceFlags := []cli.Flag{
		&cli.StringFlag{Name: "org", Usage: "`ORG` to work in; -o ORG means the same"},
		&cli.StringFlag{Name: "space", Aliases: []string{"s"}, Usage: "`SPACE` to work in"},
	}
	return []*command{
		{
			name: "login", aliases: []string{"l"}, category: catStart,
			usage: "log in to a server",
			examples: []string{
				"login                                          # to the server on this machine, as admin",
				"login -a https://api.example.com -u dana       # the password is asked",
				"login -a https://api.example.com -u dana < password.txt",
			},
			about: "On the machine where weir serve runs, the server and its admin password are found by themselves: " +
				"in WEIR_DATA, else in ~/.weir/server and /var/lib/weir. A password that is given comes first: " +
				"in WEIR_PASSWORD (or CF_PASSWORD), else on standard input. Else it is asked on a terminal.",
			dashO: "org",
			flags: append([]cli.Flag{
				&cli.StringFlag{Name: "api", Aliases: []string{"a"}, Usage: "`URL` of the server's API"},
				&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "`NAME` to log in as (default admin)"},
				&cli.StringFlag{Name: "password", Aliases: []string{"p"}, Usage: "`PASSWORD`; seen by everybody on this machine, use WEIR_PASSWORD instead"},
				&cli.BoolFlag{Name: "skip-ssl-validation", Hidden: true, Usage: "not supported"},
			}, spaceFlags...),
			run: runLogin,
		},
		{
			name: "auth", args: "[USER] [PASSWORD]", category: catStart,
			usage:    "log in without questions",
			examples: []string{"WEIR_PASSWORD=secret weir auth dana"},
			about:    "As cf auth. Without arguments user and password come from WEIR_USERNAME and WEIR_PASSWORD (or CF_…).",
			run:      runAuth,
		},
		{
			name: "api", args: "[URL]", category: catStart,
			usage:    "set or show the server's address",
			examples: []string{"api", "api https://api.example.com"},
			about:    "As cf api. Log in afterwards with weir auth or weir login.",
			run:      runAPI,
		},
		{
			name: "logout", aliases: []string{"lo"}, category: catStart,
			usage:    "forget the login",
			examples: []string{"logout"},
			run:      runLogout,
		},
		{
			name: "target", aliases: []string{"t"}, category: catStart,
			usage:    "show or choose the server, org and space",
			examples: []string{"target", "target -s staging", "target -o acme -s dev"},
			about:    "-o followed by a format of the output (json, table, name, …: weir --help) chooses that; any other -o NAME chooses the org, as with cf. --org takes every name.",
			dashO:    "org", flags: spaceFlags, run: runTarget,
		},
	}
}

// targetView is the result of login, target and their like.
type targetView struct {
	API        string `json:"api"`
	APIVersion string `json:"cfApiVersion"` // of Cloud Foundry's v3 API
	Server     string `json:"serverVersion"`
	User       string `json:"user"`
	Org        string `json:"org"`
	Space      string `json:"space"`
}

func (s *session) showTarget(ctx context.Context, sp space) error {
	v := targetView{API: s.URL(), User: s.user, Org: sp.Org.Name, Space: sp.Name}
	if root, err := s.Root(ctx); err == nil {
		if l := root.Links["cloud_controller_v3"]; l != nil && l.Meta != nil {
			v.APIVersion = l.Meta.Version
		}
	}
	if info, err := s.Info(ctx); err == nil {
		v.Server = info.Custom.WeirVersion
	}
	return s.out.print("Target", map[string]any{"target": v}, []string{v.API}, func(p *page) {
		p.pairs("API endpoint", v.API, "API version", v.APIVersion, "user", v.User, "org", v.Org, "space", v.Space)
	})
}

func runLogin(ctx context.Context, c *call) error {
	if c.Bool("skip-ssl-validation") {
		return withHint(usagef("certificates are always verified"), "set SSL_CERT_FILE to a file with your own authority")
	}
	l, found := findLocal()
	given := cmp.Or(c.String("api"), env("WEIR_TARGET"))
	user := cmp.Or(c.String("user"), env("WEIR_USERNAME", "CF_USERNAME"))
	if given == "" && !found {
		cfg, err := loadConfig()
		if err != nil {
			return err
		}
		if given = cfg.API; given == "" {
			return withHint(usagef("no server was found on this machine"), "name one: weir login -a URL; or start one here: weir serve")
		}
	}
	api, err := normalizeAPI(cmp.Or(given, l.API))
	if err != nil {
		return err
	}
	cfg := config{API: api}
	password := c.givenPassword()
	if found && api == l.API && cmp.Or(user, adminUser) == adminUser && l.password != "" {
		if password == "" && (c.out.piped() || !c.out.inTTY && (given != "" || user != "")) {
			if password, err = c.out.readPassword(); err != nil {
				return err
			}
		}
		if password == "" {
			user, password, cfg.Data = adminUser, l.password, l.dir
		}
	}
	k, err := c.client(api, nil)
	if err != nil {
		return err
	}
	if err := c.checkServer(ctx, k); err != nil {
		return err
	}
	if cfg.Token, err = c.password(ctx, k, user, password); err != nil {
		return err
	}
	return c.finishLogin(ctx, cfg)
}

// givenPassword returns the password of flags and environment, "" for none.
func (c *call) givenPassword() string {
	if p := c.String("password"); p != "" {
		c.out.warn("a password on the command line is seen by everybody on this machine; use WEIR_PASSWORD or standard input")
		return p
	}
	return env("WEIR_PASSWORD", "CF_PASSWORD")
}

// piped reports whether somebody put something into standard input: a file, or
// what another program writes. Anything else may stay open and silent.
func (u *ui) piped() bool {
	f, ok := u.stdin.(*os.File)
	if !ok {
		return !u.inTTY
	}
	info, err := f.Stat()
	return err == nil && (info.Mode().IsRegular() || info.Mode()&fs.ModeNamedPipe != 0)
}

// readPassword reads one line of standard input, "" if there is none.
func (u *ui) readPassword() (string, error) {
	line, err := bufio.NewReader(io.LimitReader(u.stdin, 4096)).ReadString('\n')
	if err == io.EOF {
		err = nil
	}
	return strings.TrimRight(line, "\r\n"), err
}

// checkServer tells an address that is no weir server from a wrong password.
func (c *call) checkServer(ctx context.Context, k *client.Client) error {
	root, err := k.Root(ctx)
	if err == nil && root.Links["cloud_controller_v3"] != nil {
		return nil
	}
	if _, down := errors.AsType[*client.Unreachable](err); down {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return newFailure(exitFailed, "invalid", "there is no weir API at "+k.URL(), "check the address; weir serve prints it when it is ready")
}

// errCredentials is the token server's refusal, in cf's words, or its own if
// the account is locked: then the password may well be right.
func errCredentials(err error) error {
	if isLocked(err) {
		return asFailure(err)
	}
	return &failure{
		exit: exitLogin, code: "not-logged-in", msg: "Credentials were rejected, please try again.", err: err,
		hint: "the admin password of a new server is in DATA/admin-password",
	}
}

// isLocked reports whether a login was refused because of too many wrong
// passwords before.
func isLocked(err error) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && e.Status == http.StatusUnauthorized && strings.HasPrefix(e.Detail(), "Your account has been locked")
}

// password logs in, asking for what was not given.
func (c *call) password(ctx context.Context, k *client.Client, user, password string) (v3.Token, error) {
	if user == "" && c.out.inTTY && password == "" {
		var err error
		if user, err = c.out.ask(ctx, "User ["+adminUser+"]: "); err == io.EOF {
			return v3.Token{}, usagef("no user was given")
		} else if err != nil {
			return v3.Token{}, err
		}
	}
	user = cmp.Or(user, adminUser)
	if password == "" && !c.out.inTTY {
		var err error
		if password, err = c.out.readPassword(); err != nil {
			return v3.Token{}, err
		}
		if password == "" {
			return v3.Token{}, withHint(usagef("no password for %s", user), "set WEIR_PASSWORD, or give it on standard input")
		}
	}
	if password != "" {
		t, err := k.Login(ctx, user, password)
		if client.IsUnauthorized(err) {
			err = errCredentials(err)
		}
		return t, err
	}
	for try := 1; ; try++ {
		password, err := c.out.askPassword(ctx, "Password: ")
		if err == io.EOF {
			return v3.Token{}, usagef("no password was given")
		}
		if err != nil {
			return v3.Token{}, err
		}
		t, err := k.Login(ctx, user, password)
		if !client.IsUnauthorized(err) {
			return t, err
		}
		if try == 3 || isLocked(err) {
			return t, errCredentials(err)
		}
		c.out.say("", "Credentials were rejected, please try again.")
	}
}

// finishLogin chooses the space, keeps the login and shows it.
func (c *call) finishLogin(ctx context.Context, cfg config) error {
	if err := replaceConfig(cfg); err != nil { // first, so that the session below may refresh its token
		return err
	}
	s, err := c.session(cfg)
	if err != nil {
		return err
	}
	return c.choose(ctx, s)
}

// choose sets org and space by the flags --org and --space and shows the
// target.
func (c *call) choose(ctx context.Context, s *session) error {
	all, err := s.spaces(ctx)
	if err != nil {
		return err
	}
	org, name := c.String("org"), c.String("space")
	var sp space
	switch {
	case org == "" && name == "":
		if sp, err = s.space(ctx); err != nil {
			return err
		}
	default:
		if sp, err = pick(all, org, name, cmp.Or(org, s.cfg.Org)); err != nil {
			return err
		}
	}
	if err := updateConfig(func(cfg *config) error {
		cfg.Org, cfg.Space = sp.Org.Name, sp.Name
		return nil
	}); err != nil {
		return err
	}
	return s.showTarget(ctx, sp)
}

// pick finds the space that org and name (either may be empty) mean. near is
// the org to prefer.
func pick(all []space, org, name, near string) (space, error) {
	var orgs, names []string
	var found []space
	for _, sp := range all {
		orgs, names = append(orgs, sp.Org.Name), append(names, sp.Name)
		if (org == "" || sp.Org.Name == org) && (name == "" || sp.Name == name) {
			found = append(found, sp)
		}
	}
	for _, sp := range found {
		if sp.Org.Name == near {
			return sp, nil
		}
	}
	if len(found) > 0 {
		return found[0], nil
	}
	if org != "" && !slices.Contains(orgs, org) {
		return space{}, notFound(didYouMean(org, orgs, "weir orgs lists them"), "Organization '%s' not found", org)
	}
	return space{}, notFound(didYouMean(name, names, "weir spaces lists them"), "Space '%s' not found", name)
}

func didYouMean(s string, names []string, otherwise string) string {
	if n := nearest(s, names); n != "" {
		return "did you mean " + n + "?"
	}
	return otherwise
}

func runAuth(ctx context.Context, c *call) error {
	cfg, err := loadConfig()
	if err != nil {
		return err
	}
	if cfg.API == "" {
		l, ok := findLocal()
		if !ok {
			return withHint(usagef("no API endpoint is set"), "weir api URL")
		}
		cfg.API = l.API
	}
	k, err := c.client(cfg.API, nil)
	if err != nil {
		return err
	}
	if err := c.checkServer(ctx, k); err != nil {
		return err
	}
	user := cmp.Or(c.arg(0), env("WEIR_USERNAME", "CF_USERNAME"))
	password := cmp.Or(c.arg(1), env("WEIR_PASSWORD", "CF_PASSWORD"))
	token, err := c.password(ctx, k, user, password)
	if err != nil {
		return err
	}
	api := cfg.API
	if err := updateConfig(func(cfg *config) error {
		cfg.API, cfg.Token, cfg.Data = api, token, ""
		return nil
	}); err != nil {
		return err
	}
	return c.out.done("Login", map[string]any{"api": api, "user": cmp.Or(user, adminUser)})
}

func runAPI(ctx context.Context, c *call) error {
	cfg, err := loadConfig()
	if err != nil {
		return err
	}
	if c.arg(0) == "" {
		if cfg.API == "" {
			if l, ok := findLocal(); ok {
				cfg.API = l.API
			}
		}
		if cfg.API == "" {
			return notFound("weir api URL", "no API endpoint is set")
		}
		return c.out.print("API", map[string]any{"api": cfg.API}, []string{cfg.API}, func(p *page) {
			p.pairs("API endpoint", cfg.API)
		})
	}
	api, err := normalizeAPI(c.arg(0))
	if err != nil {
		return err
	}
	k, err := c.client(api, nil)
	if err != nil {
		return err
	}
	if err := c.checkServer(ctx, k); err != nil {
		return err
	}
	if err := updateConfig(func(cfg *config) error {
		if cfg.API != api {
			*cfg = config{API: api}
		}
		return nil
	}); err != nil {
		return err
	}
	return c.out.done("API", map[string]any{"api": api}, "API endpoint: "+api)
}

func runLogout(ctx context.Context, c *call) error {
	cfg, err := loadConfig()
	if err != nil {
		return err
	}
	if cfg.Token.AccessToken != "" {
		if s, err := c.session(cfg); err == nil {
			if claims, ok := client.ParseClaims(cfg.Token.AccessToken); ok && claims.JTI != "" {
				// The server may be gone; the login is forgotten here all the same.
				// One that has ended needs no end.
				if err := s.Revoke(ctx, claims.JTI); err != nil && !client.IsStatus(err, http.StatusNotFound) && !client.IsUnauthorized(err) {
					c.out.warn("the token was not revoked: %v", err)
				}
			}
		}
	}
	if err := updateConfig(func(cfg *config) error {
		*cfg = config{API: cfg.API}
		return nil
	}); err != nil {
		return err
	}
	return c.out.done("Logout", struct{}{})
}

func runTarget(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	if c.has("org") || c.has("space") {
		return c.choose(ctx, s)
	}
	sp, err := s.space(ctx)
	if err != nil {
		return err
	}
	return s.showTarget(ctx, sp)
}

// normalizeAPI completes an address: without a scheme it is https, but http
// on this machine.
func normalizeAPI(raw string) (string, error) {
	s := strings.TrimRight(strings.TrimSpace(raw), "/")
	if !strings.Contains(s, "://") {
		host := s
		if h, _, err := net.SplitHostPort(s); err == nil {
			host = h
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback() {
			s = "http://" + s
		} else {
			s = "https://" + s
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return "", withHint(usagef("%q is not the address of an API", raw), "write it as https://api.example.com")
	}
	return s, nil
}
