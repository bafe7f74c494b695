package acceptance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The walk's apps. Commands are about the first three; home is never changed,
// but a and b come and go as guests of its route.
const home = "home"

var (
	walked  = []string{"a", "b", "c"}
	swapped = walked[:2]
	labels  = []string{"v1", "v2", "v3", "v4"}
)

// action is what one user does in a step: commands one after the other, the
// first of them after a while.
type action struct {
	after, between time.Duration
	commands       [][]string
	interrupt      time.Duration // a push is told to stop after so long; 0: never
	signal         syscall.Signal

	apps    []string // whose traffic it may change
	push    string   // the LABEL of the version it makes, which may get requests; "" for none
	anybody bool     // any version of the apps may get requests
	routes  []string // the routes of these apps, and that of home, may lead to any of them
	excuse  string   // the router may answer requests for the apps with this error meanwhile
	lasting bool     // the last command is repeated until it succeeds
}

// moves are the kinds of actions; one with 3 times comes up three times as often as
// one with 1. Each draws what it needs from r, whatever came of those before.
var moves = []struct {
	times int
	make  func(r *rand.Rand, n int) action
}{
	{3, func(r *rand.Rand, n int) action { return instead(push(r, n, "good")) }},
	{1, pushUnhealthy},
	{2, pushInterrupted},
	{2, func(r *rand.Rand, n int) action { return beside(push(r, n, "good", "--replace", "--no-traffic")) }},
	{1, func(r *rand.Rand, n int) action { return beside(push(r, n, "good", "--replace", "--shadow", "50%")) }},
	{1, func(r *rand.Rand, n int) action { return push(r, n, "good", "--replace", "--weight", "30") }},
	{3, func(r *rand.Rand, n int) action { return rollout(r, n, "good") }},
	{2, func(r *rand.Rand, n int) action { return rollout(r, n, "bad", "--env", "ERRORS=0.5") }},
	{2, steer},
	{4, weigh},
	{2, func(r *rand.Rand, _ int) action { return traffic(r, "assign", pick(r, labels), "-y") }},
	{1, func(r *rand.Rand, _ int) action { return moveTraffic(r) }},
	{1, swap},
	{2, func(r *rand.Rand, _ int) action { return undoing(traffic(r, "undo")) }},
	{1, func(r *rand.Rand, _ int) action { return undoing(traffic(r, "rollback")) }},
	{1, func(r *rand.Rand, _ int) action { return undoing(traffic(r, "rollback", "--to", pick(r, labels))) }},
	{1, func(r *rand.Rand, _ int) action { return ofVersion(r, "shadow", pick(r, []string{"50%", "--off"})) }},
	{2, func(r *rand.Rand, _ int) action { return ofVersion(r, "scale", "-i", fmt.Sprint(1+r.IntN(3))) }},
	{2, scale},
	{2, setEnv},
	{2, pause},
	{1, maintenance},
	{3, guest},
	{1, func(r *rand.Rand, _ int) action {
		a := traffic(r, "kill", pick(r, []string{pick(r, labels), "--idle"}), "-y")
		a.anybody = false
		return a
	}},
}

