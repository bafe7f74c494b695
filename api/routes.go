package api

import (
	"slices"

	"weir/internal/auth"
)

// routes lists every operation of the API. A path here and nowhere else is
// what makes it exist; a test sees to it that each declares a permission.
func routes() []route {
	return slices.Concat(
		platformRoutes(), orgRoutes(), appRoutes(), processRoutes(), sourceRoutes(),
		deploymentRoutes(), versionRoutes(), shadowRoutes(), trafficRoutes(), rolloutRoutes(), routingRoutes(), serviceRoutes(), emptyRoutes(),
	)
}

const (
	get    = "GET"
	post   = "POST"
	patch  = "PATCH"
	del    = "DELETE"
	public = auth.Public
)

func platformRoutes() []route {
	return []route{
		{get, "/", public, handle((*API).getRoot)},
		{get, "/v3", public, handle((*API).getV3Root)},
		{get, "/v3/info", public, handle((*API).getInfo)},
		{get, "/v3/jobs/:guid", auth.LoggedIn, handle((*API).getJob)},
		{get, "/v3/audit_events", auth.Read, handle((*API).listEvents)},
		{get, "/v3/audit_events/:guid", auth.Read, handle((*API).getEvent)},
		{get, "/v3/feature_flags", auth.LoggedIn, handle((*API).listFeatureFlags)},
		{get, "/v3/feature_flags/:name", auth.LoggedIn, handle((*API).getFeatureFlag)},
		{get, "/v3/stacks", auth.LoggedIn, handle((*API).listStacks)},
		{get, "/v3/stacks/:guid", auth.LoggedIn, handle((*API).getStack)},
		{patch, "/v3/stacks/:guid", auth.Admin, handle((*API).updateStack)},
		{get, "/v3/users", auth.Read, handle((*API).listUsers)},
		{get, "/v3/users/:guid", auth.Read, handle((*API).getUser)},
		{post, "/v3/users", auth.Admin, handle((*API).createUser)},
		{patch, "/v3/users/:guid", auth.Admin, handle((*API).updateUser)},
		{del, "/v3/users/:guid", auth.Admin, handle((*API).deleteUser)},
		{post, "/v3/roles", auth.Manage, handle((*API).createRole)},
	}
}

func orgRoutes() []route {
	return []route{
		{get, "/v3/organizations", auth.Read, handle((*API).listOrgs)},
		{post, "/v3/organizations", auth.Manage, handle((*API).createOrg)},
		{get, "/v3/organizations/:guid", auth.Read, handle((*API).getOrg)},
		{patch, "/v3/organizations/:guid", auth.Manage, handle((*API).updateOrg)},
		{del, "/v3/organizations/:guid", auth.Manage, handle((*API).deleteOrg)},
		{get, "/v3/organizations/:guid/usage_summary", auth.Read, handle((*API).getOrgUsage)},
		{get, "/v3/organizations/:guid/domains", auth.Read, handle((*API).listOrgDomains)},
		{get, "/v3/organizations/:guid/domains/default", auth.Read, handle((*API).getDefaultDomain)},
		{get, "/v3/organizations/:guid/relationships/default_isolation_segment", auth.Read, handle((*API).orgIsolationSegment)},
		{get, "/v3/organization_quotas", auth.Read, handle((*API).listOrgQuotas)},
		{get, "/v3/organization_quotas/:guid", auth.Read, handle((*API).getOrgQuota)},

		{get, "/v3/spaces", auth.Read, handle((*API).listSpaces)},
		{post, "/v3/spaces", auth.Manage, handle((*API).createSpace)},
		{get, "/v3/spaces/:guid", auth.Read, handle((*API).getSpace)},
		{patch, "/v3/spaces/:guid", auth.Manage, handle((*API).updateSpace)},
		{del, "/v3/spaces/:guid", auth.Manage, handle((*API).deleteSpace)},
		{del, "/v3/spaces/:guid/routes", auth.Write, handle((*API).deleteUnmappedRoutes)},
		{post, "/v3/spaces/:guid/actions/apply_manifest", auth.Write, handle((*API).applyManifest)},
		{post, "/v3/spaces/:guid/manifest_diff", auth.Read, handle((*API).diffManifest)},
		{get, "/v3/spaces/:guid/features", auth.Read, handle((*API).listSpaceFeatures)},
		{get, "/v3/spaces/:guid/features/:name", auth.Read, handle((*API).getSpaceFeature)},
		{get, "/v3/spaces/:guid/relationships/isolation_segment", auth.Read, handle((*API).spaceIsolationSegment)},
		{get, "/v3/spaces/:guid/running_security_groups", auth.Read, handle((*API).listSpaceSecurityGroups)},
		{get, "/v3/spaces/:guid/staging_security_groups", auth.Read, handle((*API).listSpaceSecurityGroups)},
	}
}

