package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/api/client"
	v3 "weir/api/v3"
)

func logCommands() []*command {
	return []*command{
		{
			name: "logs", args: "APP [VERSION]", category: catApps,
			usage: "show the log of an app as it is written",
			examples: []string{
				"logs hello", "logs hello --recent", "logs hello --recent -n 1000 --source APP,STG", "logs hello:v2", "logs hello -o json",
			},
			about: "With -o json or jsonl each line is a JSON object. Sources: APP (the app, APP/PROC/WEB for one process), STG (builds), " +
				"RTR (requests), API (changes), CELL (instances). With a VERSION only what its instances wrote.",
			flags: []cli.Flag{
				&cli.BoolFlag{Name: "recent", Usage: "show what there is and end"},
				&cli.IntFlag{Name: "lines", Aliases: []string{"n", "tail"}, Usage: "begin this `NUMBER` of lines back (default 10, with --recent 100)"},
				&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "accepted for kubectl's sake: without --recent it goes on anyway"},
				&cli.StringFlag{Name: "source", Usage: "only lines of these sources, `LIST` such as APP,STG"},
			},
			run: runLogs,
		},
		{
			name: "events", args: "APP", category: catApps,
			usage: "show what happened to an app", examples: []string{"events hello", "events hello -o json"}, run: runEvents,
		},
	}
}

// logSources are what writes lines.
var logSources = []string{"APP", "STG", "RTR", "API", "CELL"}

// logLine is a line of a log for programs.
type logLine struct {
	Time     time.Time `json:"time"`
	Source   string    `json:"source"`
	Instance string    `json:"instance"`
	Version  string    `json:"version"` // of the instance; "" if the app had one without a name
	Type     string    `json:"type"`    // OUT or ERR
	Text     string    `json:"text"`
}

func viewLine(l v3.LogLine) logLine {
	return logLine{time.Unix(0, int64(l.Timestamp)).UTC(), l.SourceType, l.Instance, l.Version, l.Type, plainLine(l)}
}

