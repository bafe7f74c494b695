package store_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// fixture is one row of everything, no field left zero.
type fixture struct {
	Organization    platform.Organization
	Space           platform.Space
	Domain          platform.Domain
	User            platform.User
	Buildpack       platform.Buildpack
	App             platform.App
	Process         platform.Process
	Package         platform.Package
	Build           platform.Build
	Droplet         platform.Droplet
	Revision        platform.Revision
	Deployment      platform.Deployment
	Instance        platform.Instance
	Route           platform.Route
	ServiceInstance platform.ServiceInstance
	ServiceBinding  platform.ServiceBinding
	Event           platform.Event
	Job             platform.Job
	RefreshToken    platform.RefreshToken
}

// newFixture builds the rows; guid makes their GUIDs.
func newFixture(guid func() string) fixture {
	meta := func(n int) platform.Resource {
		return platform.Resource{
			GUID:      guid(),
			CreatedAt: start.Add(time.Duration(n) * time.Minute),
			UpdatedAt: start.Add(time.Duration(n) * time.Hour),
			Metadata: platform.Metadata{
				Labels:      map[string]string{"env": "test", "example.com/team.name": "a b"},
				Annotations: map[string]string{"note": "ü \"quoted\" 'text'"},
			},
		}
	}
	actor := platform.Actor{GUID: "u", Name: "admin", Type: "user"}
	lifecycle := platform.Lifecycle{Type: "buildpack", Buildpacks: []string{"go", "https://example.com/bp.git"}, Stack: "cflinuxfs4"}
	health := platform.HealthCheck{Type: "http", Endpoint: "/health", Timeout: 7, InvocationTimeout: 2, Interval: 3}
	weight := 0
	f := fixture{
		Organization: platform.Organization{Resource: meta(1), Name: "acme", Suspended: true},
		Space:        platform.Space{Resource: meta(2), Name: "dev"},
		Domain:       platform.Domain{Resource: meta(3), Name: "example.com", Internal: true},
		User:         platform.User{Resource: meta(4), Username: "Ada", Origin: "uaa", PasswordHash: "$argon2id$x", Scopes: []string{"cloud_controller.admin"}},
		Buildpack: platform.Buildpack{
			Resource: meta(5), Name: "mine", Position: 3, Enabled: true, Locked: true, Stack: "cflinuxfs4",
			Filename: "mine.zip", State: "READY", Digest: "d-buildpack", BuiltIn: true,
		},
		App: platform.App{
			Resource: meta(6), Name: "shop", State: platform.AppStarted, Lifecycle: lifecycle,
			Env: map[string]string{"A": "1", "B": ""}, Features: map[string]bool{"ssh": false, "revisions": true},
		},
		Process: platform.Process{
			Resource: meta(7), Type: "web", Command: "./shop", Instances: 2, MemoryMB: 64, DiskMB: 128,
			LogRateLimit: -1, Health: health, Readiness: platform.HealthCheck{Type: "process", Interval: 9},
		},
		Package: platform.Package{
			Resource: meta(8), Type: "bits", State: platform.PackageReady, Error: "none", Digest: "d-package", Size: 1 << 40,
			Git: &platform.GitSource{URL: "https://example.com/a.git", Ref: "main", Commit: "abc"},
		},
		Build: platform.Build{
			Resource: meta(9), State: platform.BuildStaged, Error: "StagingError - none", Lifecycle: lifecycle,
			MemoryMB: 1, DiskMB: 2, CreatedBy: actor,
		},
		Droplet: platform.Droplet{
			Resource: meta(10), State: platform.DropletStaged, Error: "none", Digest: "d-droplet", Size: 5,
			ProcessTypes: map[string]string{"web": "./shop", "worker": "./work"},
			Buildpacks:   []platform.DropletBuildpack{{Name: "go", DetectOutput: "Go", Version: "1", BuildpackName: "go"}},
			Sidecars:     []platform.Sidecar{{Name: "s", Command: "c", ProcessTypes: []string{"web"}, MemoryMB: 3}},
			Stack:        "cflinuxfs4", Lifecycle: lifecycle,
		},
		Revision: platform.Revision{
			Resource: meta(11), Version: 4, Env: map[string]string{"A": "1"}, Description: "Initial revision.", Deployable: true,
		},
		Deployment: platform.Deployment{
			Resource: meta(12), Strategy: platform.StrategyCanary, Value: platform.DeploymentActive, Reason: platform.ReasonPaused,
			RevisionVersion: 4, PreviousDropletGUID: "pd", PreviousGUID: "p", MaxInFlight: 2, CanarySteps: []int{20, 60},
			CanaryStep: 1, Error: "none", StatusChanged: start, LastHealthy: start.Add(time.Second), CreatedBy: actor,
		},
		Instance: platform.Instance{
			GUID: guid(), ProcessType: "web", Index: 1, State: platform.InstanceCrashed, Since: start, Ready: true,
			Host: "127.0.0.1", Port: 61001, Crashes: 3, NextStart: start.Add(time.Hour), Details: "exited with status 3",
			LastExit: &platform.Exit{Code: -1, Signal: "SIGKILL", OOM: true, Reason: "out of memory (limit 256M)", At: start},
		},
		Route: platform.Route{
			Resource: meta(13), Host: "shop", Path: "/api", Protocol: "http", Options: map[string]string{"loadbalancing": "round-robin"},
			Destinations: []platform.Destination{
				{Resource: meta(14), ProcessType: "web", Port: 8080, Protocol: "http1", Weight: &weight, Mode: platform.ModeLive},
				{Resource: meta(15), ProcessType: "web", Port: 9090, Protocol: "http2", Mode: platform.ModeLive},
			},
		},
		ServiceInstance: platform.ServiceInstance{
			Resource: meta(16), Name: "db", Tags: []string{"sql"}, SyslogDrainURL: "syslog://x", RouteServiceURL: "https://y",
			Credentials: map[string]any{"id": json.Number("12345678901234567890"), "uri": "postgres://u:p@h/d"},
		},
		ServiceBinding: platform.ServiceBinding{Resource: meta(17), Name: "primary"},
		Event: platform.Event{
			Resource: meta(18), Type: "audit.app.create", Actor: actor, TargetType: "app", TargetName: "shop",
			Data: map[string]any{"request": map[string]any{"name": "shop"}, "index": 1.0},
		},
		Job: platform.Job{
			GUID: guid(), Operation: "app.delete", State: platform.JobFailed, CreatedAt: start, UpdatedAt: start.Add(time.Minute),
			Errors:   []*platform.Error{{Kind: platform.KindInvalid, Title: "UnprocessableEntity", Msg: "no", Hint: "yes"}},
			Warnings: []string{"careful"},
		},
		RefreshToken: platform.RefreshToken{
			Hash: "h", Family: "f", Client: "cf", CreatedAt: start, ExpiresAt: start.Add(time.Hour), UsedAt: start.Add(time.Minute),
		},
	}
	f.join()
	return f
}

