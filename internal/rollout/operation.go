package rollout

import (
	"context"
	"errors"
	"sync"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
)

// errGivenUp says that a start was not wanted any more.
var errGivenUp = errors.New("rollout: not wanted any more")

// start starts an instance once it is its turn.
func (l *loop) start(ctx context.Context, wg *sync.WaitGroup, row platform.Instance) {
	l.runs[row.GUID] = &run{phase: phaseStart}
	turn, cancel := context.WithCancel(ctx)
	l.ops[row.GUID] = &operations{cancelStart: cancel}
	l.e.mu.Lock()
	l.e.homes[row.GUID] = l
	l.e.mu.Unlock()
	wg.Go(func() {
		defer cancel()
		settled := make(chan struct{})
		select {
		case l.e.starts <- struct{}{}:
			wg.Go(func() { l.e.keepTurn(ctx, settled) })
		case <-turn.Done():
			l.post(func() { l.started(ctx, wg, row, runner.Status{}, errGivenUp, settled) })
			return
		}
		status, err := l.e.startInstance(ctx, row)
		l.post(func() { l.started(ctx, wg, row, status, err, settled) })
	})
}

// slowStart is how long a starting instance may keep others from starting.
const slowStart = 2 * time.Second

// keepTurn gives the turn to start back once the instance settled, or takes
// its time.
func (e *Engine) keepTurn(ctx context.Context, settled <-chan struct{}) {
	timer := time.NewTimer(slowStart)
	defer timer.Stop()
	select {
	case <-settled:
	case <-timer.C:
	case <-ctx.Done():
	}
	<-e.starts
}

// started notes that an instance has a process, or why it has none.
func (l *loop) started(ctx context.Context, wg *sync.WaitGroup, row platform.Instance, s runner.Status, err error, settled chan struct{}) {
	r := l.runs[row.GUID]
	if r == nil {
		close(settled)
		return
	}
	if err != nil {
		close(settled)
		r.phase, r.startErr = phaseGone, err
		return
	}
	r.phase, r.host, r.port = phaseUp, s.Endpoint.Host, s.Endpoint.Port
	r.pid, r.started = s.PID, s.StartedAt
	r.settled = settled
	l.attach(ctx, wg, row.GUID, r)
}

// setBackground has an instance give way to others, or no longer. A machine
// that cannot do so runs it as it is.
func (l *loop) setBackground(ctx context.Context, wg *sync.WaitGroup, guid string, on bool) {
	r := l.runs[guid]
	r.telling = true
	wg.Go(func() {
		err := l.e.runner.SetBackground(ctx, guid, on)
		if err != nil && ctx.Err() == nil && !isNotFound(err) {
			l.e.log.Warn("the priority of an instance could not be changed", "app", l.app, "instance", guid, "background", on, "err", err)
		}
		l.post(func() { r.telling, r.background = false, on })
	})
}

// retire takes an instance out of the table, drains it and stops it.
func (l *loop) retire(ctx context.Context, wg *sync.WaitGroup, row platform.Instance, drain bool) {
	l.takeAway(ctx, wg, row.GUID, func() error {
		l.e.line(l.app, "CELL", "Stopping instance %s", nameInstance(row))
		if err := l.e.pub.sync(ctx, []string{l.app}, nil); err != nil {
			return err
		}
		if drain {
			l.e.drain(ctx, row)
		}
		return nil
	})
}

// reap takes away what is left of an instance that crashed or is not well.
func (l *loop) reap(ctx context.Context, wg *sync.WaitGroup, guid string) {
	l.takeAway(ctx, wg, guid, func() error { return nil })
}

func (l *loop) takeAway(ctx context.Context, wg *sync.WaitGroup, guid string, before func() error) {
	r := l.runs[guid]
	if r == nil {
		r = &run{}
		l.runs[guid] = r
	}
	r.phase = phaseStop
	l.settle(r)
	o := l.ops[guid]
	if o == nil {
		o = &operations{}
		l.ops[guid] = o
	}
	if o.cancelProbe != nil {
		o.cancelProbe()
	}
	l.noteUp()
	wg.Go(func() {
		err := before()
		if err == nil {
			err = l.e.takeAway(ctx, guid, o.pumps)
		}
		if err != nil && ctx.Err() == nil {
			l.e.log.Error("an instance could not be taken away, trying again", "app", l.app, "instance", guid, "err", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			l.post(func() { r.phase = phaseUp })
			return
		}
		if ctx.Err() == nil {
			l.post(func() {
				r.phase = phaseGone
				if l.gone {
					l.forget(guid)
				}
			})
		}
	})
}

// settle lets the next instance start.
func (l *loop) settle(r *run) {
	if r.settled != nil {
		close(r.settled)
		r.settled = nil
	}
}
