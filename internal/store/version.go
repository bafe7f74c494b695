package store

import (
	"context"

	"weir/internal/platform"
)

// What of a version is kept elsewhere: the main version's deployment and
// scale are its app's, and a revision is its deployment's.
const (
	versionDeployment = "CASE WHEN t.main THEN COALESCE((SELECT a.deployment_guid FROM apps a WHERE a.guid = t.app_guid), '') ELSE t.deployment_guid END"
	versionOf         = " FROM deployments d WHERE d.guid = " + versionDeployment + ")"
	versionLabel      = "CASE WHEN t.label <> '' THEN t.label ELSE 'v' || COALESCE((SELECT CAST(d.revision_version AS TEXT)" + versionOf + ", '0') END"
	versionInstances  = "CASE WHEN t.main THEN COALESCE((SELECT p.instances FROM processes p WHERE p.app_guid = t.app_guid AND p.type = 'web'), 0) ELSE t.instances END"
)

var versions = &table[platform.Version]{
	name: "versions",
	noun: "Version",
	columns: func(v *platform.Version) []column {
		label, deployment, instances := "", v.DeploymentGUID, v.Instances
		if v.Labelled {
			label = v.Label
		}
		return resource(
			&v.Resource,
			column{name: "app_guid", value: &v.AppGUID},
			column{name: "label", value: &label},
			column{name: "deployment_guid", value: &deployment},
			column{name: "main", value: &v.Main},
			column{name: "mode", value: &v.Mode},
			column{name: "weight", value: &v.Weight},
			column{name: "shadow_percent", value: &v.ShadowPercent},
			column{name: "instances", value: &instances},
			column{name: "state", value: &v.State},
			column{name: "matches", value: asJSON{&v.Match}},
			column{name: "shadow", value: asJSON{&v.Shadow}},
			column{name: "left_at", value: stamp{&v.LeftAt}},
			column{name: "made_beside", value: asJSON{&v.MadeBeside}},
			column{name: "reduced", value: &v.Reduced},
			column{value: &v.Labelled, expr: "t.label <> ''"},
			column{value: &v.Label, expr: versionLabel},
			column{value: &v.DeploymentGUID, expr: versionDeployment},
			column{value: &v.Instances, expr: versionInstances},
			column{value: &v.RevisionGUID, expr: "COALESCE((SELECT d.revision_guid" + versionOf + ", '')"},
			column{value: &v.RevisionVersion, expr: "COALESCE((SELECT d.revision_version" + versionOf + ", 0)"},
			column{value: &v.DropletGUID, expr: "COALESCE((SELECT d.droplet_guid" + versionOf + ", '')"},
		)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"app_guids":          is("t.app_guid"),
		"labels":             is(versionLabel),
		"modes":              is("t.mode"),
		"states":             is("t.state"),
		"main":               is("CASE WHEN t.main THEN 'true' ELSE 'false' END"),
		"plain":              is("CASE WHEN t.label = '' AND t.main AND t.weight > 0 THEN 'true' ELSE 'false' END"),
		"space_guids":        within("t.app_guid", appsOfSpace),
		"organization_guids": within("t.app_guid", appsOfOrg),
	},
	orders: map[string]string{"label": "t.label"},
	unique: []unique[platform.Version]{{
		key: "app_guid, label",
		err: func(v platform.Version) *platform.Error {
			return &platform.Error{Kind: platform.KindConflict, Msg: "version " + v.Label + " exists already"}
		},
	}},
}

// Version returns the version with the given GUID.
func (r Rows) Version(ctx context.Context, guid string) (platform.Version, error) {
	return versions.get(ctx, r, guid)
}

// Versions returns one page of the versions that q selects, in order of
// creation, and how many it selects. The filter "plain" is "true" for main
// versions that nobody gave a label, or took the requests from.
func (r Rows) Versions(ctx context.Context, q Query) ([]platform.Version, int, error) {
	return versions.list(ctx, r, q)
}