func appRoutes() []route {
	return []route{
		{get, "/v3/apps", auth.Read, handle((*API).listApps)},
		{post, "/v3/apps", auth.Write, handle((*API).createApp)},
		{get, "/v3/apps/:guid", auth.Read, handle((*API).getApp)},
		{patch, "/v3/apps/:guid", auth.Write, handle((*API).updateApp)},
		{del, "/v3/apps/:guid", auth.Write, handle((*API).deleteApp)},
		{post, "/v3/apps/:guid/actions/start", auth.Write, handle((*API).startApp)},
		{post, "/v3/apps/:guid/actions/stop", auth.Write, handle((*API).stopApp)},
		{post, "/v3/apps/:guid/actions/restart", auth.Write, handle((*API).restartApp)},
		{get, "/v3/apps/:guid/relationships/current_droplet", auth.Read, handle((*API).currentDropletRelation)},
		{patch, "/v3/apps/:guid/relationships/current_droplet", auth.Write, handle((*API).setCurrentDroplet)},
		{get, "/v3/apps/:guid/droplets", auth.Read, handle((*API).listAppDroplets)},
		{get, "/v3/apps/:guid/droplets/current", auth.Read, handle((*API).getCurrentDroplet)},
		{get, "/v3/apps/:guid/packages", auth.Read, handle((*API).listAppPackages)},
		{get, "/v3/apps/:guid/builds", auth.Read, handle((*API).listAppBuilds)},
		{get, "/v3/apps/:guid/routes", auth.Read, handle((*API).listAppRoutes)},
		{get, "/v3/apps/:guid/env", auth.ReadSecrets, handle((*API).getAppEnv)},
		{get, "/v3/apps/:guid/environment_variables", auth.ReadSecrets, handle((*API).getEnvVars)},
		{patch, "/v3/apps/:guid/environment_variables", auth.Write, handle((*API).setEnvVars)},
		{get, "/v3/apps/:guid/permissions", auth.Read, handle((*API).getAppPermissions)},
		{get, "/v3/apps/:guid/manifest", auth.ReadSecrets, handle((*API).getAppManifest)},
		{get, "/v3/apps/:guid/features", auth.Read, handle((*API).listAppFeatures)},
		{get, "/v3/apps/:guid/features/:name", auth.Read, handle((*API).getAppFeature)},
		{patch, "/v3/apps/:guid/features/:name", auth.Write, handle((*API).updateAppFeature)},
		{get, "/v3/apps/:guid/ssh_enabled", auth.Read, handle((*API).getSSHEnabled)},
		{get, "/v3/apps/:guid/sidecars", auth.Read, handle((*API).listAppSidecars)},
		{get, "/v3/apps/:guid/revisions", auth.Read, handle((*API).listRevisions)},
		{get, "/v3/apps/:guid/revisions/deployed", auth.Read, handle((*API).listDeployedRevisions)},
		{get, "/v3/apps/:guid/revisions/diff", auth.Read, handle((*API).diffRevisions)},
		{get, "/v3/apps/:guid/log_stream", auth.Read, handle((*API).streamLogs)},
	}
}

