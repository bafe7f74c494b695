package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// profileFile is what the build is given to know which functions of the router
// are worth most care (https://go.dev/doc/pgo).
const profileFile = "router/router.pgo"

// profiled are the loads a profile is made of, by turns.
var profiled = []string{"h1-64", "h1-256", "h1-tls", "h2-tls", "new-conn", "large"}

// profile writes the CPU profile of a router under load, for later builds.
func (b bench) profile(ctx context.Context) error {
	m := b.matrix
	m.peers, m.beside = []string{"weir"}, ""
	s, err := m.stage(ctx)
	if err != nil {
		return err
	}
	defer s.clear()
	weir := s.running[0]
	const long = 30 * time.Second
	got := make(chan error, 1)
	var profile []byte
	go func() {
		var err error
		profile, err = fetchProfile(ctx, weir.control, long)
		got <- err
	}()
	all := measures(m.each, 0)
	for began := time.Now(); time.Since(began) < long && ctx.Err() == nil; {
		for _, x := range all {
			if slices.Contains(profiled, x.name) {
				m.note(x, weir, s.loop, s.ground)
			}
		}
	}
	if err := <-got; err != nil {
		return err
	}
	if profile, err = withoutPaths(profile); err != nil {
		return err
	}
	if err := os.WriteFile(profileFile, profile, 0o644); err != nil {
		return err
	}
	fmt.Printf("%s: %d bytes; the next build uses it\n", profileFile, len(profile))
	return nil
}

// fetchProfile asks the router behind a control socket for a CPU profile.
func fetchProfile(ctx context.Context, socket string, long time.Duration) ([]byte, error) {
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://router/debug/pprof/profile?seconds=%d", int(long.Seconds())), nil)
	if err != nil {
		return nil, err
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the router answers %s to a wish for its profile", res.Status)
	}
	return io.ReadAll(res.Body)
}

// withoutPaths takes out of a profile where files lie on this machine. A
// profile is a gzipped protobuf; its texts are field 6 (profile.proto of
// github.com/google/pprof).
func withoutPaths(gzipped []byte) ([]byte, error) {
	const texts = 6
	z, err := gzip.NewReader(bytes.NewReader(gzipped))
	if err != nil {
		return nil, err
	}
	in, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	out, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	for len(in) > 0 {
		num, typ, n := protowire.ConsumeTag(in)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(num, typ, in[n:])
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		field := in[:n+size]
		if num == texts && typ == protowire.BytesType {
			text, _ := protowire.ConsumeString(in[n:])
			if filepath.IsAbs(text) {
				field = protowire.AppendString(protowire.AppendTag(nil, num, typ), filepath.Base(text))
			}
		}
		if _, err := out.Write(field); err != nil {
			return nil, err
		}
		in = in[n+size:]
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
