package cli

import "context"

func conceptCommands() []*command {
	return []*command{{
		name: "concepts", category: catStart,
		usage:    "what the words mean, and where cf's, tenement's and Daeploy's differ",
		examples: []string{"help concepts", "concepts"},
		topic:    drawConcepts,
		run: func(_ context.Context, c *call) error {
			v := conceptsView{Words: []conceptView{}, Clashes: []conceptView{}, Pages: []conceptView{}}
			var names []string
			for _, w := range concepts {
				v.Words, names = append(v.Words, conceptView{w[0], w[1]}), append(names, w[0])
			}
			for _, w := range clashes {
				v.Clashes = append(v.Clashes, conceptView{w[0], w[1]})
			}
			for _, w := range guides {
				v.Pages = append(v.Pages, conceptView{w[0], w[1]})
			}
			return c.out.print("Concepts", v, names, drawConcepts)
		},
	}}
}

// conceptsView is what the words mean, for programs.
type conceptsView struct {
	Words   []conceptView `json:"words"`
	Clashes []conceptView `json:"clashes"`
	Pages   []conceptView `json:"pages"`
}

type conceptView struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// guides are the pages of docs/ that show how something is done.
var guides = [][2]string{
	{"BLUE-GREEN", "a new version beside the old one, and all requests over in one moment"},
	{"CANARY", "a few requests first, judged; back by itself if it is worse"},
	{"SHADOW", "copies of real requests, answers compared, users untouched"},
	{"RINGS", "colleagues first, then friends, then everybody"},
	{"ROLLBACK", "the way back: rollback, undo, abort, and which is which"},
}

// concepts are the words of weir, each with what it means.
var concepts = [][2]string{
	{"app", "a named program in a space. What it is set up as (environment, sizes, health checks) belongs to it."},
	{"droplet", "what a build made of the files pushed; it never changes."},
	{"revision", "a droplet with the settings it ran with, numbered 1, 2, 3. Changing a setting makes a new one, as changing code does."},
	{"version", "a revision that runs, under a label: v2, 2.0.0, green. It has instances, a share of the app's requests and addresses of its own: v2.web.DOMAIN and v2--web.DOMAIN (dots become dashes)."},
	{"main", "the role of the one version that a plain push replaces and that the app's settings are those of."},
	{"live", "a version beside the main one with a share of the requests."},
	{"shadow", "a version that gets copies of requests; its answers reach nobody."},
	{"idle", "a version that runs without a share: ready to be switched to, or just switched from."},
	{"weight", "a relative share, 0 to 1000. Two levels multiply: a route's weights share its requests out among apps, an app's among its versions."},
	{"table", "all of where requests go, numbered. A change is one new table: the router runs it when the command returns, no request sees half of it, and weir undo takes it back."},
	{"deployment", "cf's move of an app from one revision to the next, instance by instance."},
	{"rollout", "a move by shares of the requests, in steps that are judged."},
}

// dialects says what the words of other systems mean here.
var dialects = [][4]string{
	{"app", "app", "service", "service name"},
	{"version", "(one per app)", "instance: api:v1", "service version"},
	{"main version", "the app", "-", "main"},
	{"shadow version", "-", "-", "shadow"},
	{"weir push", "cf push", "-", "deploy NAME VERSION SOURCE"},
	{"weir spawn", "-", "spawn api --id v2", "-"},
	{"weir weight", "(map-route, no effect)", "weight api:v1 80", "-"},
	{"weir move-traffic", "map-route, unmap-route", "route api --from v1 --to v2", "-"},
	{"weir assign", "-", "-", "assign NAME VERSION"},
	{"weir versions", "cf app", "ps", "ls"},
	{"weir kill, weir stop", "cf stop", "stop api:v1", "kill NAME VERSION"},
	{"weir rollback", "cf rollback --version N", "-", "-"},
	{"weir swap, weir undo", "-", "-", "-"},
}

// clashes are the words that mean two things, and the rule that decides.
var clashes = [][2]string{
	{"deploy", "With a SOURCE it is Daeploy's: weir deploy NAME VERSION SOURCE builds it; the first version is the main one, later ones are shadows. Without one it is tenement's: weir deploy api:v2 --weight 10 starts what the app was last built from and then gives it its weight."},
	{"route", "weir route DOMAIN -n HOST shows a route, as cf does. With --from and --to the word is an app and the command moves traffic, as tenement does."},
	{"--version", "A label (v2, 2.0.0), but for weir rollback, where it is cf's number of a revision; a label goes with rollback --to."},
	{"weight", "spawn and deploy without --weight give a version 100, as tenement does: with two versions that is half of the requests. push --no-traffic gives it 0. Unlike tenement's, weights outlive crashes, sleep and restarts, and 0 never gets a request."},
	{"canary", "push --strategy canary is cf's: a share of the instances. weir weight, and a rollout with --steps, share requests: 1% is 1% with two instances too."},
	{"stop", "APP stops all of it; APP:VERSION one version, which stays for weir start. weir kill forgets it."},
	{"-o", "-o json, yaml, table and the like choose the output (weir --help); anything else is cf's: an org, a route option, a file."},
}

func drawConcepts(p *page) {
	p.line(p.paint(bold, "Words:"))
	columns(p, concepts)
	p.blank()
	p.line(p.paint(bold, "In other systems:"))
	rows := make([][]string, len(dialects))
	for i, d := range dialects {
		rows[i] = d[:]
	}
	p.table("  ", []string{"weir", "Cloud Foundry", "tenement", "Daeploy"}, rows)
	p.blank()
	p.line(p.paint(bold, "Where words clash:"))
	columns(p, clashes)
	p.blank()
	p.line(p.paint(bold, "How it is done, step by step (docs/NAME.md):"))
	columns(p, guides)
}
