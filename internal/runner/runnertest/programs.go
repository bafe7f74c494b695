package runnertest

import (
	"time"

	"weir/internal/platform"
)

// program is something the suite runs: as a real command, and as what a
// simulator does in its stead.
type program struct {
	args []string
	does Behaviour
}

func shell(script string, does Behaviour) program {
	return program{args: []string{"/bin/sh", "-c", script}, does: does}
}

var (
	runsForever  = shell("while :; do sleep 1; done", Behaviour{})
	exits3       = shell("exit 3", Behaviour{CrashAfter: -1, Exit: platform.Exit{Code: 3}})
	killsItself  = shell("kill -KILL $$", Behaviour{CrashAfter: -1, Exit: platform.Exit{Signal: "SIGKILL"}})
	endsPolitely = shell("trap 'exit 0' TERM; while :; do sleep 0.05; done", Behaviour{StopAfter: time.Millisecond})
	ignoresTerm  = shell("trap '' TERM; while :; do sleep 0.2; done", Behaviour{StopAfter: time.Hour})
	isNotThere   = program{args: []string{"weir-no-such-command"}, does: Behaviour{StartError: errNotFound("weir-no-such-command")}}
)

var programs = []program{runsForever, exits3, killsItself, endsPolitely, ignoresTerm, isNotThere}
