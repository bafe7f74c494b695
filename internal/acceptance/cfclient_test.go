package acceptance

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudfoundry/go-cfclient/v3/client"
	"github.com/cloudfoundry/go-cfclient/v3/config"
	"github.com/cloudfoundry/go-cfclient/v3/operation"
	"github.com/cloudfoundry/go-cfclient/v3/resource"
)

// TestGoCfclient_DrivesAnAppThroughItsLife is Cloud Foundry's own Go client
// against weir: whatever it refuses to decode or expects otherwise fails here.
func TestGoCfclient_DrivesAnAppThroughItsLife(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cf := s.cfclient(t)

	one := uint(1)
	manifest := &operation.AppManifest{
		Name:   "hello",
		Env:    map[string]string{"GREETING": "from a manifest"},
		Routes: &operation.AppManifestRoutes{{Route: "hello.apps.localhost"}},
		AppManifestProcess: operation.AppManifestProcess{
			Instances: &one, Memory: "64M", HealthCheckType: operation.Http, HealthCheckHTTPEndpoint: "/healthz",
		},
	}
	push := operation.NewAppPushOperation(cf, "default", "default")
	app, err := push.Push(ctx, manifest, bytes.NewReader(zipDir(t, filepath.Join(repo(t), "examples/hello-go"))))
	must(t, "pushing", err)
	s.answers("hello.apps.localhost", 200)

	t.Run("a rolling push replaces it", func(t *testing.T) {
		push.WithStrategy(operation.StrategyRolling)
		defer push.WithStrategy(operation.StrategyNone)
		_, err := push.Push(ctx, manifest, bytes.NewReader(zipDir(t, filepath.Join(repo(t), "examples/hello-go"))))
		must(t, "pushing", err)
		s.answers("hello.apps.localhost", 200)
	})
	t.Run("environment", func(t *testing.T) {
		v := "hi"
		_, err := cf.Applications.SetEnvironmentVariables(ctx, app.GUID, map[string]*string{"ADDED": &v, "GREETING": nil})
		must(t, "setting variables", err)
		env, err := cf.Applications.GetEnvironment(ctx, app.GUID)
		must(t, "reading the environment", err)
		if got := env.EnvVars["ADDED"]; got != "hi" || len(env.EnvVars) != 1 {
			t.Errorf("environment_variables is %v", env.EnvVars)
		}
	})
	t.Run("scale and stats", func(t *testing.T) {
		procs, err := cf.Processes.ListForAppAll(ctx, app.GUID, nil)
		must(t, "listing processes", err)
		i := slices.IndexFunc(procs, func(p *resource.Process) bool { return p.Type == "web" })
		_, err = cf.Processes.Scale(ctx, procs[i].GUID, resource.NewProcessScale().WithInstances(2))
		must(t, "scaling", err)
		s.eventually(time.Minute, "two running instances", func() error {
			stats, err := cf.Processes.GetStats(ctx, procs[i].GUID)
			if err != nil {
				return err
			}
			if len(stats.Stats) != 2 || stats.Stats[0].State != "RUNNING" || stats.Stats[1].State != "RUNNING" {
				return fmt.Errorf("stats are %+v", stats.Stats)
			}
			return nil
		})
		must(t, "terminating an instance", cf.Processes.Terminate(ctx, procs[i].GUID, 1))
	})
	t.Run("routes with weights", func(t *testing.T) {
		domain, err := cf.Domains.First(ctx, client.NewDomainListOptions())
		must(t, "finding the domain", err)
		space, err := cf.Spaces.First(ctx, client.NewSpaceListOptions())
		must(t, "finding the space", err)
		route, err := cf.Routes.Create(ctx, resource.NewRouteCreateWithHost(domain.GUID, space.GUID, "live", "", 0))
		must(t, "creating a route", err)
		_, err = push.Push(ctx, &operation.AppManifest{Name: "other", NoRoute: true, AppManifestProcess: operation.AppManifestProcess{Memory: "64M"}},
			bytes.NewReader(zipDir(t, filepath.Join(repo(t), "examples/hello-go"))))
		must(t, "pushing a second app", err)
		other, err := cf.Applications.Single(ctx, func() *client.AppListOptions {
			o := client.NewAppListOptions()
			o.Names.EqualTo("other")
			return o
		}())
		must(t, "finding the second app", err)
		weight := func(guid string, w int) *resource.RouteDestinationInsertOrReplace {
			d := resource.NewRouteDestinationInsertOrReplace(guid)
			d.Weight = &w
			return d
		}
		got, err := cf.Routes.ReplaceDestinations(ctx, route.GUID, []*resource.RouteDestinationInsertOrReplace{weight(app.GUID, 80), weight(other.GUID, 20)})
		must(t, "replacing destinations", err)
		if len(got.Destinations) != 2 || *got.Destinations[0].Weight+*got.Destinations[1].Weight != 100 {
			t.Errorf("destinations are %+v", got.Destinations)
		}
		s.answers("live.apps.localhost", 200)
		must(t, "removing a destination", cf.Routes.RemoveDestination(ctx, route.GUID, *got.Destinations[1].GUID))
		job, err := cf.Routes.Delete(ctx, route.GUID)
		must(t, "deleting the route", err)
		must(t, "waiting for the deletion", cf.Jobs.PollComplete(ctx, job, nil))
		s.answers("live.apps.localhost", 404)
	})
	t.Run("revisions and deployments", func(t *testing.T) {
		revisions, err := cf.Revisions.ListForAppAll(ctx, app.GUID, nil)
		must(t, "listing revisions", err)
		if len(revisions) == 0 {
			t.Fatal("no revision")
		}
		d, err := cf.Deployments.Create(ctx, &resource.DeploymentCreate{
			Relationships: resource.AppRelationship{App: resource.ToOneRelationship{Data: &resource.Relationship{GUID: app.GUID}}},
			Revision:      &resource.DeploymentRevision{GUID: revisions[0].GUID},
		})
		must(t, "creating a deployment", err)
		s.eventually(time.Minute, "the deployment to finish", func() error {
			d, err := cf.Deployments.Get(ctx, d.GUID)
			if err != nil {
				return err
			}
			if d.Status.Value != "FINALIZED" || d.Status.Reason != "DEPLOYED" {
				return fmt.Errorf("status is %+v", d.Status)
			}
			return nil
		})
	})
	t.Run("restart, stop, delete", func(t *testing.T) {
		_, err := cf.Applications.Restart(ctx, app.GUID)
		must(t, "restarting", err)
		s.answers("hello.apps.localhost", 200)
		_, err = cf.Applications.Stop(ctx, app.GUID)
		must(t, "stopping", err)
		s.answers("hello.apps.localhost", 503)
		job, err := cf.Applications.Delete(ctx, app.GUID)
		must(t, "deleting", err)
		must(t, "waiting for the deletion", cf.Jobs.PollComplete(ctx, job, nil))
		if _, err := cf.Applications.Get(ctx, app.GUID); !resource.IsResourceNotFoundError(err) {
			t.Errorf("a deleted app answers %v", err)
		}
	})
}

