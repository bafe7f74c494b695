package certs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/cloudflare"
	"github.com/libdns/libdns"
	"github.com/libdns/rfc2136"
	"go.uber.org/zap"
)

// DNS says how names are proved by records. It is read from a file, because
// it holds secrets:
//
//	{"provider": "cloudflare", "api_token": "…"}
//	{"provider": "rfc2136", "server": "192.0.2.53:53", "key_name": "weir", "key_alg": "hmac-sha256", "key": "…"}
//	{"provider": "exec", "command": ["/usr/local/bin/set-record"]}
//
// The last runs any program, with one of the words add and remove, the full
// name of the record and its value behind its own arguments.
type DNS struct {
	Provider string `json:"provider"`
	// Resolvers are asked whether a record has arrived, and which zone it
	// is in; empty means the system's. "192.0.2.53:53".
	Resolvers []string `json:"resolvers"`
	// Propagation bounds the wait for a record to arrive: "2m" by default;
	// "0s" does not look, but waits for nothing.
	Propagation string `json:"propagation"`

	Command []string `json:"command"` // of exec

	raw json.RawMessage
}

// ReadDNS reads the file of a DNS.
func ReadDNS(path string) (*DNS, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := &DNS{raw: b}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := d.provider(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

func (d *DNS) provider() (certmagic.DNSProvider, error) {
	var p certmagic.DNSProvider
	switch d.Provider {
	case "cloudflare":
		p = &cloudflare.Provider{}
	case "rfc2136":
		p = &rfc2136.Provider{}
	case "exec":
		if len(d.Command) == 0 {
			return nil, errors.New("provider exec needs a command")
		}
		return execProvider{d.Command}, nil
	default:
		return nil, fmt.Errorf("provider %q is none of cloudflare, rfc2136, exec", d.Provider)
	}
	return p, json.Unmarshal(d.raw, p)
}

func (d *DNS) solver(logger *zap.Logger) (*certmagic.DNS01Solver, error) {
	p, err := d.provider()
	if err != nil {
		return nil, err
	}
	var wait time.Duration
	if d.Propagation != "" {
		if wait, err = time.ParseDuration(d.Propagation); err != nil || wait < 0 {
			return nil, fmt.Errorf("propagation %q is not a duration such as 2m", d.Propagation)
		}
		if wait == 0 {
			wait = -1
		}
	}
	return &certmagic.DNS01Solver{DNSManager: certmagic.DNSManager{
		DNSProvider: p, Resolvers: d.Resolvers, PropagationTimeout: wait, TTL: time.Minute, Logger: logger,
	}}, nil
}

// execProvider leaves records to a program of the operator.
type execProvider struct{ command []string }

// AppendRecords implements libdns.RecordAppender.
func (p execProvider) AppendRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	return recs, p.each(ctx, "add", zone, recs)
}

// DeleteRecords implements libdns.RecordDeleter.
func (p execProvider) DeleteRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	return recs, p.each(ctx, "remove", zone, recs)
}

func (p execProvider) each(ctx context.Context, what, zone string, recs []libdns.Record) error {
	for _, r := range recs {
		rr := r.RR()
		args := append(p.command[1:len(p.command):len(p.command)], what, libdns.AbsoluteName(rr.Name, zone), rr.Data)
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		out, err := exec.CommandContext(ctx, p.command[0], args...).CombinedOutput()
		cancel()
		if err != nil {
			return fmt.Errorf("%s %s: %w: %s", p.command[0], what, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
