package api_test

import (
	"io"
	"testing"

	cf "github.com/cloudfoundry/go-cfclient/v3/client"
	"github.com/cloudfoundry/go-cfclient/v3/config"
	"github.com/cloudfoundry/go-cfclient/v3/resource"
)

// TestGoCfclient_ReadsEverything lets Cloud Foundry's Go client decode every
// kind of answer. (That it can push, too, is tested on a whole server.)
func TestGoCfclient_ReadsEverything(t *testing.T) {
	f := newFixtureAt(t, "")
	app, droplet := f.started("shop")
	ctx := t.Context()
	cfg, err := config.New(f.url, config.UserPassword("admin", adminPassword))
	f.must(err)
	c, err := cf.New(cfg)
	f.must(err)
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}

	appOpts := cf.NewAppListOptions()
	appOpts.Names.EqualTo("shop")
	appOpts.Include = resource.AppIncludeSpaceOrganization
	one, err := c.Applications.Single(ctx, appOpts)
	check("apps", err)
	if one == nil || one.GUID != app.GUID {
		t.Fatalf("the app is %+v", one)
	}
	_, space, _, err := c.Applications.GetIncludeSpaceAndOrganization(ctx, app.GUID)
	check("app with space", err)
	if space == nil || space.GUID != f.space {
		t.Errorf("its space is %+v", space)
	}
	_, err = c.Applications.Update(ctx, app.GUID, &resource.AppUpdate{Name: "shop", Metadata: resource.NewMetadata().WithLabel("", "env", "prod")})
	check("metadata", err)
	_, err = c.Applications.SetEnvironmentVariables(ctx, app.GUID, map[string]*string{"A": ptr("1")})
	check("set env", err)
	env, err := c.Applications.GetEnvironment(ctx, app.GUID)
	check("env", err)
	if env != nil && (env.EnvVars["A"] != "1" || len(env.AppEnvVars["VCAP_APPLICATION"]) == 0) {
		t.Errorf("the environment is %+v", env)
	}
	_, err = c.Applications.SSHEnabled(ctx, app.GUID)
	check("ssh", err)
	_, err = c.Applications.Permissions(ctx, app.GUID)
	check("permissions", err)
	_, _, err = c.AppFeatures.List(ctx, app.GUID)
	check("features", err)

	procs, err := c.Processes.ListForAppAll(ctx, app.GUID, nil)
	check("processes", err)
	stats, err := c.Processes.GetStats(ctx, procs[0].GUID)
	check("stats", err)
	if stats == nil || len(stats.Stats) != 1 || stats.Stats[0].State != "RUNNING" {
		t.Errorf("the stats are %+v", stats)
	}
	_, err = c.Processes.Scale(ctx, procs[0].GUID, resource.NewProcessScale().WithMemoryInMB(512))
	check("scale", err)
	_, err = c.Processes.Update(ctx, procs[0].GUID, resource.NewProcessUpdate().WithHealthCheckType("process").WithReadinessCheckType("process"))
	check("process", err)

	domain, err := c.Domains.Single(ctx, domainNamed("apps.localhost"))
	check("domains", err)
	route, err := c.Routes.Create(ctx, resource.NewRouteCreateWithHost(domain.GUID, f.space, "live", "", 0))
	check("route", err)
	dests, err := c.Routes.ReplaceDestinations(ctx, route.GUID, []*resource.RouteDestinationInsertOrReplace{
		resource.NewRouteDestinationInsertOrReplace(app.GUID).WithWeight(95),
	})
	check("destinations", err)
	if dests == nil || *dests.Destinations[0].Weight != 95 {
		t.Errorf("the destinations are %+v", dests)
	}
	_, err = c.Routes.ListForAppAll(ctx, app.GUID, nil)
	check("routes of the app", err)
	_, err = c.Domains.ListForOrganizationAll(ctx, f.org, nil)
	check("domains of the org", err)

	d, err := c.Deployments.Create(ctx, &resource.DeploymentCreate{
		Relationships: resource.AppRelationship{App: resource.ToOneRelationship{Data: &resource.Relationship{GUID: app.GUID}}},
		Droplet:       &resource.Relationship{GUID: droplet}, Strategy: "rolling",
	})
	check("deployment", err)
	_, err = f.client.WaitDeployment(ctx, d.GUID)
	check("waiting", err)
	got, err := c.Deployments.Get(ctx, d.GUID)
	check("deployment", err)
	if got.Status.Value != "FINALIZED" || got.Status.Reason != "DEPLOYED" {
		t.Errorf("the deployment is %+v", got.Status)
	}
	_, err = c.Deployments.ListAll(ctx, nil)
	check("deployments", err)
	revs, err := c.Revisions.ListForAppAll(ctx, app.GUID, nil)
	check("revisions", err)
	_, err = c.Revisions.SingleForAppDeployed(ctx, app.GUID, nil)
	check("deployed revision", err)
	_, err = c.Revisions.GetEnvironmentVariables(ctx, revs[0].GUID)
	check("revision's env", err)

	_, err = c.Packages.ListForAppAll(ctx, app.GUID, nil)
	check("packages", err)
	_, err = c.Droplets.GetCurrentForApp(ctx, app.GUID)
	check("current droplet", err)
	_, err = c.Droplets.ListForAppAll(ctx, app.GUID, nil)
	check("droplets", err)
	bits, err := c.Droplets.Download(ctx, droplet)
	check("download", err)
	if err == nil {
		n, err := io.Copy(io.Discard, bits)
		check("download", err)
		bits.Close()
		if n == 0 {
			t.Error("the download is empty")
		}
	}
	_, err = c.Builds.ListAll(ctx, nil)
	check("builds", err)
	_, err = c.Buildpacks.ListAll(ctx, nil)
	check("buildpacks", err)
	_, err = c.Stacks.ListAll(ctx, nil)
	check("stacks", err)
	_, err = c.ResourceMatches.Create(ctx, &resource.ResourceMatches{Resources: []resource.ResourceMatch{{
		Checksum: resource.ResourceMatchChecksum{Value: "0a4d55a8d778e5022fab701977c5d840bbc486d0"}, SizeInBytes: 5, Path: "x", Mode: "644",
	}}})
	check("resource matches", err)

	manifest, err := c.Manifests.Generate(ctx, app.GUID)
	check("manifest", err)
	_, err = c.Manifests.ManifestDiff(ctx, f.space, manifest+"    instances: 3\n")
	check("diff", err)
	job, err := c.Manifests.ApplyManifest(ctx, f.space, manifest)
	check("apply", err)
	check("apply", c.Jobs.PollComplete(ctx, job, nil))

	_, err = c.Organizations.ListAll(ctx, nil)
	check("organizations", err)
	_, err = c.Organizations.GetUsageSummary(ctx, f.org)
	check("usage", err)
	_, err = c.Spaces.ListAll(ctx, nil)
	check("spaces", err)
	_, err = c.AuditEvents.ListAll(ctx, nil)
	check("events", err)
	_, err = c.FeatureFlags.ListAll(ctx, nil)
	check("feature flags", err)
	_, err = c.Users.ListAll(ctx, nil)
	check("users", err)
	_, err = c.OrganizationQuotas.ListAll(ctx, nil)
	check("quotas", err)
	_, err = c.ServiceInstances.ListAll(ctx, nil)
	check("service instances", err)
	_, err = c.ServicePlans.ListAll(ctx, nil)
	check("service plans", err)
	_, err = c.SecurityGroups.ListAll(ctx, nil)
	check("security groups", err)
	_, err = c.Root.GetV3(ctx)
	check("root", err)

	_, err = c.Applications.Get(ctx, "nothing")
	if !resource.IsResourceNotFoundError(err) {
		t.Errorf("a missing app is %v", err)
	}
	job, err = c.Applications.Delete(ctx, app.GUID)
	check("delete", err)
	check("delete", c.Jobs.PollComplete(ctx, job, nil))
	if _, err := f.client.App(ctx, app.GUID); err == nil {
		t.Error("the app is still there")
	}
}

func domainNamed(name string) *cf.DomainListOptions {
	o := cf.NewDomainListOptions()
	o.Names.EqualTo(name)
	return o
}

func ptr[T any](v T) *T { return &v }
