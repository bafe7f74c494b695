package rollout

import (
	"context"

	"weir/internal/platform"
)

// DeployRequest asks for a deployment. At most one of DropletGUID and
// RevisionGUID is set; neither means the current droplet.
type DeployRequest struct {
	AppGUID      string
	DropletGUID  string
	RevisionGUID string
	Strategy     string       // rolling (default) or canary
	MaxInFlight  int          // 0 means 1
	CanarySteps  []int        // percent, ascending
	Scale        ScaleRequest // of the web process, with the deployment
	Metadata     platform.Metadata
}

// Deploy moves the app to another droplet or revision without interrupting it.
// It returns at once with the deployment on its way. A stopped app is started
// and the deployment comes back finalized.
func (e *Engine) Deploy(ctx context.Context, who platform.Actor, req DeployRequest) (platform.Deployment, error) {
	return platform.Deployment{}, errNotYet
}

// UpdateDeployment lets change edit the metadata of a deployment.
func (e *Engine) UpdateDeployment(ctx context.Context, who platform.Actor, guid string, change func(*platform.Metadata) error) (platform.Deployment, error) {
	return platform.Deployment{}, errNotYet
}

// Cancel turns a deployment back: droplet, environment and processes become
// what they were, and the previous instances serve again.
func (e *Engine) Cancel(ctx context.Context, who platform.Actor, guid string) (platform.Deployment, error) {
	return platform.Deployment{}, errNotYet
}

// Continue lets a paused canary deployment take its next step.
func (e *Engine) Continue(ctx context.Context, who platform.Actor, guid string) (platform.Deployment, error) {
	return platform.Deployment{}, errNotYet
}

// UpdateRevision lets change edit the metadata of a revision.
func (e *Engine) UpdateRevision(ctx context.Context, who platform.Actor, guid string, change func(*platform.Metadata) error) (platform.Revision, error) {
	return platform.Revision{}, errNotYet
}