// join lets the rows refer to each other.
func (f *fixture) join() {
	app := f.App.GUID
	f.Space.OrganizationGUID = f.Organization.GUID
	f.Domain.OrganizationGUID = f.Organization.GUID
	f.App.SpaceGUID, f.App.DropletGUID, f.App.DeploymentGUID = f.Space.GUID, f.Droplet.GUID, f.Deployment.GUID
	f.Process.AppGUID = app
	f.Package.AppGUID = app
	f.Build.AppGUID, f.Build.PackageGUID, f.Build.DropletGUID = app, f.Package.GUID, f.Droplet.GUID
	f.Droplet.AppGUID, f.Droplet.PackageGUID, f.Droplet.BuildGUID = app, f.Package.GUID, f.Build.GUID
	f.Revision.AppGUID, f.Revision.DropletGUID = app, f.Droplet.GUID
	f.Revision.Processes = []platform.Process{f.Process}
	f.Revision.Services = []platform.BoundService{{
		BindingGUID: f.ServiceBinding.GUID, BindingName: "primary", InstanceGUID: f.ServiceInstance.GUID, InstanceName: "db",
		Tags: []string{"sql"}, Credentials: f.ServiceInstance.Credentials, SyslogDrainURL: "syslog://x",
	}}
	f.Deployment.AppGUID, f.Deployment.DropletGUID, f.Deployment.RevisionGUID = app, f.Droplet.GUID, f.Revision.GUID
	f.Instance.AppGUID, f.Instance.ProcessGUID, f.Instance.DeploymentGUID = app, f.Process.GUID, f.Deployment.GUID
	f.Route.SpaceGUID, f.Route.DomainGUID, f.Route.DomainName = f.Space.GUID, f.Domain.GUID, f.Domain.Name
	for i := range f.Route.Destinations {
		f.Route.Destinations[i].RouteGUID, f.Route.Destinations[i].AppGUID = f.Route.GUID, app
	}
	f.ServiceInstance.SpaceGUID = f.Space.GUID
	f.ServiceBinding.AppGUID, f.ServiceBinding.ServiceInstanceGUID = app, f.ServiceInstance.GUID
	f.Event.TargetGUID, f.Event.SpaceGUID, f.Event.OrgGUID = app, f.Space.GUID, f.Organization.GUID
	f.RefreshToken.UserGUID = f.User.GUID
}

