package server

import (
	"context"
	"maps"
	"slices"

	"weir/internal/shadow"
)

// compared tells rollouts what the comparison of a shadow has found.
func compared(shadows *shadow.Collector) func(ctx context.Context, app, version string) (uint64, []string, error) {
	return func(ctx context.Context, app, version string) (n uint64, different []string, err error) {
		r, err := shadows.Report(ctx, app, version)
		if err != nil {
			return 0, nil, err
		}
		for _, endpoint := range slices.Sorted(maps.Keys(r.Endpoints)) {
			fields := r.Endpoints[endpoint].Fields
			for _, field := range slices.Sorted(maps.Keys(fields)) {
				if fields[field].IsFound() {
					different = append(different, endpoint+" "+field)
				}
			}
		}
		return r.Compared, different, nil
	}
}