func processRoutes() []route {
	return []route{
		{get, "/v3/processes", auth.Read, handle((*API).listProcesses)},
		{get, "/v3/processes/:guid", auth.Read, handle((*API).getProcess)},
		{patch, "/v3/processes/:guid", auth.Write, handle((*API).updateProcess)},
		{post, "/v3/processes/:guid/actions/scale", auth.Write, handle((*API).scaleProcess)},
		{get, "/v3/processes/:guid/stats", auth.Read, handle((*API).getStats)},
		{get, "/v3/processes/:guid/process_instances", auth.Read, handle((*API).getProcessInstances)},
		{get, "/v3/processes/:guid/sidecars", auth.Read, handle((*API).listProcessSidecars)},
		{del, "/v3/processes/:guid/instances/:index", auth.Write, handle((*API).deleteInstance)},

		{get, "/v3/apps/:guid/processes", auth.Read, handle((*API).listAppProcesses)},
		{get, "/v3/apps/:guid/processes/:type", auth.Read, handle((*API).getAppProcess)},
		{patch, "/v3/apps/:guid/processes/:type", auth.Write, handle((*API).updateAppProcess)},
		{post, "/v3/apps/:guid/processes/:type/actions/scale", auth.Write, handle((*API).scaleAppProcess)},
		{get, "/v3/apps/:guid/processes/:type/stats", auth.Read, handle((*API).getAppStats)},
		{get, "/v3/apps/:guid/processes/:type/process_instances", auth.Read, handle((*API).getAppProcessInstances)},
		{del, "/v3/apps/:guid/processes/:type/instances/:index", auth.Write, handle((*API).deleteAppInstance)},
	}
}

func sourceRoutes() []route {
	return []route{
		{post, "/v3/resource_matches", auth.Write, handle((*API).matchResources)},
		{get, "/v3/packages", auth.Read, handle((*API).listPackages)},
		{post, "/v3/packages", auth.Write, handle((*API).createPackage)},
		{get, "/v3/packages/:guid", auth.Read, handle((*API).getPackage)},
		{patch, "/v3/packages/:guid", auth.Write, handle((*API).updatePackage)},
		{del, "/v3/packages/:guid", auth.Write, handle((*API).deletePackage)},
		{post, "/v3/packages/:guid/upload", auth.Write, handle((*API).uploadPackage)},
		{get, "/v3/packages/:guid/download", auth.ReadSecrets, handle((*API).downloadPackage)},
		{get, "/v3/packages/:guid/bits", public, handle((*API).packageBits)}, // by a signed URL
		{get, "/v3/packages/:guid/droplets", auth.Read, handle((*API).listPackageDroplets)},

		{get, "/v3/builds", auth.Read, handle((*API).listBuilds)},
		{post, "/v3/builds", auth.Write, handle((*API).createBuild)},
		{get, "/v3/builds/:guid", auth.Read, handle((*API).getBuild)},
		{patch, "/v3/builds/:guid", auth.Write, handle((*API).updateBuild)},

		{get, "/v3/droplets", auth.Read, handle((*API).listDroplets)},
		{post, "/v3/droplets", auth.Write, handle((*API).createDroplet)},
		{get, "/v3/droplets/:guid", auth.Read, handle((*API).getDroplet)},
		{patch, "/v3/droplets/:guid", auth.Write, handle((*API).updateDroplet)},
		{del, "/v3/droplets/:guid", auth.Write, handle((*API).deleteDroplet)},
		{post, "/v3/droplets/:guid/upload", auth.Write, handle((*API).uploadDroplet)},
		{get, "/v3/droplets/:guid/download", auth.ReadSecrets, handle((*API).downloadDroplet)},
		{get, "/v3/droplets/:guid/bits", public, handle((*API).dropletBits)}, // by a signed URL

		{get, "/v3/buildpacks", auth.Read, handle((*API).listBuildpacks)},
		{post, "/v3/buildpacks", auth.Admin, handle((*API).createBuildpack)},
		{get, "/v3/buildpacks/:guid", auth.Read, handle((*API).getBuildpack)},
		{patch, "/v3/buildpacks/:guid", auth.Admin, handle((*API).updateBuildpack)},
		{del, "/v3/buildpacks/:guid", auth.Admin, handle((*API).deleteBuildpack)},
		{post, "/v3/buildpacks/:guid/upload", auth.Admin, handle((*API).uploadBuildpack)},
	}
}

