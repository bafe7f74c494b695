package rollout

import (
	"context"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// CreateServiceInstance stores a user-provided service.
func (e *Engine) CreateServiceInstance(ctx context.Context, who platform.Actor, s platform.ServiceInstance) (platform.ServiceInstance, error) {
	if strings.TrimSpace(s.Name) == "" {
		return platform.ServiceInstance{}, platform.Invalidf("Name must be at least 1 character")
	}
	meta := s.Metadata
	s.Resource = platform.NewResource(time.Now())
	s.Metadata = meta
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.InsertServiceInstance(ctx, s); err != nil {
			return err
		}
		return e.serviceEvent(ctx, tx, who, s, "create")
	})
	return s, err
}

// UpdateServiceInstance lets change edit a service. Bound apps see it at their
// next start.
func (e *Engine) UpdateServiceInstance(ctx context.Context, who platform.Actor, guid string, change func(*platform.ServiceInstance) error) (platform.ServiceInstance, error) {
	var s platform.ServiceInstance
	err := e.store.Tx(ctx, func(tx *store.Tx) (err error) {
		if s, err = tx.ServiceInstance(ctx, guid); err != nil {
			return err
		}
		if err := change(&s); err != nil {
			return err
		}
		if err := tx.UpdateServiceInstance(ctx, s); err != nil {
			return err
		}
		return e.serviceEvent(ctx, tx, who, s, "update")
	})
	return s, err
}

// DeleteServiceInstance removes a service that no app is bound to.
func (e *Engine) DeleteServiceInstance(ctx context.Context, who platform.Actor, guid string) error {
	return e.store.Tx(ctx, func(tx *store.Tx) error {
		s, err := tx.ServiceInstance(ctx, guid)
		if err != nil {
			return err
		}
		_, bound, err := tx.ServiceBindings(ctx, store.Query{In: map[string][]string{"service_instance_guids": {guid}}, Page: 1, PerPage: 1})
		if err != nil {
			return err
		}
		if bound > 0 {
			return &platform.Error{
				Kind: platform.KindInvalid, Title: "AssociationNotEmpty",
				Msg:  "Please delete the service_bindings, service_keys, and routes associations for your service_instances.",
				Hint: "unbind it from its apps first",
			}
		}
		if err := tx.DeleteServiceInstance(ctx, guid); err != nil {
			return err
		}
		return e.serviceEvent(ctx, tx, who, s, "delete")
	})
}

// CreateServiceBinding gives an app the credentials of a service, from its
// next start on.
func (e *Engine) CreateServiceBinding(ctx context.Context, who platform.Actor, b platform.ServiceBinding) (platform.ServiceBinding, error) {
	meta := b.Metadata
	b.Resource = platform.NewResource(time.Now())
	b.Metadata = meta
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		app, err := tx.App(ctx, b.AppGUID)
		if err != nil {
			return err
		}
		s, err := tx.ServiceInstance(ctx, b.ServiceInstanceGUID)
		if err != nil {
			return err
		}
		if app.SpaceGUID != s.SpaceGUID {
			return platform.Invalidf("The service instance and the app are in different spaces")
		}
		if err := tx.InsertServiceBinding(ctx, b); err != nil {
			return err
		}
		return e.bindingEvent(ctx, tx, who, app, b, "create")
	})
	return b, err
}

// UpdateServiceBinding lets change edit the metadata of a binding.
func (e *Engine) UpdateServiceBinding(ctx context.Context, _ platform.Actor, guid string, change func(*platform.Metadata) error) (platform.ServiceBinding, error) {
	var b platform.ServiceBinding
	err := e.store.Tx(ctx, func(tx *store.Tx) (err error) {
		if b, err = tx.ServiceBinding(ctx, guid); err != nil {
			return err
		}
		if err := change(&b.Metadata); err != nil {
			return err
		}
		return tx.UpdateServiceBinding(ctx, b)
	})
	return b, err
}

// DeleteServiceBinding takes the credentials away again, from the next start on.
func (e *Engine) DeleteServiceBinding(ctx context.Context, who platform.Actor, guid string) error {
	return e.store.Tx(ctx, func(tx *store.Tx) error {
		b, err := tx.ServiceBinding(ctx, guid)
		if err != nil {
			return err
		}
		app, err := tx.App(ctx, b.AppGUID)
		if err != nil {
			return err
		}
		if err := tx.DeleteServiceBinding(ctx, guid); err != nil {
			return err
		}
		return e.bindingEvent(ctx, tx, who, app, b, "delete")
	})
}

func (e *Engine) serviceEvent(ctx context.Context, tx *store.Tx, who platform.Actor, s platform.ServiceInstance, what string) error {
	return e.event(ctx, tx, who, "audit.user_provided_service_instance."+what,
		target{s.GUID, "user_provided_service_instance", s.Name, s.SpaceGUID}, nil)
}

func (e *Engine) bindingEvent(ctx context.Context, tx *store.Tx, who platform.Actor, app platform.App, b platform.ServiceBinding, what string) error {
	return e.event(ctx, tx, who, "audit.service_binding."+what, target{b.GUID, "service_binding", b.Name, app.SpaceGUID},
		map[string]any{"app_guid": app.GUID, "service_instance_guid": b.ServiceInstanceGUID})
}
