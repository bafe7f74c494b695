package api

import (
	"context"
	"encoding/json"
	"time"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/store"
)

// stackName is the one stack of weir: the machine it runs on, under the name
// existing manifests ask for.
const stackName = "cflinuxfs4"

const stackGUID = "5ac00000-0000-4000-8000-000000000001"

// stackMetadata is the setting that keeps the stack's labels and annotations.
const stackMetadata = "stack.metadata"

func (a *API) stack(ctx context.Context, u urls) (v3.Stack, error) {
	text, ok, err := a.store.Setting(ctx, stackMetadata)
	var m platform.Metadata
	if err == nil && ok {
		err = json.Unmarshal([]byte(text), &m)
	}
	s := u.stack()
	s.Metadata = presentMetadata(m)
	return s, err
}

func (a *API) updateStack(ctx context.Context, c call, req updateMetadata) (reply, error) {
	if req.GUID != stackGUID {
		return reply{}, platform.NotFound("Stack")
	}
	err := a.store.Tx(ctx, func(tx *store.Tx) error {
		text, _, err := tx.Setting(ctx, stackMetadata)
		if err != nil {
			return err
		}
		var m platform.Metadata
		if text != "" {
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				return err
			}
		}
		if err := applyMetadata(&m, req.Body.Metadata); err != nil {
			return err
		}
		b, err := json.Marshal(m)
		if err != nil {
			return err
		}
		return tx.SetSetting(ctx, stackMetadata, string(b))
	})
	if err != nil {
		return reply{}, err
	}
	s, err := a.stack(ctx, c.urls)
	return ok(s), err
}

func (u urls) stack() v3.Stack {
	since := v3.At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	return v3.Stack{
		Resource: v3.Resource{GUID: stackGUID, CreatedAt: since, UpdatedAt: since},
		Name:     stackName, Description: "The file system and toolchains of this machine",
		State: "ACTIVE", Default: true,
		BuildRootfsImage: stackName, RunRootfsImage: stackName,
		Links: v3.Links{"self": u.link("/v3/stacks/" + stackGUID)},
	}
}

type listStacks struct {
	List list `filters:"guids,names,default"`
}

func (a *API) listStacks(ctx context.Context, c call, req listStacks) (reply, error) {
	s, err := a.stack(ctx, c.urls)
	if err != nil {
		return reply{}, err
	}
	for filter, value := range map[string]string{"guids": s.GUID, "names": s.Name, "default": "true"} {
		if !admits(req.List, filter, value) {
			return ok(pageOfAll(c, req.List, []v3.Stack{})), nil
		}
	}
	return ok(pageOfAll(c, req.List, []v3.Stack{s})), nil
}

// admits reports whether a filter lets a value pass.
func admits(l list, filter, value string) bool {
	wanted, ok := l.In[filter]
	if !ok {
		return true
	}
	for _, w := range wanted {
		if w == value {
			return true
		}
	}
	return false
}

func (a *API) getStack(ctx context.Context, c call, req byGUID) (reply, error) {
	if req.GUID != stackGUID {
		return reply{}, platform.NotFound("Stack")
	}
	s, err := a.stack(ctx, c.urls)
	return ok(s), err
}
