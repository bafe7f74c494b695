package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// setStatus draws a line at the bottom of a terminal that later calls
// replace. Elsewhere it does nothing.
func (u *ui) setStatus(format string, args ...any) {
	if !u.errTTY || u.quiet || u.machine() {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.eraseLocked()
	u.status = fmt.Sprintf(format, args...)
	u.drawLocked()
}

func (u *ui) clearStatus() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.eraseLocked()
	u.status = ""
}

func (u *ui) eraseLocked() {
	if u.status != "" {
		io.WriteString(u.stderr, "\r\x1b[K")
	}
}

// drawLocked draws the line without wrapping it: of two lines only the second
// could be replaced.
func (u *ui) drawLocked() {
	if u.status != "" {
		io.WriteString(u.stderr, "\x1b[?7l"+u.status+"\x1b[?7h")
	}
}

// bar shows how far a transfer is.
type bar struct {
	u     *ui
	what  string
	total int64

	mu    sync.Mutex // guards the rest
	sent  int64
	drawn time.Time
}

// startBar begins a progress bar over total bytes. On anything but a terminal
// it is silent.
func (u *ui) startBar(what string, total int64) *bar { return &bar{u: u, what: what, total: total} }

// add moves the bar on by n bytes.
func (b *bar) add(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent += n
	now := time.Now()
	if now.Sub(b.drawn) < 50*time.Millisecond && b.sent < b.total {
		return
	}
	b.drawn = now
	const width = 30
	part := 1.0
	if b.total > 0 {
		part = min(1, float64(b.sent)/float64(b.total))
	}
	full := int(part * width)
	b.u.setStatus("%s [%s%s] %3d%% %s of %s", b.what, strings.Repeat("█", full), strings.Repeat("░", width-full),
		int(part*100), formatBytes(b.sent), formatBytes(b.total))
}

func (b *bar) end() { b.u.clearStatus() }
