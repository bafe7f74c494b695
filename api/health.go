package api

import (
	v3 "weir/api/v3"
	"weir/internal/platform"
)

// applyHealth merges what a request says of a health check into h.
func applyHealth(h *platform.HealthCheck, in *v3.HealthCheckUpdate, name string, liveness bool) error {
	if in == nil {
		return nil
	}
	if in.Type != nil && *in.Type != "" {
		switch *in.Type {
		case platform.HealthPort, platform.HealthHTTP, platform.HealthProcess:
		default:
			return platform.Invalidf("%s.type must be one of 'port', 'http', 'process'", name)
		}
		if *in.Type != h.Type {
			h.Type, h.Endpoint = *in.Type, ""
		}
	}
	d := in.Data
	if d == nil {
		return nil
	}
	if d.Timeout.Value != nil && !liveness {
		return platform.Invalidf("%s.data has no timeout", name)
	}
	for _, f := range []struct {
		name string
		in   v3.Null[int]
		to   *int
	}{
		{"timeout", d.Timeout, &h.Timeout},
		{"invocation_timeout", d.InvocationTimeout, &h.InvocationTimeout},
		{"interval", d.Interval, &h.Interval},
	} {
		if !f.in.Set {
			continue
		}
		*f.to = 0
		if f.in.Value != nil {
			if *f.in.Value < 1 {
				return platform.Invalidf("%s.data.%s must be greater than or equal to 1", name, f.name)
			}
			*f.to = *f.in.Value
		}
	}
	return applyEndpoint(h, d.Endpoint, name)
}

func applyEndpoint(h *platform.HealthCheck, in v3.Null[string], name string) error {
	switch {
	case !in.Set:
	case in.Value == nil || *in.Value == "":
		h.Endpoint = ""
	case h.Type != platform.HealthHTTP:
		return platform.Invalidf("%s.data.endpoint is only for the type 'http'", name)
	case (*in.Value)[0] != '/':
		return platform.Invalidf("%s.data.endpoint must begin with '/'", name)
	default:
		h.Endpoint = *in.Value
	}
	return nil
}
