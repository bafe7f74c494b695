package cli

import (
	"testing"

	v3 "weir/api/v3"
)

func TestHopeless_IsACrashAtOnceAndAFullDiskAfterAWhile(t *testing.T) {
	full, later := "instance cannot be started: the disk is full", "waiting to be started"
	running := v3.InstanceStats{State: v3.InstanceRunning}
	starting := v3.InstanceStats{State: v3.InstanceStarting, Index: 1}
	waiting := v3.InstanceStats{State: v3.InstanceDown, Index: 1, Details: &later}
	stuck := v3.InstanceStats{State: v3.InstanceDown, Index: 2, Details: &full, InstanceGUID: "i"}
	crashed := v3.InstanceStats{State: v3.InstanceCrashed, Index: 3}
	for _, c := range []struct {
		stats []v3.InstanceStats
		polls int
		want  int // index; 0: none
	}{
		{[]v3.InstanceStats{running, starting, waiting}, stuckPolls, 0},
		{[]v3.InstanceStats{running, stuck, starting}, 1, 0},
		{[]v3.InstanceStats{running, starting, stuck}, stuckPolls, 2},
		{[]v3.InstanceStats{running, crashed}, 0, 3},
	} {
		got := 0
		if i := hopeless(c.stats, c.polls); i != nil {
			got = i.Index
		}
		if got != c.want {
			t.Errorf("%+v after %d polls: instance %d, want %d", c.stats, c.polls, got, c.want)
		}
	}
}
