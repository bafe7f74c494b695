package acceptance

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// held is a WebSocket or a stream of events of a client, until it ends.
type held struct {
	heard atomic.Int64 // messages
	done  chan struct{}
	ended time.Time // once done is closed, as is why
	why   error
}

// holds counts with next what is heard until it ends.
func holds(next func() error) *held {
	h := &held{done: make(chan struct{})}
	go func() {
		defer close(h.done)
		for {
			if err := next(); err != nil {
				h.ended, h.why = time.Now(), err
				return
			}
			h.heard.Add(1)
		}
	}()
	return h
}

// sockets opens n WebSockets to a host, each of which says something now and
// then and should hear it again.
func (s *server) sockets(host string, n int) (all []*held) {
	s.t.Helper()
	client := s.client(true)
	client.Timeout = 0
	for range n {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		c, _, err := websocket.Dial(ctx, "ws://"+host+"/ws", &websocket.DialOptions{HTTPClient: client})
		cancel()
		if err != nil {
			s.t.Fatalf("opening WebSocket %d of %s: %v", len(all)+1, host, err)
		}
		h := holds(func() error {
			_, _, err := c.Read(context.Background())
			return err
		})
		s.t.Cleanup(func() { c.CloseNow() })
		all = append(all, h)
		go func() {
			for tick := time.Tick(time.Second); ; {
				_ = c.Write(context.Background(), websocket.MessageText, []byte("hello"))
				select {
				case <-h.done:
					return
				case <-tick:
				}
			}
		}()
	}
	return all
}

// eventStreams opens n streams of events of a host.
func (s *server) eventStreams(host string, n int) (all []*held) {
	s.t.Helper()
	client := s.client(true)
	client.Timeout = 0
	for range n {
		resp, err := client.Get("http://" + host + "/events")
		must(s.t.(*testing.T), "opening a stream", err)
		s.t.Cleanup(func() { resp.Body.Close() })
		lines := bufio.NewReader(resp.Body)
		all = append(all, holds(func() error { _, err := lines.ReadString('\n'); return err }))
	}
	return all
}

// open counts those that have not ended and hear something now.
func (s *server) open(all []*held) (n int) {
	s.t.Helper()
	before := make([]int64, len(all))
	for i, h := range all {
		before[i] = h.heard.Load()
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		n = 0
		silent := 0
		for i, h := range all {
			select {
			case <-h.done:
			default:
				if n++; h.heard.Load() == before[i] {
					silent++
				}
			}
		}
		if silent == 0 || time.Now().After(deadline) {
			return n - silent
		}
	}
}

// endings says how those that ended did, and over which time: told to go, or
// cut.
func endings(all []*held) (told, cut int, over time.Duration, last error) {
	var at []time.Time
	for _, h := range all {
		select {
		case <-h.done:
			if at = append(at, h.ended); websocket.CloseStatus(h.why) == websocket.StatusServiceRestart {
				told++
			} else {
				cut, last = cut+1, h.why
			}
		default:
		}
	}
	if len(at) == 0 {
		return 0, 0, 0, nil
	}
	return told, cut, slices.MaxFunc(at, time.Time.Compare).Sub(slices.MinFunc(at, time.Time.Compare)), last
}