func (s *server) cfclient(t *testing.T) *client.Client {
	t.Helper()
	password, err := os.ReadFile(filepath.Join(s.data(), "admin-password"))
	must(t, "reading the admin password", err)
	cfg, err := config.New(s.api, config.UserPassword("admin", strings.TrimSpace(string(password))))
	must(t, "configuring the client", err)
	cf, err := client.New(cfg)
	must(t, "making the client", err)
	return cf
}

// answers waits until the router answers GET / on host with the status.
func (s *server) answers(host string, status int) {
	s.t.Helper()
	s.eventually(time.Minute, fmt.Sprintf("%s to answer %d", host, status), func() error {
		got, body, err := s.get(host, "/")
		if err == nil && got != status {
			err = fmt.Errorf("it answers %d: %s", got, body)
		}
		return err
	})
}

func must(t testing.TB, doing string, err error) {
	t.Helper()
	if err != nil {
		if cfErr, ok := errors.AsType[resource.CloudFoundryError](err); ok {
			t.Fatalf("%s: %d %s: %s", doing, cfErr.Code, cfErr.Title, cfErr.Detail)
		}
		t.Fatalf("%s: %v", doing, err)
	}
}

// zipDir packs a directory the way a client without Unix modes would not:
// with modes, relative names and no directory entries.
func zipDir(t testing.TB, dir string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		h, err := zip.FileInfoHeader(info)
		if err != nil {
			return err
		}
		h.Name, _ = filepath.Rel(dir, path)
		h.Method = zip.Deflate
		f, err := w.CreateHeader(h)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		return err
	})
	must(t, "packing "+dir, err)
	must(t, "packing "+dir, w.Close())
	return buf.Bytes()
}
