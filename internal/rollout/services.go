package rollout

import (
	"context"

	"weir/internal/platform"
)

// CreateServiceInstance stores a user-provided service.
func (e *Engine) CreateServiceInstance(ctx context.Context, who platform.Actor, s platform.ServiceInstance) (platform.ServiceInstance, error) {
	return platform.ServiceInstance{}, errNotYet
}

// UpdateServiceInstance lets change edit a service. Bound apps see it at their
// next start.
func (e *Engine) UpdateServiceInstance(ctx context.Context, who platform.Actor, guid string, change func(*platform.ServiceInstance) error) (platform.ServiceInstance, error) {
	return platform.ServiceInstance{}, errNotYet
}

// DeleteServiceInstance removes a service that no app is bound to.
func (e *Engine) DeleteServiceInstance(ctx context.Context, who platform.Actor, guid string) error {
	return errNotYet
}

// CreateServiceBinding gives an app the credentials of a service, from its
// next start on.
func (e *Engine) CreateServiceBinding(ctx context.Context, who platform.Actor, b platform.ServiceBinding) (platform.ServiceBinding, error) {
	return platform.ServiceBinding{}, errNotYet
}

// UpdateServiceBinding lets change edit the metadata of a binding.
func (e *Engine) UpdateServiceBinding(ctx context.Context, who platform.Actor, guid string, change func(*platform.Metadata) error) (platform.ServiceBinding, error) {
	return platform.ServiceBinding{}, errNotYet
}

// DeleteServiceBinding takes the credentials away again, from the next start on.
func (e *Engine) DeleteServiceBinding(ctx context.Context, who platform.Actor, guid string) error {
	return errNotYet
}