func runLogs(ctx context.Context, c *call) error {
	lines := 10
	if c.Bool("recent") && c.Bool("follow") {
		return usagef("--recent and --follow exclude each other")
	}
	if c.Bool("recent") {
		lines = 100
	}
	if c.has("lines") {
		if lines = c.Int("lines"); lines < 0 {
			return usagef("--lines must not be negative")
		}
	}
	var sources []string
	for src := range strings.SplitSeq(strings.ToUpper(c.String("source")), ",") {
		if src = strings.TrimSpace(src); src == "" {
			continue
		}
		if kind, _, _ := strings.Cut(src, "/"); !slices.Contains(logSources, kind) {
			return withHint(usagef("there is no source %q of log lines", src), "one of "+strings.Join(logSources, ", ")+", or APP/PROC/WEB")
		}
		sources = append(sources, src)
	}
	s, sp, app, version, err := c.openLog(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Retrieving logs for app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	o := client.LogStreamOptions{Recent: lines, NoFollow: c.Bool("recent"), SourceTypes: sources, Version: version}
	if o.NoFollow && lines == 0 {
		return nil
	}
	return c.whileRead(ctx, func(ctx context.Context) error {
		if version == "" {
			return c.stream(ctx, s, app, o, c.showLine)
		}
		return c.versionLog(ctx, s, app, o)
	})
}

// errUnread is why work ends whose output nobody reads any more.
var errUnread = errors.New("nobody reads the output any more")

// whileRead runs work, which may be silent for long, until it is done or nobody
// reads standard output any more, as with weir logs hello | head -1.
func (c *call) whileRead(ctx context.Context, work func(context.Context) error) error {
	f, ok := c.out.stdout.(*os.File)
	if !ok {
		return work(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if awaitUnread(ctx, f) {
			cancel(errUnread)
		}
	}()
	err := work(ctx)
	cancel(nil)
	<-watched
	if context.Cause(ctx) == errUnread {
		return nil
	}
	return err
}

// versionLog shows the log of one version. One that is gone may have left
// lines, so a name that nobody has is only wrong if there are none.
func (c *call) versionLog(ctx context.Context, s *session, app v3.App, o client.LogStreamOptions) error {
	f := fleet{app: app}
	var err error
	if f.versions, err = s.AppVersions(ctx, app.GUID); err != nil {
		return err
	}
	v, unknown := f.find(o.Version)
	switch {
	case unknown == nil:
		o.Version = v.Label
	case !o.NoFollow:
		c.out.warn("app %s has no version %s now: waiting for one", app.Name, o.Version)
	}
	seen := false
	err = c.stream(ctx, s, app, o, func(l v3.LogLine) error { seen = true; return c.showLine(l) })
	if err == nil && !seen {
		return unknown
	}
	return err
}

// openLog connects and finds the app, and the label of the version if one was
// named. A version that is gone may have left lines.
func (c *call) openLog(ctx context.Context) (*session, space, v3.App, string, error) {
	name, label, err := c.refArguments()
	if err != nil {
		return nil, space{}, v3.App{}, "", err
	}
	s, sp, err := c.open(ctx)
	if err != nil {
		return nil, sp, v3.App{}, "", err
	}
	app, err := s.app(ctx, sp, name)
	return s, sp, app, label, err
}

// stream reads the log over as many connections as it takes.
func (c *call) stream(ctx context.Context, s *session, app v3.App, o client.LogStreamOptions, show func(v3.LogLine) error) error {
	var stopped error // by show
	for pause := 200 * time.Millisecond; ; {
		err := s.LogStream(ctx, app.GUID, o, func(l v3.LogLine) error {
			o.Since, o.Recent = int64(l.Timestamp)+1, 0
			pause = 200 * time.Millisecond
			stopped = show(l)
			return stopped
		})
		switch {
		case err == nil || stopped != nil || ctx.Err() != nil || o.NoFollow:
			return err
		case client.IsNotFound(err):
			return withHint(err, "the app "+app.Name+" was deleted")
		case !transient(err):
			return err
		}
		c.out.setStatus("The server is gone; waiting for it…")
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		c.out.clearStatus()
		pause = min(2*pause, 5*time.Second)
	}
}

func (c *call) showLine(l v3.LogLine) error {
	at := time.Unix(0, int64(l.Timestamp))
	if c.out.machine() {
		return c.out.emit("LogLine", viewLine(l))
	}
	if c.out.quiet {
		return c.out.write([]byte(plainLine(l) + "\n"))
	}
	p := c.out.page()
	head := fmt.Sprintf("   %s [%s] %s ", stamp(at), sourceOf(l), l.Type)
	color := faint
	switch {
	case l.Type == v3.LogErr:
		color = red
	case l.SourceType == "STG":
		color = cyan
	}
	for line := range strings.SplitSeq(plainLine(l), "\n") {
		p.line(p.paint(color, head) + line)
	}
	return c.out.write(p.bytes())
}

// sourceOf writes where a line is from: APP/PROC/WEB/0, or APP/PROC/WEB/v2/0.
func sourceOf(l v3.LogLine) string {
	switch {
	case l.Instance == "":
		return l.SourceType
	case l.Version != "":
		return l.SourceType + "/" + l.Version + "/" + l.Instance
	}
	return l.SourceType + "/" + l.Instance
}

// eventView is an event of an app.
type eventView struct {
	Time   time.Time      `json:"time"`
	Type   string         `json:"type"`
	Actor  string         `json:"actor"`
	Target string         `json:"target"`
	About  string         `json:"description"`
	Data   map[string]any `json:"data"`
}

func runEvents(ctx context.Context, c *call) error {
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	c.out.banner("Getting events for app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	list, err := s.Events(ctx, client.Query(nil).In("target_guids", app.GUID).Set("order_by", "-created_at").Set("page", "1").PerPage(200))
	if err != nil {
		return err
	}
	views, rows := []eventView{}, [][]string{}
	for _, e := range list {
		v := eventView{e.CreatedAt.Time, e.Type, e.Actor.Name, e.Target.Name, describeEvent(e.Data), e.Data}
		if v.Data == nil {
			v.Data = map[string]any{}
		}
		views = append(views, v)
		rows = append(rows, []string{stamp(v.Time), v.Type, v.Actor, v.About, v.Target})
	}
	return c.out.print("EventList", map[string]any{"events": views}, nil, func(p *page) {
		if len(rows) == 0 {
			p.line("No events for app " + app.Name)
			return
		}
		p.table("", append([]string{"time", "event", "actor", "description"}, p.more("target")...), rows)
	})
}

// describeEvent writes the data of an event as cf does: the known keys first.
func describeEvent(data map[string]any) string {
	known := []string{
		"index", "reason", "cell_id", "instance", "exit_description", "exit_status", "recursive",
		"disk_quota", "instances", "memory", "state", "command", "environment_json",
	}
	flat := map[string]any{}
	if request, ok := data["request"].(map[string]any); ok {
		maps.Copy(flat, request)
	}
	maps.Copy(flat, data)
	delete(flat, "request")
	var parts []string
	add := func(key string) {
		switch v := flat[key].(type) {
		case nil, map[string]any, []any:
		case float64:
			parts = append(parts, fmt.Sprintf("%s: %v", key, int64(v)))
		default:
			if text := fmt.Sprint(v); text != "" {
				parts = append(parts, key+": "+text)
			}
		}
		delete(flat, key)
	}
	for _, key := range known {
		add(key)
	}
	for _, key := range slices.Sorted(maps.Keys(flat)) {
		if !strings.HasSuffix(key, "guid") {
			add(key)
		}
	}
	return strings.Join(parts, ", ")
}
