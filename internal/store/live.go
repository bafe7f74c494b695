package store

import (
	"context"

	"weir/internal/platform"
)

// keptRevisions is how many revisions of an app can be rolled back to.
const keptRevisions = 5

// liveDroplets selects the droplets whose trees must be kept: the current one
// of each app and its newest, those of the last revisions, of what runs and of
// what is on its way.
const liveDroplets = `
	SELECT droplet_guid FROM apps
	UNION SELECT droplet_guid FROM builds WHERE state = ?
	UNION SELECT droplet_guid FROM deployments WHERE status_value = ?
	UNION SELECT previous_droplet_guid FROM deployments WHERE status_value = ?
	UNION SELECT d.droplet_guid FROM deployments d JOIN apps a ON a.deployment_guid = d.guid
	UNION SELECT d.droplet_guid FROM deployments d JOIN instances i ON i.deployment_guid = d.guid
	UNION SELECT d.droplet_guid FROM deployments d JOIN versions v ON v.deployment_guid = d.guid
	UNION SELECT r.droplet_guid FROM revisions r WHERE (
		SELECT COUNT(*) FROM revisions newer WHERE newer.app_guid = r.app_guid AND newer.version > r.version
	) < ?
	UNION SELECT d.guid FROM droplets d WHERE d.state <> ? AND NOT EXISTS (
		SELECT 1 FROM droplets newer WHERE newer.app_guid = d.app_guid AND newer.seq > d.seq AND newer.state = ?
	)`

func liveDropletArgs() []any {
	return []any{
		platform.BuildStaging, platform.DeploymentActive, platform.DeploymentActive, keptRevisions,
		platform.DropletFailed, platform.DropletStaged,
	}
}

// LiveDropletDigests returns the digests of the droplet trees that must be
// kept; all others may be swept once they are old enough.
func (r Rows) LiveDropletDigests(ctx context.Context) (digests []string, err error) {
	err = r.run.read(ctx, func(c *conn) error {
		digests, err = c.texts(
			ctx,
			"SELECT DISTINCT digest FROM droplets WHERE digest <> '' AND guid IN ("+liveDroplets+")"+
				" UNION SELECT digest FROM buildpacks WHERE digest <> '' ORDER BY 1",
			liveDropletArgs()...,
		)
		return err
	})
	return digests, err
}

// LivePackageDigests returns the digests of the packages that must be kept:
// those of unfinished builds, those that live droplets were made from, and the
// newest of each app, which a restage needs. Buildpacks are packages too.
func (r Rows) LivePackageDigests(ctx context.Context) (digests []string, err error) {
	err = r.run.read(ctx, func(c *conn) error {
		digests, err = c.texts(
			ctx,
			`SELECT DISTINCT p.digest FROM packages p WHERE p.digest <> '' AND (
				p.guid IN (SELECT package_guid FROM builds WHERE state = ?)
				OR p.guid IN (SELECT d.package_guid FROM droplets d JOIN apps a ON a.droplet_guid = d.guid)
				OR NOT EXISTS (
					SELECT 1 FROM packages newer WHERE newer.app_guid = p.app_guid AND newer.seq > p.seq AND newer.state = ?
				)
			) UNION SELECT digest FROM buildpacks WHERE digest <> '' ORDER BY 1`,
			platform.BuildStaging, platform.PackageReady,
		)
		return err
	})
	return digests, err
}
