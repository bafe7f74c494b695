package acceptance

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v3 "weir/api/v3"
	"weir/internal/platform"

	_ "modernc.org/sqlite"
)

// victims are what a walk with chaos meets in a step: a process killed with -9,
// weir reload, or nothing.
var victims = []string{"", "", "controller", "router", "keeper", "instance", "reload"}

// strike kills a victim; which chooses among instances.
func (w *walk) strike(victim string, which int) {
	began := time.Now()
	switch victim {
	case "reload":
		if code := w.typeIn([]string{"reload"}, action{}); code != 0 {
			w.oracle.complain("weir reload: exit %d", code)
		}
	case "router":
		w.lose(true)
		pid := w.child("router")
		w.kill9("router")
		w.eventually(time.Minute, "another router", func() error { return w.areGone(pid) })
		w.eventually(time.Minute, "the router to answer", func() error {
			_, _, err := w.get(home+".apps.localhost", "/")
			return err
		})
		w.lose(false)
	case "instance":
		victim = "instance of " + w.killInstance(which)
	default:
		w.kill9(victim)
	}
	w.kills[strings.Fields(victim)[0]]++
	w.tell(fmt.Sprintf("%s  %s: %s", began.Format("15:04:05.000"), map[bool]string{true: "done", false: "kill -9"}[victim == "reload"], victim))
}

// lose says whether requests may get lost with a router from now on.
func (w *walk) lose(may bool) {
	w.oracle.mu.Lock()
	defer w.oracle.mu.Unlock()
	if may {
		w.oracle.lost.add("")
	} else {
		w.oracle.lost.set()
	}
}

// killInstance kills an instance of a walked app's main process, if one runs,
// waits until that is known, and returns the app.
func (w *walk) killInstance(which int) string {
	app := walked[which%len(walked)]
	running, err := w.instances(app)
	if err != nil || len(running) == 0 {
		return app
	}
	guid := running[which%len(running)]
	pid := w.inits()[guid]
	if pid == 0 {
		return app
	}
	w.oracle.mu.Lock()
	// Until its instances are ready again.
	w.oracle.errs[app].add("endpoint_failure", "no_endpoints", "response_truncated")
	w.oracle.mu.Unlock()
	_ = syscall.Kill(pid, syscall.SIGKILL)
	w.eventually(time.Minute, "a killed instance to be missed", func() error {
		if running, err = w.instances(app); err == nil && slices.Contains(running, guid) {
			err = errors.New("it is said to run")
		}
		return err
	})
	return app
}

// instances returns the GUIDs of the running instances of an app's main process.
func (w *walk) instances(app string) (running []string, err error) {
	var stats struct {
		Resources []struct {
			Instance string `json:"instance_guid"`
			State    string
		}
	}
	err = w.read(&stats, "/v3/apps/"+w.guids[app]+"/processes/web/stats")
	for _, i := range stats.Resources {
		if i.State == "RUNNING" {
			running = append(running, i.Instance)
		}
	}
	return running, err
}