// G6: WebSockets and streams of events survive a switch of weights and a
// deployment, or end as their route says.
func TestRelease_WebSocketsAndStreamsSurviveADeployment(t *testing.T) {
	n, some, spread, least, drain := 30, 30, 4*time.Second, 2*time.Second, 30*time.Second
	if long() {
		n, some, spread, least, drain = 1000, 250, time.Minute, 50*time.Second, 100*time.Second
	}
	s := start(t)
	s.pushVersions("web", nil, "v1", "v2")
	s.must("drain", "web", drain.String())
	hosts := map[string]string{"stay": "stay", "gentle": "close-gently " + spread.String(), "cut": "cut"}
	for host, policy := range hosts {
		s.must("map-route", "web", "apps.localhost", "-n", host)
		s.must("update-route", "apps.localhost", "-n", host, "-o", "websocket-drain="+policy)
	}
	stay := s.sockets("stay.apps.localhost", n)
	gentle := s.sockets("gentle.apps.localhost", some)
	cut := s.sockets("cut.apps.localhost", some)
	streams := s.eventStreams("stay.apps.localhost", n/10)
	groups := []struct {
		what string
		all  []*held
	}{{"WebSockets that stay", stay}, {"WebSockets that close gently", gentle}, {"WebSockets that are cut", cut}, {"streams of events", streams}}
	ended := func(when string, of ...int) {
		t.Helper()
		for _, i := range of {
			g := groups[i]
			lost := len(g.all) - s.open(g.all)
			figure(t, "G6", fmt.Sprintf("ended or silent of %d %s, %s", len(g.all), g.what, when), fmt.Sprint(lost), "0", lost == 0)
		}
	}
	s.must("weight", "web:v1=0", "web:v2=100") // v1 runs on, so that nobody has to go
	if got := s.served("stay.apps.localhost", 20); got["v2"] != 20 {
		t.Errorf("after the switch: %v", got)
	}
	ended("after a switch of weights", 0, 1, 2, 3)
	s.must("weight", "web:v1=100", "web:v2=0")

	s.mustIn("testdata/flaky", "push", "web", "-m", "64M", "--env", "LABEL=v3")
	pushed := time.Now()
	ended("after a push", 0, 3)
	s.eventually(time.Minute, "those that are to be cut to be", func() error {
		if told, gone, _, _ := endings(cut); told+gone < len(cut) {
			return fmt.Errorf("%d of %d have ended", told+gone, len(cut))
		}
		return nil
	})
	told, gone, over, why := endings(cut)
	figure(t, "G6", fmt.Sprintf("cut of %d WebSockets whose route says so", len(cut)), fmt.Sprintf("%d, within %s", gone, over.Round(10*time.Millisecond)), fmt.Sprint(len(cut)), gone == len(cut) && told == 0)
	t.Log(why)
	s.eventually(spread+time.Minute, "those that close gently to be told", func() error {
		if told, gone, _, _ := endings(gentle); told+gone < len(gentle) {
			return fmt.Errorf("%d of %d have ended", told+gone, len(gentle))
		}
		return nil
	})
	told, gone, over, why = endings(gentle)
	figure(t, "G6", fmt.Sprintf("told to close of %d WebSockets whose route says so", len(gentle)), fmt.Sprint(told), fmt.Sprint(len(gentle)), told == len(gentle))
	if gone > 0 {
		t.Log(why)
	}
	figure(t, "G6", fmt.Sprintf("time over which they were told, of %s", spread), over.Round(100*time.Millisecond).String(), fmt.Sprintf("≥ %s", least), over >= least)
	if after := time.Since(pushed); after < drain-5*time.Second {
		ended(fmt.Sprintf("%s after it", after.Round(time.Second)), 0, 3)
	}
	if !long() {
		return // what is left is the drain's end
	}
	s.eventually(drain+time.Minute, "the old instance to end with its drain", func() error {
		if left := s.stillOpen(stay, streams); left > 0 {
			return fmt.Errorf("%d are still open", left)
		}
		return nil
	})
	figure(t, "G6", "after how long those that stay ended, of a drain of "+drain.String(), time.Since(pushed).Round(time.Second).String(),
		fmt.Sprintf("≥ %s", drain-5*time.Second), time.Since(pushed) >= drain-5*time.Second)
}

// stillOpen counts those that have not ended.
func (s *server) stillOpen(groups ...[]*held) (n int) {
	for _, h := range slices.Concat(groups...) {
		select {
		case <-h.done:
		default:
			n++
		}
	}
	return n
}
