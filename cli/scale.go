package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	v3 "weir/api/v3"
)

func scaleCommands() []*command {
	return []*command{{
		name: "scale", args: "APP[:VERSION]", category: catApps,
		usage:    "change the number or the size of an app's instances",
		examples: []string{"scale hello -i 3", "scale hello -m 256M -k 1G", "scale hello --process worker -i 2", "scale hello:v2 -i 3", "scale hello"},
		about: "New limits need new instances; they take over before the old ones stop. " +
			"Without flags it shows the app.",
		flags: append([]cli.Flag{
			&cli.IntFlag{Name: "instances", Aliases: []string{"i", "replicas"}, Usage: "`NUMBER` of instances"},
			&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "memory limit of an instance, `SIZE` such as 256M"},
			&cli.StringFlag{Name: "disk", Aliases: []string{"k"}, Usage: "disk limit of an instance, `SIZE`"},
			&cli.StringFlag{Name: "process", Usage: "`TYPE` of the process", Value: "web"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "accepted for cf's sake; nothing is asked"},
		}, moveFlags()...),
		run: runScale,
	}}
}

func runScale(ctx context.Context, c *call) error {
	var want v3.ProcessScale
	if c.has("instances") {
		n := c.Int("instances")
		if n < 0 {
			return usagef("--instances must not be negative")
		}
		want.Instances = &n
	}
	for flag, field := range map[string]**int{"memory": &want.MemoryMB, "disk": &want.DiskMB} {
		if c.has(flag) {
			mb, err := parseMB("--"+flag, c.String(flag))
			if err != nil {
				return err
			}
			*field = &mb
		}
	}
	if s, f, v, ok, err := c.onlyVersion(ctx); ok {
		return c.scaleVersion(ctx, s, f, v, want, err)
	}
	s, sp, app, err := c.openApp(ctx)
	if err != nil {
		return err
	}
	if want == (v3.ProcessScale{}) {
		return s.showApp(ctx, sp, app.GUID)
	}
	c.out.banner("Scaling app %s in org %s / space %s as %s...", app.Name, sp.Org.Name, sp.Name, s.user)
	before, err := s.Process(ctx, app.GUID, c.String("process"))
	if err != nil {
		return err
	}
	if replaces(before, want) && app.State == v3.AppStarted && !c.Bool("no-wait") {
		if err := s.checkNoRollout(ctx, app, ""); err != nil {
			return err
		}
	}
	after, err := s.Scale(ctx, app.GUID, c.String("process"), want)
	if err != nil {
		return err
	}
	return c.move(ctx, s, sp, app, "scale", func(ctx context.Context, p *push) error {
		p.at("the new numbers are set", "weir app "+app.Name+" shows how far it is")
		if app.State != v3.AppStarted || c.Bool("no-wait") {
			return p.finish(ctx, app)
		}
		if replaces(before, want) {
			p.c.out.step("Replacing the instances of %s", app.Name)
			_, deployment, err := s.RestartApp(ctx, app.GUID)
			if err != nil {
				return err
			}
			return p.await(ctx, app, deployment)
		}
		if err := p.awaitInstances(ctx, app, after.GUID); err != nil {
			return err
		}
		return p.finish(ctx, app)
	})
}

// replaces reports whether what is wanted of a process needs new instances.
func replaces(now v3.Process, want v3.ProcessScale) bool {
	return want.MemoryMB != nil && *want.MemoryMB != now.MemoryMB || want.DiskMB != nil && *want.DiskMB != now.DiskMB
}

// crashText says why an instance crashed.
func crashText(i v3.InstanceStats) string {
	if i.Details != nil && *i.Details != "" {
		return *i.Details
	}
	return "it crashed"
}

// stuckPolls is how often an instance is seen that cannot be started, for the
// same reason, until nobody waits for it any more: for about five seconds.
const stuckPolls = 50

// isStuck reports whether starting an instance was tried and is not possible,
// which may pass. One whose turn has not come yet has no GUID.
func isStuck(i v3.InstanceStats) bool {
	return i.State == v3.InstanceDown && i.InstanceGUID != "" && i.Details != nil && *i.Details != ""
}

// hopeless returns the instance for whose sake waiting for the others makes no
// sense, nil for none: one that crashed or, seen often enough, is stuck.
func hopeless(stats []v3.InstanceStats, polls int) *v3.InstanceStats {
	i := slices.IndexFunc(stats, func(i v3.InstanceStats) bool {
		return i.State == v3.InstanceCrashed || polls >= stuckPolls && isStuck(i)
	})
	if i < 0 {
		return nil
	}
	return &stats[i]
}

// awaitInstances waits until every instance of a process runs. An instance
// that crashed, or cannot be started, ends the wait with its reason.
func (p *push) awaitInstances(ctx context.Context, app v3.App, process string) error {
	limited, stop := p.patience(ctx)
	defer stop()
	polls := 0 // since when an instance is stuck
	for {
		stats, err := persist(limited, func(ctx context.Context) ([]v3.InstanceStats, error) { return p.Stats(ctx, process) })
		if err != nil {
			return p.gaveUp(ctx, err, "the instances go on starting")
		}
		if i := hopeless(stats, polls); i != nil {
			return newFailure(exitFailed, "start-failed", fmt.Sprintf("instance %d of %s: %s", i.Index, app.Name, crashText(*i)),
				"the platform goes on trying; "+startHint(app.Name, crashText(*i)))
		}
		running := 0
		for _, i := range stats {
			if i.State == v3.InstanceRunning {
				running++
			}
		}
		if running == len(stats) {
			return nil
		}
		if polls++; !slices.ContainsFunc(stats, isStuck) {
			polls = 0
		}
		p.c.out.setStatus("%d of %d instances running", running, len(stats))
		if err := sleep(limited, 100*time.Millisecond); err != nil {
			return p.gaveUp(ctx, err, "the instances go on starting")
		}
	}
}
