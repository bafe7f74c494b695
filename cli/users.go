package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/api/client"
	v3 "weir/api/v3"
)

func userCommands() []*command {
	const roles = "A role holds everywhere: an admin may do everything, a reader look at everything, an auditor at everything " +
		"but environments, credentials and source; none may log in only."
	return []*command{
		{
			name: "users", category: catAdmin,
			usage: "list the users and what they may do", examples: []string{"users", "users -o json"}, about: roles, run: runUsers,
		},
		{
			name: "create-user", args: "USER [PASSWORD]", category: catAdmin,
			usage: "make a user who can log in",
			examples: []string{
				"create-user dana --role admin            # the password is asked",
				"create-user ci --client --role admin < secret.txt",
			},
			about: roles + " Without PASSWORD, which everybody on this machine sees, it is asked, or read from standard input. " +
				"With --client it is a program, which gets its tokens by the grant client_credentials.",
			flags: []cli.Flag{
				&cli.StringFlag{Name: "role", Usage: "`ROLE`: admin, reader, auditor or none", Value: "none"},
				&cli.BoolFlag{Name: "client", Usage: "a program rather than a person"},
			},
			run: runCreateUser,
		},
		{
			name: "update-user", args: "USER", category: catAdmin,
			usage: "change what a user may do", examples: []string{"update-user dana --role auditor"},
			about: roles + " What is taken away is gone at once; what is added comes with the next login, or within 20 minutes.",
			flags: []cli.Flag{&cli.StringFlag{Name: "role", Usage: "`ROLE`: admin, reader, auditor or none"}}, run: runUpdateUser,
		},
		{
			name: "delete-user", args: "USER", category: catAdmin,
			usage: "delete a user, and end their logins", examples: []string{"delete-user dana -f"},
			flags: []cli.Flag{forceFlag()}, run: runDeleteUser,
		},
		{
			name: "oauth-token", category: catAdmin,
			usage:    "print a token for other programs",
			examples: []string{"oauth-token", "oauth-token -o json"},
			about: `It stands as it is in a request: curl -H "Authorization: $(weir oauth-token)" http://127.0.0.1:8181/v3/apps. ` +
				"It is good for 20 minutes. A program that lasts longer has an account of its own: weir create-user NAME --client.",
			run: runToken,
		},
		{
			name: "passwd", aliases: []string{"pw"}, args: "[USER]", category: catAdmin,
			usage:    "change a password: one's own, or as admin that of others",
			examples: []string{"passwd", "passwd dana < new-password.txt"},
			about: "Without a terminal the password comes on standard input: for one's own first the present one, then the new one, " +
				"each on a line. All logins of the user end; one's own is begun anew here.",
			run: runPasswd,
		},
	}
}

func runToken(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	token, err := s.tokens.Token(ctx, "")
	if err != nil {
		return err
	}
	token = "bearer " + token
	return c.out.print("Token", map[string]any{"token": token}, []string{token}, func(p *page) { p.line(token) })
}

// userView is a user.
type userView struct {
	Name      string    `json:"name"`
	GUID      string    `json:"guid"`
	Role      string    `json:"role"`   // admin, reader, auditor, none
	Origin    string    `json:"origin"` // uaa: a person; client: a program
	CreatedAt time.Time `json:"createdAt"`
}

// userChange is the result of commands that change users.
type userChange struct {
	User    string `json:"user"`
	GUID    string `json:"guid"`
	Changed bool   `json:"changed"`
}

func viewUser(u v3.User) userView {
	v := userView{Name: u.PresentationName, GUID: u.GUID, Role: u.Role, CreatedAt: u.CreatedAt.Time}
	if u.Origin != nil {
		v.Origin = *u.Origin
	}
	return v
}

func runUsers(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting users as %s...", s.user)
	all, err := s.Users(ctx, client.Query(nil).Set("order_by", "username"))
	if err != nil {
		return err
	}
	views, names, rows := []userView{}, []string{}, [][]string{}
	for _, u := range all {
		v := viewUser(u)
		views, names = append(views, v), append(names, v.Name)
		rows = append(rows, []string{v.Name, v.Role, v.Origin, v.CreatedAt.Local().Format("2006-01-02 15:04:05"), v.GUID})
	}
	return c.out.print("UserList", map[string]any{"users": views}, names, func(p *page) {
		p.table("", append([]string{"name", "role", "origin", "created"}, p.more("guid")...), rows)
	})
}

// userNamed finds a user, whatever the case of the name, and says whether
// there is one.
func (s *session) userNamed(ctx context.Context, name string) (userView, []string, error) {
	all, err := s.Users(ctx, nil)
	var names []string
	for _, u := range all {
		if strings.EqualFold(u.PresentationName, name) {
			return viewUser(u), nil, nil
		}
		names = append(names, u.PresentationName)
	}
	return userView{}, names, err
}

func (s *session) mustUser(ctx context.Context, name string) (userView, error) {
	u, names, err := s.userNamed(ctx, name)
	if err == nil && u.GUID == "" {
		err = notFound(didYouMean(name, names, "weir users lists them"), "User '%s' not found", name)
	}
	return u, err
}