// insert writes all rows in one transaction.
func (f fixture) insert(ctx context.Context, s *store.Store) error {
	return s.Tx(ctx, func(tx *store.Tx) error {
		for _, err := range []error{
			tx.InsertOrganization(ctx, f.Organization),
			tx.InsertSpace(ctx, f.Space),
			tx.InsertDomain(ctx, f.Domain),
			tx.InsertUser(ctx, f.User),
			tx.InsertBuildpack(ctx, f.Buildpack),
			tx.InsertApp(ctx, f.App),
			tx.InsertProcess(ctx, f.Process),
			tx.InsertPackage(ctx, f.Package),
			tx.InsertBuild(ctx, f.Build),
			tx.InsertDroplet(ctx, f.Droplet),
			tx.InsertRevision(ctx, f.Revision),
			tx.InsertDeployment(ctx, f.Deployment),
			tx.InsertInstance(ctx, f.Instance),
			tx.InsertRoute(ctx, f.Route),
			tx.InsertServiceInstance(ctx, f.ServiceInstance),
			tx.InsertServiceBinding(ctx, f.ServiceBinding),
			tx.InsertEvent(ctx, f.Event),
			tx.InsertJob(ctx, f.Job),
			tx.InsertRefreshToken(ctx, f.RefreshToken),
			tx.SetSetting(ctx, "color", "blue"),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// pair is a row as it was written and as it was read.
type pair struct {
	want, got any
	err       error
}

func pairOf[T any](want T) func(T, error) pair {
	return func(got T, err error) pair { return pair{want, got, err} }
}

// read reads all rows back.
func (f fixture) read(ctx context.Context, s *store.Store) map[string]pair {
	return map[string]pair{
		"organization":     pairOf(f.Organization)(s.Organization(ctx, f.Organization.GUID)),
		"space":            pairOf(f.Space)(s.Space(ctx, f.Space.GUID)),
		"domain":           pairOf(f.Domain)(s.Domain(ctx, f.Domain.GUID)),
		"user":             pairOf(f.User)(s.User(ctx, f.User.GUID)),
		"buildpack":        pairOf(f.Buildpack)(s.Buildpack(ctx, f.Buildpack.GUID)),
		"app":              pairOf(f.App)(s.App(ctx, f.App.GUID)),
		"process":          pairOf(f.Process)(s.Process(ctx, f.Process.GUID)),
		"package":          pairOf(f.Package)(s.Package(ctx, f.Package.GUID)),
		"build":            pairOf(f.Build)(s.Build(ctx, f.Build.GUID)),
		"droplet":          pairOf(f.Droplet)(s.Droplet(ctx, f.Droplet.GUID)),
		"revision":         pairOf(f.Revision)(s.Revision(ctx, f.Revision.GUID)),
		"deployment":       pairOf(f.Deployment)(s.Deployment(ctx, f.Deployment.GUID)),
		"instance":         pairOf(f.Instance)(s.Instance(ctx, f.Instance.GUID)),
		"route":            pairOf(f.Route)(s.Route(ctx, f.Route.GUID)),
		"service instance": pairOf(f.ServiceInstance)(s.ServiceInstance(ctx, f.ServiceInstance.GUID)),
		"service binding":  pairOf(f.ServiceBinding)(s.ServiceBinding(ctx, f.ServiceBinding.GUID)),
		"event":            pairOf(f.Event)(s.Event(ctx, f.Event.GUID)),
		"job":              pairOf(f.Job)(s.Job(ctx, f.Job.GUID)),
		"refresh token":    pairOf(f.RefreshToken)(s.RefreshToken(ctx, f.RefreshToken.Hash)),
	}
}

// full inserts a fixture.
func full(t testing.TB, s *store.Store) fixture {
	t.Helper()
	f := newFixture(platform.NewGUID)
	must(t, f.insert(t.Context(), s))
	return f
}
