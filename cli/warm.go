package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	v3 "weir/api/v3"
)

// warmTime is how long an app may take to answer a request that warms it up.
const warmTime = 30 * time.Second

// warmRequest is a request whose answer says that an app is warm.
type warmRequest struct {
	path     string
	statuses []int // that are good
}

// parseWarm reads --warm /path=200,204; without a status every one below 400
// is good.
func parseWarm(list []string) (all []warmRequest, err error) {
	for _, s := range list {
		path, statuses, _ := strings.Cut(s, "=")
		if !strings.HasPrefix(path, "/") {
			return nil, withHint(usagef("--warm %q is not a path", s), "write --warm /=200 or --warm /health=200,204")
		}
		w := warmRequest{path: path}
		for part := range strings.SplitSeq(statuses, ",") {
			if part == "" {
				continue
			}
			n, err := strconv.Atoi(part)
			if err != nil || n < 100 || n > 599 {
				return nil, usagef("--warm %q: %s is no HTTP status", s, part)
			}
			w.statuses = append(w.statuses, n)
		}
		all = append(all, w)
	}
	return all, nil
}

func (w warmRequest) accepts(status int) bool {
	if len(w.statuses) == 0 {
		return status < 400
	}
	return slices.Contains(w.statuses, status)
}

// warmUp asks an app under an address of its own, as often as it has
// instances, and fails if an answer is not as wanted.
func (c *call) warmUp(ctx context.Context, s *session, app v3.App, list []warmRequest) error {
	if len(list) == 0 {
		return nil
	}
	routes, err := s.AppRoutes(ctx, app.GUID)
	if err != nil {
		return err
	}
	own := slices.IndexFunc(routes, func(r v3.Route) bool { return len(appsOf(r)) == 1 && r.Host != "*" })
	if own < 0 {
		return refusedf("map one for it: weir map-route "+app.Name+" DOMAIN -n HOST", "app %s has no address of its own to be asked under", app.Name)
	}
	web, err := s.Process(ctx, app.GUID, "web")
	if err != nil {
		return err
	}
	scheme, port := s.routerAddress(ctx)
	hc := s.routerClient(ctx)
	defer hc.CloseIdleConnections()
	for _, w := range list {
		address := strings.TrimRight(routeURL(scheme, port, routes[own].URL), "/") + w.path
		c.out.step("Warming up %s at %s", app.Name, address)
		for range max(1, web.Instances) {
			status, err := ask(ctx, hc, address)
			if err != nil {
				return newFailure(exitRefused, "refused", fmt.Sprintf("%s does not answer: %v", address, err), "nothing was swapped")
			}
			if !w.accepts(status) {
				return refusedf("nothing was swapped", "%s answers %d", address, status)
			}
		}
	}
	return nil
}

// routerClient returns a client that reaches the router whatever the names of
// its hosts resolve to.
func (s *session) routerClient(ctx context.Context) *http.Client {
	t := &http.Transport{}
	if info, err := s.Info(ctx); err == nil {
		if u, err := url.Parse(info.Custom.RouterHTTP); err == nil && u.Host != "" {
			port := "80"
			if u.Scheme == "https" {
				port = "443"
			}
			host := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
			t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, host)
			}
		}
	}
	return &http.Client{Transport: t, Timeout: warmTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func ask(ctx context.Context, hc *http.Client, address string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, err
}