func runCreateUser(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	name, password := c.arg(0), c.arg(1)
	if password != "" {
		c.out.warn("a password on the command line is seen by everybody on this machine; leave it out, or use standard input")
	} else if password, err = c.newPassword(ctx, name); err != nil {
		return err
	}
	in := v3.SCIMUserCreate{UserName: name, Password: password, Role: c.String("role")}
	if c.Bool("client") {
		in.Origin = "client"
	}
	c.out.banner("Creating user %s as %s...", name, s.user)
	u, err := s.CreateUser(ctx, in)
	if e, ok := errors.AsType[*client.Error](err); ok && e.Status == 409 {
		u, err := s.mustUser(ctx, name)
		if err != nil {
			return err
		}
		return c.out.done("UserChange", userChange{name, u.GUID, false}, fmt.Sprintf("User '%s' already exists. Nothing has been updated.", name))
	}
	if err != nil {
		return err
	}
	var notes []string
	if in.Role == "none" {
		notes = append(notes, "It may log in and no more: weir update-user "+name+" --role ROLE gives it a role.")
	}
	return c.out.done("UserChange", userChange{name, u.ID, true}, notes...)
}

func runUpdateUser(ctx context.Context, c *call) error {
	role := c.String("role")
	if role == "" {
		return withHint(usagef("nothing was given to change"), "add --role ROLE")
	}
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	u, err := s.mustUser(ctx, c.arg(0))
	if err != nil {
		return err
	}
	if u.Role == role {
		return c.out.done("UserChange", userChange{u.Name, u.GUID, false}, fmt.Sprintf("User '%s' has the role %s already.", u.Name, role))
	}
	if _, err := s.UpdateUser(ctx, u.GUID, v3.UserUpdate{Role: &role}); err != nil {
		return err
	}
	return c.out.done("UserChange", userChange{u.Name, u.GUID, true})
}

func runDeleteUser(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	u, _, err := s.userNamed(ctx, c.arg(0))
	if err != nil {
		return err
	}
	if u.GUID == "" {
		return c.out.done("UserChange", userChange{c.arg(0), "", false}, fmt.Sprintf("User '%s' does not exist.", c.arg(0)))
	}
	if !c.Bool("force") {
		if err := c.out.confirm(ctx, "-f", "Really delete the user %s?", u.Name); err != nil {
			return declined(c, err)
		}
	}
	job, err := s.DeleteUser(ctx, u.GUID)
	if err == nil {
		err = s.waitJob(ctx, job)
	}
	if err != nil {
		return err
	}
	return c.out.done("UserChange", userChange{u.Name, u.GUID, true})
}

func runPasswd(ctx context.Context, c *call) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	own := c.arg(0) == "" || strings.EqualFold(c.arg(0), s.user)
	name := s.user
	if !own {
		name = c.arg(0)
	}
	u, err := s.whoIs(ctx, name, own)
	if err != nil {
		return err
	}
	var p v3.SCIMPassword
	if own {
		if p.OldPassword, err = c.secret(ctx, "Current password: ", "the present password of "+name); err != nil {
			return err
		}
	}
	if p.Password, err = c.newPassword(ctx, name); err != nil {
		return err
	}
	if err := s.SetPassword(ctx, u.GUID, p); err != nil {
		if client.IsStatus(err, 401) && own {
			return newFailure(exitLogin, "forbidden", "Current password did not match", "")
		}
		return err
	}
	if own {
		if err := c.loginAgain(ctx, s, name, p.Password); err != nil {
			return err
		}
	}
	return c.out.done("UserChange", userChange{name, u.GUID, true})
}

// whoIs finds a user. One's own token says it, for those who may not look.
func (s *session) whoIs(ctx context.Context, name string, own bool) (userView, error) {
	if claims, ok := client.ParseClaims(s.cfg.Token.AccessToken); own && ok {
		return userView{Name: name, GUID: claims.UserID}, nil
	}
	return s.mustUser(ctx, name)
}

// loginAgain begins a login after the one before ended with its password.
func (c *call) loginAgain(ctx context.Context, s *session, user, password string) error {
	token, err := s.Login(ctx, user, password)
	if err != nil {
		return err
	}
	return updateConfig(func(cfg *config) error {
		cfg.Token = token
		return nil
	})
}

// newPassword asks for a new password, twice on a terminal.
func (c *call) newPassword(ctx context.Context, user string) (string, error) {
	first, err := c.secret(ctx, "New password: ", "a password for "+user)
	if err != nil || !c.out.inTTY {
		return first, err
	}
	again, err := c.secret(ctx, "Once more: ", "a password for "+user)
	if err == nil && again != first {
		err = usagef("the two passwords differ")
	}
	return first, err
}

// secret asks for a password, or reads the next line of standard input.
func (c *call) secret(ctx context.Context, prompt, what string) (string, error) {
	if c.out.inTTY {
		return c.out.askPassword(ctx, prompt)
	}
	if c.lines == nil {
		c.lines = bufio.NewReader(io.LimitReader(c.out.stdin, 8192))
	}
	line, err := await(ctx, func() (string, error) { return c.lines.ReadString('\n') })
	if line = strings.TrimRight(line, "\r\n"); line != "" {
		return line, nil
	}
	if err != nil && err != io.EOF {
		return "", err
	}
	return "", withHint(usagef("%s is missing", what), "give it on standard input, on a line of its own")
}