// read reads a path of the API into v.
func (w *walk) read(v any, path string) error {
	for {
		req, err := http.NewRequest("GET", w.api+path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", w.token)
		resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch {
		case err != nil:
			return err
		case resp.StatusCode == http.StatusUnauthorized: // it lives for some minutes
			w.token = strings.TrimSpace(w.must("oauth-token"))
		case resp.StatusCode != http.StatusOK:
			return fmt.Errorf("GET %s: %s: %s", path, resp.Status, b)
		default:
			return json.Unmarshal(b, v)
		}
	}
}

// moving says that an app has a rollout that is not over.
type moving struct {
	app, reason string
	state       platform.RolloutState
}

func (m *moving) Error() string {
	return fmt.Sprintf("the rollout of %s is %s: %s", m.app, m.state, m.reason)
}

// atRest returns nil if no rollout, deployment or build of the app is under way.
func (w *walk) atRest(app string) error {
	of := "?app_guids=" + w.guids[app]
	var rollouts struct {
		Resources []struct {
			State  platform.RolloutState
			Reason string
		}
	}
	if err := w.read(&rollouts, "/v3/rollouts"+of+"&active=true"); err != nil {
		return err
	}
	for _, r := range rollouts.Resources {
		return &moving{app, r.Reason, r.State}
	}
	for _, path := range []string{
		"/v3/builds" + of + "&states=STAGING",
		"/v3/deployments" + of + "&status_values=ACTIVE&strategies=start,rolling,canary",
	} {
		var list v3List
		if err := w.read(&list, path); err != nil {
			return err
		}
		if len(list.Resources) > 0 {
			return fmt.Errorf("%d of %s", len(list.Resources), path)
		}
	}
	return nil
}

// serving returns the versions of an app that get requests, once all their
// instances are ready.
func (w *walk) serving(app string) ([]v3.Version, error) {
	var all struct{ Resources []v3.Version }
	if err := w.read(&all, "/v3/apps/"+w.guids[app]+"/versions"); err != nil {
		return nil, err
	}
	all.Resources = slices.DeleteFunc(all.Resources, func(v v3.Version) bool { return v.SharePercent == 0 })
	if len(all.Resources) == 0 {
		return nil, fmt.Errorf("no version of %s has requests", app)
	}
	for _, v := range all.Resources {
		if i := v.Instances; i.Ready != i.Wanted || i.Running != i.Wanted || len(v.Addresses) != i.Wanted || i.Wanted == 0 {
			return nil, fmt.Errorf("%s:%s: %d of %d instances are ready", app, v.Label, i.Ready, i.Wanted)
		}
	}
	return all.Resources, nil
}

// labelAt asks an instance who it is, past the router.
func labelAt(addr string) (string, error) {
	c := http.Client{Timeout: 10 * time.Second}
	resp, err := c.Get("http://" + addr + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return strings.TrimSuffix(strings.TrimSpace(string(b)), " failed"), err
}

// settleRoutes learns which apps each host leads to.
func (w *walk) settleRoutes() error {
	var all struct{ Resources []v3.Route }
	if err := w.read(&all, "/v3/routes?per_page=100"); err != nil {
		return err
	}
	o := w.oracle
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range all.Resources {
		var apps []string
		for _, d := range r.Destinations {
			for app, guid := range w.guids {
				if guid == d.App.GUID {
					apps = append(apps, app)
				}
			}
		}
		if o.hosts[r.Host] != nil {
			o.hosts[r.Host].set(apps...)
		}
	}
	return nil
}

// comeToRest waits until nothing moves any more, and returns what still does: a
// rollout that is paused waits for somebody, and says why.
func (w *walk) comeToRest() (unsettled []string, paused int) {
	for _, app := range walked {
		var err error
		for until := time.Now().Add(90 * time.Second); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
			err = w.settle(app)
			m, isMoving := errors.AsType[*moving](err)
			if isMoving && m.state == platform.RolloutPaused && m.reason != "" {
				err = nil
				paused++
			}
			if err == nil {
				break
			}
		}
		if err != nil {
			unsettled = append(unsettled, err.Error())
		}
	}
	return unsettled, paused
}

// figures prints what came of the walk, and fails the test if a bar is missed.
func (w *walk) figures(clients int, unsettled []string, paused int) {
	t, o := w.t.(*testing.T), w.oracle
	t.Helper()
	is := func(what string, got, most int64) {
		t.Helper()
		figure(t, "walk", what, fmt.Sprint(got), fmt.Sprintf("≤ %d", most), got <= most)
	}
	is(fmt.Sprintf("of %d requests and %d commands went wrong", o.sent.Load(), w.count), o.wrongs.Load(), 0)
	is(fmt.Sprintf("lost with %d killed routers, %d clients", w.kills["router"], clients), o.cut.Load(), int64(w.kills["router"]*clients))
	is(fmt.Sprintf("apps that have not come to rest, %d in a pause", paused), int64(len(unsettled)), 0)
	t.Logf("FIGURE walk %d answers of versions told to fail, %d of maintenance or while the killed instance was started anew",
		o.bad.Load(), o.excused.Load())
	t.Logf("FIGURE walk slowest command %s; killed or replaced: %v", ms(w.slowest), w.kills)
	for name, most := range map[string]int{"serve": 60, "router": 100, "controller": 200} {
		kib := memory(t, w.child(name), "VmRSS")
		what := fmt.Sprintf("MiB of the process %s", name)
		if raced() {
			t.Logf("FIGURE walk %s: %d, with the race detector", what, kib>>10)
			continue
		}
		is(what, int64(kib>>10), int64(most))
	}
	for _, k := range slices.Sorted(maps.Keys(w.ends)) {
		t.Logf("ended %s: %d", k, w.ends[k])
	}
	for _, line := range regexp.MustCompile(`(?m)^.*(DATA RACE|panic:|fatal error:|level=ERROR).*$`).FindAllString(w.log(), 20) {
		t.Errorf("weir's own log: %s", line)
	}
	if t.Failed() {
		t.Logf("wrong:\n%s\nnot at rest:\n%s\nthe last commands:\n%s", strings.Join(o.wrong, "\n"),
			strings.Join(unsettled, "\n"), strings.Join(w.typed, "\n"))
	}
}

// end stops the server, looks at its database, starts it once more and takes
// everything away: nothing may be left.
func (w *walk) end() {
	t := w.t
	w.stop()
	if left := processes(t, w.data()); len(left) > 0 {
		t.Errorf("after weir serve stopped, these are left: %v", left)
	}
	if said := checkDatabase(w.data()); said != "ok" {
		t.Errorf("the database: %s", said)
	}
	w.restart()
	for _, app := range append(slices.Clone(walked), home) {
		w.must("delete", app, "-f")
	}
	w.nothingLeft()
	w.stop()
	if left := processes(t, w.data()); len(left) > 0 {
		t.Errorf("in the end these are left: %v", left)
	}
}

// checkDatabase returns "ok", or what is wrong with the database in dir.
func checkDatabase(dir string) string {
	db, err := sql.Open("sqlite", filepath.Join(dir, "weir.db"))
	if err != nil {
		return err.Error()
	}
	defer db.Close()
	var said string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&said); err != nil || said != "ok" {
		return fmt.Sprintf("%s (%v)", said, err)
	}
	var broken int
	if err := db.QueryRow("SELECT count(*) FROM pragma_foreign_key_check").Scan(&broken); err != nil || broken > 0 {
		return fmt.Sprintf("%d rows refer to none (%v)", broken, err)
	}
	return "ok"
}

// raced reports whether the weir under test was built with the race detector.
func raced() bool { return os.Getenv("WEIR_RACE") != "" }
