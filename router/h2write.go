package router

import (
	"runtime"
	"time"
)

const (
	// h2OutFull is from how many bytes on that wait to be written others have
	// to wait too.
	h2OutFull = 128 << 10
	// h2OutKept is how much memory for them a connection keeps.
	h2OutKept = 16 << 10
)

// send appends frames to what is written next. It waits while that is too
// much already. Frames of a stream that was reset are dropped.
func (c *conn2) send(s *stream2, frames, more []byte) error {
	c.mu.Lock()
	for len(c.out) > h2OutFull && c.writing && c.dead == nil && !s.deaf() {
		s.waits = true
		c.room.Wait()
	}
	s.waits = false
	err := s.errLocked()
	if err == nil {
		s.spoke = true
		c.out = append(append(c.out, frames...), more...)
	}
	c.mu.Unlock()
	if err == nil {
		c.push()
	}
	return err
}

// push writes what waits, unless somebody does already: then it goes along.
func (c *conn2) push() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing || len(c.out) == 0 || c.dead != nil {
		return
	}
	c.writing = true
	if c.active > 1 {
		// Others may be about to answer: all of it makes one record.
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	for len(c.out) > 0 && c.dead == nil {
		b := c.out
		c.out = c.spare[:0]
		c.spare = nil
		if now := time.Now(); now.Sub(c.limited) > time.Second {
			c.limited = now
			_ = c.in.c.SetWriteDeadline(now.Add(c.r.cfg.StallTimeout + time.Second))
		}
		c.room.Broadcast()
		c.mu.Unlock()
		_, err := c.in.c.Write(b)
		c.mu.Lock()
		if cap(b) <= h2OutKept || c.active > 0 && cap(b) <= 2*h2OutFull {
			c.spare = b[:0]
		}
		if err != nil {
			c.failLocked(err)
		}
	}
	c.writing = false
	c.room.Broadcast()
}