// InsertVersion adds a version.
func (r Rows) InsertVersion(ctx context.Context, v platform.Version) error {
	return versions.insert(ctx, r, v)
}

// UpdateVersion rewrites a version. Of the main one, deployment and scale
// stay with its app.
func (r Rows) UpdateVersion(ctx context.Context, v platform.Version) error {
	return versions.update(ctx, r, v.GUID, v)
}

// DeleteVersion removes a version.
func (r Rows) DeleteVersion(ctx context.Context, guid string) error {
	return versions.delete(ctx, r, guid)
}

var promotions = &table[platform.Promotion]{
	name: "promotions",
	noun: "Promotion",
	columns: func(p *platform.Promotion) []column {
		return append(resource(
			&p.Resource,
			column{name: "app_guid", value: &p.AppGUID},
			column{name: "version_guid", value: &p.VersionGUID},
			column{name: "label", value: &p.Label},
			column{name: "revision_guid", value: &p.RevisionGUID},
			column{name: "revision_version", value: &p.RevisionVersion},
			column{name: "route_table", value: &p.Table},
			column{name: "how", value: &p.How},
			column{name: "rolled_back", value: &p.RolledBack},
		), actor("by", &p.By)...)
	},
	filters: map[string]filter{
		"guids":     is("t.guid"),
		"app_guids": is("t.app_guid"),
		"labels":    is("t.label"),
	},
}

// Promotions returns one page of the promoted states that q selects.
func (r Rows) Promotions(ctx context.Context, q Query) ([]platform.Promotion, int, error) {
	return promotions.list(ctx, r, q)
}

// InsertPromotion adds a promoted state.
func (r Rows) InsertPromotion(ctx context.Context, p platform.Promotion) error {
	return promotions.insert(ctx, r, p)
}

// UpdatePromotion rewrites a promoted state.
func (r Rows) UpdatePromotion(ctx context.Context, p platform.Promotion) error {
	return promotions.update(ctx, r, p.GUID, p)
}

// DeletePromotion removes a promoted state.
func (r Rows) DeletePromotion(ctx context.Context, guid string) error {
	return promotions.delete(ctx, r, guid)
}

var changes = &table[platform.Change]{
	name: "changes",
	noun: "Change",
	columns: func(c *platform.Change) []column {
		return append(resource(
			&c.Resource,
			column{name: "space_guid", value: &c.SpaceGUID},
			column{name: "apps", value: asJSON{&c.Apps}},
			column{name: "verb", value: &c.Verb},
			column{name: "description", value: &c.Text},
			column{name: "state_before", value: asJSON{&c.Before}},
			column{name: "state_after", value: asJSON{&c.After}},
			column{name: "route_table", value: &c.Table},
			column{name: "undone", value: &c.Undone},
			column{name: "rollout_guid", value: &c.RolloutGUID},
		), actor("by", &c.By)...)
	},
	filters: map[string]filter{
		"guids":       is("t.guid"),
		"space_guids": is("t.space_guid"),
		"apps":        contains("t.apps"),
		"rollouts":    is("t.rollout_guid"),
		"undone":      is("CASE WHEN t.undone THEN 'true' ELSE 'false' END"),
	},
	orders: map[string]string{"table": "t.route_table"},
}

// Changes returns one page of the changes of traffic that q selects. The
// filter "apps" takes one GUID.
func (r Rows) Changes(ctx context.Context, q Query) ([]platform.Change, int, error) {
	return changes.list(ctx, r, q)
}

// InsertChange adds a change of traffic.
func (r Rows) InsertChange(ctx context.Context, c platform.Change) error {
	return changes.insert(ctx, r, c)
}

// UpdateChange rewrites a change of traffic.
func (r Rows) UpdateChange(ctx context.Context, c platform.Change) error {
	return changes.update(ctx, r, c.GUID, c)
}

// DeleteChange removes a change of traffic.
func (r Rows) DeleteChange(ctx context.Context, guid string) error {
	return changes.delete(ctx, r, guid)
}
