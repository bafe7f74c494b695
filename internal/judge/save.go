package judge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// saved is a Judge as it is kept: fixed in size, little-endian, every float
// with all its bits.
type saved struct {
	Format   uint8
	Config   savedConfig
	Errors   rateState
	Latency  latencyState
	Custom   rateState
	Rejected bool
	Cause    uint8
	Since    uint64
	Cold     int64
	Steps    uint32
	Totals   [2]Totals
	// CustomTolerance is of the configuration. It came with format 3, which is
	// format 2 and this.
	CustomTolerance float64
}

type savedConfig struct {
	ErrorAlpha, LatencyAlpha, CustomAlpha, ErrorTolerance, LatencyTolerance float64
	LatencySlack                                                            time.Duration
	Renew                                                                   uint64
	Warmup                                                                  int64
	Sticky                                                                  bool
}

const savedFormat, formatBefore = 3, 2

func (c Config) saved() savedConfig {
	return savedConfig{
		ErrorAlpha: c.ErrorAlpha, LatencyAlpha: c.LatencyAlpha, CustomAlpha: c.CustomAlpha,
		ErrorTolerance: c.ErrorTolerance, LatencyTolerance: c.LatencyTolerance, LatencySlack: c.LatencySlack,
		Renew: c.Renew, Warmup: c.Warmup, Sticky: c.Sticky,
	}
}

// config returns what the Judge was made with.
func (s *saved) config() Config {
	c := &s.Config
	return Config{
		ErrorAlpha: c.ErrorAlpha, LatencyAlpha: c.LatencyAlpha, CustomAlpha: c.CustomAlpha,
		ErrorTolerance: c.ErrorTolerance, LatencyTolerance: c.LatencyTolerance, CustomTolerance: s.CustomTolerance,
		LatencySlack: c.LatencySlack, Renew: c.Renew, Warmup: c.Warmup, Sticky: c.Sticky,
	}
}

// MarshalBinary returns everything the Judge knows, which clients have failed
// apart. It is about 2 KiB, whatever was told.
func (j *Judge) MarshalBinary() ([]byte, error) {
	return binary.Append(nil, binary.LittleEndian, &saved{
		Format: savedFormat, Config: j.cfg.saved(), CustomTolerance: j.cfg.CustomTolerance,
		Errors: j.errors.rateState, Latency: j.latency.latencyState, Custom: j.custom.rateState,
		Rejected: j.rejected, Cause: uint8(j.cause), Since: j.since, Cold: j.cold, Steps: j.steps, Totals: j.totals,
	})
}

// UnmarshalBinary makes j what MarshalBinary was called on.
func (j *Judge) UnmarshalBinary(data []byte) error {
	var s saved
	if len(data) > 0 && data[0] == formatBefore {
		data = append(slices.Clone(data), make([]byte, 8)...) // no tolerance
		data[0] = savedFormat
	}
	n, err := binary.Decode(data, binary.LittleEndian, &s)
	switch {
	case err != nil:
		return fmt.Errorf("judge: reading what was kept: %w", err)
	case s.Format != savedFormat || n != len(data) || Stream(s.Cause) >= streams:
		return errors.New("judge: what was kept is of another version")
	}
	for _, t := range s.Latency.Thresholds {
		if int(t) > Buckets {
			return errors.New("judge: what was kept is damaged")
		}
	}
	*j = *New(s.config())
	j.errors.rateState, j.latency.latencyState, j.custom.rateState = s.Errors, s.Latency, s.Custom
	j.rejected, j.cause, j.since, j.cold, j.steps, j.totals = s.Rejected, Stream(s.Cause), s.Since, s.Cold, s.Steps, s.Totals
	return nil
}

// Equal reports whether both know the same, bit by bit, clients apart.
func (j *Judge) Equal(other *Judge) bool {
	a, errA := j.MarshalBinary()
	b, errB := other.MarshalBinary()
	return errA == nil && errB == nil && bytes.Equal(a, b)
}
