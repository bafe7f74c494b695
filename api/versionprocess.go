package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/rollout"
	"weir/internal/store"
)

// Cloud Foundry knows no versions. Its clients see each one beside the main
// version as one more web process of the app, as during a deployment: with
// the version's GUID, its own scale, stats and revision.

// sideProcesses returns the versions beside the main one that a list of
// processes is to show.
func (a *API) sideProcesses(ctx context.Context, q store.Query) ([]rollout.VersionProcess, error) {
	if types, given := q.In["types"]; given && !slices.Contains(types, platform.WebProcess) {
		return nil, nil
	}
	q.In = maps.Clone(q.In)
	delete(q.In, "types")
	q.OrderBy = ""
	return a.engine.VersionProcesses(ctx, q)
}

// sideProcess returns the version beside the main one with that GUID.
func (a *API) sideProcess(ctx context.Context, guid string) (rollout.VersionProcess, error) {
	all, err := a.engine.VersionProcesses(ctx, store.Query{In: map[string][]string{"guids": {guid}}})
	if err == nil && len(all) == 0 {
		err = platform.NotFound("Process")
	}
	if err != nil {
		return rollout.VersionProcess{}, err
	}
	return all[0], nil
}

// isSide reports whether a GUID that names no process is a version's.
func (a *API) isSide(ctx context.Context, guid string, err error) bool {
	if platform.KindOf(err) != platform.KindNotFound {
		return false
	}
	v, err := a.store.Version(ctx, guid)
	return err == nil && !v.Main
}

// withSides is processPage for a list that has versions beside the main ones.
func (a *API) withSides(ctx context.Context, c call, l list, sides []rollout.VersionProcess) (reply, error) {
	q := l.Query
	q.Page, q.PerPage = 0, 0
	ps, _, err := a.store.Processes(ctx, q)
	if err != nil {
		return reply{}, err
	}
	out, err := a.presentProcesses(ctx, c, ps, l.embed)
	if err != nil {
		return reply{}, err
	}
	for _, s := range sides { // after the main version of its app
		one := c.side(s, l.embed)
		at := len(out)
		for i := range out {
			if out[i].Relationships.GUID("app") == s.Version.AppGUID {
				at = i + 1
				if out[i].Type != platform.WebProcess {
					at = i
					break
				}
			}
		}
		out = slices.Insert(out, at, one)
	}
	hideCommands(out)
	return ok(pageOfAll(c, l, out)), nil
}

// side presents a version beside the main one as a process.
func (u urls) side(s rollout.VersionProcess, embed string) v3.Process {
	out := u.process(s.Process, appRunning{
		commands: map[string]string{platform.WebProcess: s.Command}, revision: s.Version.RevisionGUID,
	})
	out.Metadata = presentMetadata(s.Version.Metadata)
	if embed != "" {
		out.Embedded = presentInstances(s.States, time.Now())
	}
	return out
}

// scaleSide scales a version beside the main one. Its memory and disk are its
// revision's.
func (a *API) scaleSide(ctx context.Context, c call, version string, b v3.ProcessScale) (reply, error) {
	if b.MemoryMB != nil || b.DiskMB != nil || b.LogRateLimit != nil {
		return reply{}, &platform.Error{
			Kind: platform.KindInvalid, Msg: "memory, disk and log rate of a version cannot be changed",
			Hint: "start another version with them: weir push APP --version LABEL -m SIZE --no-traffic",
		}
	}
	if b.Instances != nil {
		if _, err := a.engine.ScaleVersion(ctx, c.actor(), version, *b.Instances); err != nil {
			return reply{}, err
		}
	}
	s, err := a.sideProcess(ctx, version)
	return reply{status: http.StatusAccepted, body: c.side(s, "")}, err
}
