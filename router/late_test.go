package router

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// How long an instance thought is not held against the client that then takes
// the answer, however often the sweeper comes by.
func TestSweep_AClientIsNotBlamedForALateAnswer(t *testing.T) {
	const stall = 2 * time.Second // more than a machine with much to do lets a goroutine wait
	const longer = stall + stall/10
	g := run(t, func(c *Config) { c.StallTimeout, c.SlowTimeout = stall, stall })
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(longer)
		if r.URL.Path == "/flushed" {
			_ = http.NewResponseController(w).Flush()
			time.Sleep(longer)
		}
		io.WriteString(w, "late")
	})))
	var swept atomic.Bool
	var sweeping sync.WaitGroup
	sweeping.Go(func() {
		for !swept.Load() {
			now := g.r.now()
			for i := range g.r.sweeper.shards {
				sh := &g.r.sweeper.shards[i]
				sh.mu.Lock()
				for w := range sh.all {
					if p, _, _ := w.down.load(); p == phaseWrite { // in which it is for a moment
						g.r.sweeper.look(w, now)
					}
				}
				sh.mu.Unlock()
			}
		}
	})
	c := g.client()
	var clients sync.WaitGroup
	for i := range 100 {
		clients.Go(func() {
			for n := range 2 {
				resp, err := c.Get("http://a.test/" + []string{"", "flushed"}[(i+n)%2])
				if err != nil {
					t.Error(err)
					return
				}
				if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "late" {
					t.Errorf("got %d %q (%v)", resp.StatusCode, b, err)
				}
				resp.Body.Close()
			}
		})
	}
	clients.Wait()
	swept.Store(true)
	sweeping.Wait()
}
