package rollout

import (
	"context"
	"slices"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// promoted writes down that an app serves another state from now on. A
// rollback takes what lies between it and the state it goes back to out of the
// reach of later ones.
func (e *Engine) promoted(ctx context.Context, tx *store.Tx, who platform.Actor, v platform.Version, how string, table uint64) error {
	all, err := promotionsOf(ctx, tx, v.AppGUID)
	if err != nil {
		return err
	}
	if how == verbRollback {
		if err := passBy(ctx, tx, all, v.RevisionGUID); err != nil {
			return err
		}
	} else if len(all) > 0 && all[0].RevisionGUID == v.RevisionGUID && all[0].VersionGUID == v.GUID {
		return nil
	}
	err = tx.InsertPromotion(ctx, platform.Promotion{
		Resource: platform.NewResource(time.Now().UTC()), AppGUID: v.AppGUID, VersionGUID: v.GUID, Label: v.Label,
		RevisionGUID: v.RevisionGUID, RevisionVersion: v.RevisionVersion, Table: table, How: how, By: who,
	})
	if err != nil || len(all) < keptPromotions {
		return err
	}
	return tx.DeletePromotion(ctx, all[len(all)-1].GUID)
}

const (
	verbRollback   = "rollback"
	keptPromotions = 200
)

// promotionsOf returns the promoted states of an app, newest first.
func promotionsOf(ctx context.Context, tx *store.Tx, app string) ([]platform.Promotion, error) {
	all, _, err := tx.Promotions(ctx, store.Query{In: map[string][]string{"app_guids": {app}}})
	slices.Reverse(all)
	return all, err
}

// passBy marks the states that a rollback to a revision leaves behind: those
// since it served, or since it was left behind itself if it was every time.
func passBy(ctx context.Context, tx *store.Tx, all []platform.Promotion, revision string) error {
	to, err := tx.Revision(ctx, revision)
	if err != nil {
		return err
	}
	end, found := min(1, len(all)), false // of one that never served, what is left now
	for i, p := range all {
		if found && p.RolledBack {
			continue
		}
		same, err := sameContent(ctx, tx, p.RevisionGUID, to)
		if err != nil {
			return err
		}
		if same {
			end, found = i, true
		}
		if same && !p.RolledBack {
			break
		}
	}
	for _, p := range all[:end] {
		if p.RolledBack {
			continue
		}
		p.RolledBack = true
		if err := tx.UpdatePromotion(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// sameContent reports whether a revision, if it is still known, says the same
// as another one.
func sameContent(ctx context.Context, tx *store.Tx, guid string, other platform.Revision) (bool, error) {
	if guid == other.GUID {
		return true, nil
	}
	v, err := tx.Revision(ctx, guid)
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c := candidate{env: other.Env, processes: other.Processes, services: other.Services}
	c.droplet.GUID = other.DropletGUID
	return len(differences(v, c)) == 0, nil
}
