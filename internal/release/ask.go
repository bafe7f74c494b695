package release

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

const (
	probePeriod = 2 * time.Second
	bakeProbes  = 5 * time.Second
	gatePeriod  = 5 * time.Second
)

// ask calls what has to be asked beside: probes and gates. The answers come
// through c.calls.
func (c *conductor) ask(ctx context.Context, w *world) {
	if c.busy > 0 {
		return
	}
	now := c.e.cfg.Now()
	switch step := &c.plan.Steps[min(c.row.Step, len(c.plan.Steps)-1)]; {
	case c.row.State == platform.RolloutProbing && c.p.Probed < len(c.plan.Probes):
		if now.Sub(c.probed) >= probePeriod || c.p.ProbeFailed == 0 {
			c.startProbe(ctx, w, c.plan.Probes[c.p.Probed])
		}
	case c.row.State == platform.RolloutBaking && step.Probe != "" &&
		(now.Sub(c.probed) >= bakeProbes || c.p.Probed+c.p.ProbeFailed == 0):
		c.startProbe(ctx, w, step.Probe)
	case c.row.State == platform.RolloutWaiting && isURL(step.Gate) && !c.p.GateOpen && now.Sub(c.asked) >= gatePeriod:
		c.asked = now
		if c.p.GateSilent.IsZero() {
			c.p.GateSilent, c.dirty = now.UTC(), true
		}
		what := c.told("gate", c.row.Reason)
		c.beside(ctx, func(ctx context.Context) func() {
			status, text, err := c.e.call(ctx, step.Gate, what)
			return func() { c.gateSaid(status, text, err) }
		})
	}
}

// compare looks once a second at what the comparison of a shadow has found.
func (c *conductor) compare(ctx context.Context) error {
	now := c.e.cfg.Now()
	if c.e.cfg.Compared == nil || c.p.StepBegan.IsZero() || c.plan.Steps[c.row.Step].Shadow == 0 || now.Sub(c.compared) < time.Second {
		return nil
	}
	c.compared = now
	n, different, err := c.e.cfg.Compared(ctx, c.row.AppGUID, c.row.ToGUID)
	if err == nil && (n != c.p.Compared || len(different) != len(c.p.Different)) {
		c.p.Compared, c.p.Different, c.dirty = n, different, true
	}
	return err
}

// beside runs f in a goroutine and what it returns in the conductor's, unless
// another step has begun by then: a person may be faster than an answer, which is
// not about the next step.
func (c *conductor) beside(ctx context.Context, f func(context.Context) func()) {
	c.busy++
	began := c.p.StepBegan
	c.e.wg.Go(func() {
		then := f(ctx)
		c.calls <- func() {
			if c.busy--; c.p.StepBegan.Equal(began) {
				then()
			}
		}
	})
}

func (c *conductor) startProbe(ctx context.Context, w *world, text string) {
	c.probed = c.e.cfg.Now()
	addr, err := c.address(ctx, w)
	if err != nil {
		c.probeSaid(err)
		return
	}
	c.beside(ctx, func(ctx context.Context) func() {
		err := probe(ctx, c.e.cfg.HTTP, addr, "", text)
		return func() { c.probeSaid(err) }
	})
}

// address returns where an instance of the candidate answers.
func (c *conductor) address(ctx context.Context, w *world) (string, error) {
	if w.candidate == nil {
		return "", fmt.Errorf("version %s was taken away", c.row.ToLabel)
	}
	found, _, err := c.e.cfg.Store.Instances(ctx, store.Query{In: map[string][]string{
		"deployment_guids": {w.candidate.DeploymentGUID}, "types": {platform.WebProcess}, "states": {string(platform.InstanceRunning)},
	}})
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no instance of %s runs", c.row.ToLabel)
	}
	i := found[int(c.p.Probed)%len(found)]
	return net.JoinHostPort(i.Host, strconv.Itoa(i.Port)), nil
}

func (c *conductor) probeSaid(err error) {
	c.dirty = true
	if err != nil {
		c.p.ProbeFailed++
		c.p.ProbeText = err.Error()
		return
	}
	c.p.Probed, c.p.ProbeFailed, c.p.ProbeText = c.p.Probed+1, 0, ""
}

// gateSaid notes the answer of a gate: 200 opens it, 202 means not yet, any
// 4xx is a no. Everything else is none.
func (c *conductor) gateSaid(status int, text string, err error) {
	c.dirty = true
	if err != nil {
		c.p.GateText = err.Error()
		return
	}
	text = oneLine(text)
	c.p.GateText = strings.TrimSpace(fmt.Sprintf("%d %s", status, text))
	switch {
	case status == http.StatusOK || status == http.StatusNoContent:
		c.p.GateOpen, c.p.GateText = true, text
	case status >= 400 && status < 500:
		c.p.GateClosed = true
	case status != http.StatusAccepted:
		return // no answer to the question
	}
	c.p.GateSilent = time.Time{}
}

// oneLine returns the beginning of what somebody else said, fit for a sentence.
func oneLine(text string) string {
	const most = 96
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}

func (c *conductor) told(hook, reason string) told {
	return told{
		Hook: hook, App: c.row.AppGUID, Rollout: c.row.GUID, Number: c.row.Number, From: c.row.FromLabel, To: c.row.ToLabel,
		State: c.row.State, Step: c.row.Step + 1, Reason: reason,
	}
}

// call tells a gate or a hook what is so, with the name that people know the app
// by now; it is left out if it cannot be found out.
func (e *Engine) call(ctx context.Context, to string, what told) (status int, text string, err error) {
	if app, err := e.cfg.Store.App(ctx, what.App); err == nil {
		what.AppName = app.Name
	}
	return post(ctx, e.cfg.HTTP, to, what)
}

// tellHook tells a hook, if the plan has it. Nobody waits for the answer.
func (c *conductor) tellHook(hook, reason string) {
	to := c.plan.Hooks[hook]
	if to == "" {
		return
	}
	what := c.told(hook, reason)
	c.e.wg.Go(func() {
		status, text, err := c.e.call(context.Background(), to, what)
		if err == nil && status >= 300 {
			err = errors.New(strings.TrimSpace(fmt.Sprintf("status %d %s", status, oneLine(text))))
		}
		if err != nil {
			c.e.log.Warn("a hook of a rollout failed", "hook", hook, "rollout", what.Rollout, "err", err)
			c.e.cfg.Line(what.App, fmt.Sprintf("Rollout r-%d: hook %s failed: %v", what.Number, hook, err))
		}
	})
}