func deploymentRoutes() []route {
	return []route{
		{get, "/v3/deployments", auth.Read, handle((*API).listDeployments)},
		{post, "/v3/deployments", auth.Write, handle((*API).createDeployment)},
		{get, "/v3/deployments/:guid", auth.Read, handle((*API).getDeployment)},
		{patch, "/v3/deployments/:guid", auth.Write, handle((*API).updateDeployment)},
		{post, "/v3/deployments/:guid/actions/cancel", auth.Write, handle((*API).cancelDeployment)},
		{post, "/v3/deployments/:guid/actions/continue", auth.Write, handle((*API).continueDeployment)},

		{get, "/v3/revisions/:guid", auth.Read, handle((*API).getRevision)},
		{patch, "/v3/revisions/:guid", auth.Write, handle((*API).updateRevision)},
		{get, "/v3/revisions/:guid/environment_variables", auth.ReadSecrets, handle((*API).getRevisionEnv)},
	}
}

func routingRoutes() []route {
	return []route{
		{get, "/v3/domains", auth.Read, handle((*API).listDomains)},
		{post, "/v3/domains", auth.Manage, handle((*API).createDomain)},
		{get, "/v3/domains/:guid", auth.Read, handle((*API).getDomain)},
		{patch, "/v3/domains/:guid", auth.Manage, handle((*API).updateDomain)},
		{del, "/v3/domains/:guid", auth.Manage, handle((*API).deleteDomain)},
		{get, "/v3/domains/:guid/route_reservations", auth.Read, handle((*API).getReservation)},

		{get, "/v3/routes", auth.Read, handle((*API).listRoutes)},
		{post, "/v3/routes", auth.Write, handle((*API).createRoute)},
		{get, "/v3/routes/:guid", auth.Read, handle((*API).getRoute)},
		{patch, "/v3/routes/:guid", auth.Write, handle((*API).updateRoute)},
		{del, "/v3/routes/:guid", auth.Write, handle((*API).deleteRoute)},
		{patch, "/v3/routes/:guid/relationships/space", auth.Write, handle((*API).moveRoute)},
		{get, "/v3/routes/:guid/destinations", auth.Read, handle((*API).getDestinations)},
		{post, "/v3/routes/:guid/destinations", auth.Write, handle((*API).addDestinations)},
		{patch, "/v3/routes/:guid/destinations", auth.Write, handle((*API).replaceDestinations)},
		{patch, "/v3/routes/:guid/destinations/:destination", auth.Write, handle((*API).updateDestination)},
		{del, "/v3/routes/:guid/destinations/:destination", auth.Write, handle((*API).deleteDestination)},
	}
}

func serviceRoutes() []route {
	return []route{
		{get, "/v3/service_instances", auth.Read, handle((*API).listServiceInstances)},
		{post, "/v3/service_instances", auth.Write, handle((*API).createServiceInstance)},
		{get, "/v3/service_instances/:guid", auth.Read, handle((*API).getServiceInstance)},
		{patch, "/v3/service_instances/:guid", auth.Write, handle((*API).updateServiceInstance)},
		{del, "/v3/service_instances/:guid", auth.Write, handle((*API).deleteServiceInstance)},
		{get, "/v3/service_instances/:guid/credentials", auth.ReadSecrets, handle((*API).getServiceCredentials)},

		{get, "/v3/service_credential_bindings", auth.Read, handle((*API).listBindings)},
		{post, "/v3/service_credential_bindings", auth.Write, handle((*API).createBinding)},
		{get, "/v3/service_credential_bindings/:guid", auth.Read, handle((*API).getBinding)},
		{patch, "/v3/service_credential_bindings/:guid", auth.Write, handle((*API).updateBinding)},
		{del, "/v3/service_credential_bindings/:guid", auth.Write, handle((*API).deleteBinding)},
		{get, "/v3/service_credential_bindings/:guid/details", auth.ReadSecrets, handle((*API).getBindingDetails)},
	}
}

// emptyRoutes are lists of what weir has none of.
func emptyRoutes() []route {
	var rs []route
	for _, name := range []string{
		"isolation_segments", "roles", "security_groups", "service_brokers", "service_offerings",
		"service_plans", "service_route_bindings", "space_quotas",
	} {
		rs = append(rs, route{get, "/v3/" + name, auth.Read, handle((*API).listNothing)})
	}
	return rs
}