// choose draws an action, the nth of the walk.
func choose(r *rand.Rand, n int) action {
	all := 0
	for _, m := range moves {
		all += m.times
	}
	at := r.IntN(all)
	for _, m := range moves {
		if at -= m.times; at < 0 {
			a := m.make(r, n)
			a.after = time.Duration(r.IntN(1000)) * time.Millisecond
			return a
		}
	}
	panic("unreachable")
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// push is a push under one of the labels; n and kind are in what it answers.
// Command and time to start are given for those before that gave bad ones.
func push(r *rand.Rand, n int, kind string, more ...string) action {
	app := pick(r, walked)
	a := action{apps: []string{app}, push: fmt.Sprintf("%s/%d-%s", app, n, kind)}
	a.commands = [][]string{append([]string{
		"push", app, "-m", "64M", "--version", pick(r, labels), "--env", "LABEL=" + a.push,
		"--env", "ERRORS=0", "-c", "./flaky", "-t", "60s", "--wait-timeout", "20s",
	}, more...)}
	return a
}

// instead is a push that first takes away what has its label, if it may.
func instead(a action) action {
	c := a.commands[0]
	a.commands = [][]string{{"kill", c[1], c[slices.Index(c, "--version")+1], "-y"}, c}
	return a
}

// beside is a push of a version that gets no requests.
func beside(a action) action {
	a.push = ""
	return a
}

func pushUnhealthy(r *rand.Rand, n int) action {
	a := beside(push(r, n, "deaf"))
	return a.with(pick(r, [][]string{{"-c", "sleep 600", "-t", "2s"}, {"-c", "exit 3", "-t", "5s"}})...)
}

// with returns a with other values for flags of its command.
func (a action) with(flags ...string) action {
	c := a.commands[0]
	for i := 0; i < len(flags); i += 2 {
		c[slices.Index(c, flags[i])+1] = flags[i+1]
	}
	return a
}

func pushInterrupted(r *rand.Rand, n int) action {
	a := push(r, n, "good")
	a.interrupt = time.Duration(1+r.IntN(1500)) * time.Millisecond
	a.signal = pick(r, []syscall.Signal{syscall.SIGINT, syscall.SIGKILL})
	return a
}

func rollout(r *rand.Rand, n int, kind string, more ...string) action {
	steps := pick(r, []string{"20,100", "10,50,100", "50"})
	a := push(r, n, kind, append([]string{
		"--replace", "--strategy", "canary", "--steps", steps, "--bake", "2s", "--max-bake", "15s",
		"--min-requests", "20", "--warmup", "0s", "--keep-old", pick(r, []string{"1s", "10s", "1h"}),
		"--concurrency", pick(r, []string{"supersede", "supersede", "queue", "refuse"}),
	}, more...)...)
	if r.IntN(3) > 0 {
		a.commands[0] = append(a.commands[0], "--no-wait")
	}
	return a
}

// traffic is a command that may give any version of an app requests.
func traffic(r *rand.Rand, command string, args ...string) action {
	app := pick(r, walked)
	return action{apps: []string{app}, anybody: true, commands: [][]string{append([]string{command, app}, args...)}}
}

// ofVersion is a command about an app's version that gives nobody requests.
func ofVersion(r *rand.Rand, command string, args ...string) action {
	app := pick(r, walked)
	version := app + ":" + pick(r, labels)
	return action{apps: []string{app}, commands: [][]string{append([]string{command, version}, args...)}}
}

// undoing is of a command that may change routes back.
func undoing(a action) action {
	if a.routes = a.apps; a.apps[0] != "c" {
		a.routes = swapped
	}
	return a
}

func steer(r *rand.Rand, _ int) action {
	a := traffic(r, "rollout")
	app := a.apps[0]
	a.commands = [][]string{append(strings.Fields("rollout "+pick(r, []string{"pause", "resume", "resume", "promote", "promote", "abort"})), app)}
	if r.IntN(4) == 0 && a.commands[0][1] == "promote" {
		a.commands[0] = append(a.commands[0], "--full")
	}
	return a
}

func weigh(r *rand.Rand, _ int) action {
	app := pick(r, walked)
	a := action{apps: []string{app}, anybody: true}
	one, other := pick(r, labels), pick(r, labels)
	switch r.IntN(3) {
	case 0:
		a.commands = [][]string{{"weight", app + ":" + one, pick(r, []string{"5%", "50%", "100%"})}}
	default:
		a.commands = [][]string{{"weight", app + ":" + one + "=" + pick(r, []string{"1", "50", "95"})}}
		if one != other {
			a.commands[0] = append(a.commands[0], app+":"+other+"="+pick(r, []string{"0", "5", "50"}))
		}
	}
	return a
}

func moveTraffic(r *rand.Rand) action {
	a := traffic(r, "move-traffic", "--from", pick(r, labels), "--to", pick(r, labels))
	if r.IntN(2) == 0 {
		a.commands[0] = append(a.commands[0], "--over", "5s", "--no-wait")
	}
	return a
}

func swap(*rand.Rand, int) action {
	return action{apps: swapped, routes: swapped, commands: [][]string{{"swap", "a", "b"}}}
}

func scale(r *rand.Rand, _ int) action {
	a := traffic(r, "scale", "-i", fmt.Sprint(1+r.IntN(3)))
	a.anybody = false
	return a
}

// setEnv may make instances anew, with what pushes that did not get far left
// to be set.
func setEnv(r *rand.Rand, n int) action {
	a := traffic(r, "set-env", "TURN", fmt.Sprint(n))
	if r.IntN(2) == 0 {
		a.commands[0] = append(a.commands[0], "--release", "--wait-timeout", "20s")
	}
	return a
}

func pause(r *rand.Rand, _ int) action {
	app := pick(r, walked)
	return action{
		apps: []string{app}, commands: [][]string{{"pause", app, "--max", "60s"}, {"resume", app}},
		between: time.Duration(r.IntN(1500)) * time.Millisecond, lasting: true,
	}
}

func maintenance(r *rand.Rand, _ int) action {
	app := pick(r, walked)
	return action{
		apps: []string{app}, commands: [][]string{{"maintenance", app, "on"}, {"maintenance", app, "off"}},
		between: time.Duration(r.IntN(1500)) * time.Millisecond, lasting: true, excuse: "maintenance",
	}
}

// guest lets an app into the route of home, or out of it.
func guest(r *rand.Rand, _ int) action {
	app := pick(r, swapped)
	a := action{apps: []string{app}, routes: []string{app}}
	switch r.IntN(3) {
	case 0:
		a.commands = [][]string{{"unmap-route", app, "apps.localhost", "-n", home}}
	case 1:
		a.commands = [][]string{{"unmap-route", app, "apps.localhost", "-n", home, "--drain", "20s"}}
	default:
		a.commands = [][]string{{"map-route", app, "apps.localhost", "-n", home, "--weight", pick(r, []string{"5", "50", "100"})}}
	}
	return a
}
