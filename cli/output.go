package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
	"k8s.io/client-go/util/jsonpath"
)

// All terminal behaviour is in this file and in progress.go. The rules:
//
//   - Standard output carries the result and nothing else: a table, or what -o
//     asks for (format.go), or with -q names and ids, one a line.
//   - Standard error carries progress, warnings and errors. Colour and lines
//     that are redrawn appear there only if it is a terminal; NO_COLOR,
//     TERM=dumb, CF_COLOR=false and --no-color take the colour away.
//   - An error is "weir: text" and perhaps "weir: hint: text". With a format for
//     programs it is one JSON object, and standard error carries nothing but that.
//   - Nothing is asked unless standard input is a terminal.

// ui reads from and writes to the user.
type ui struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	inTTY          bool
	outTTY, errTTY bool

	format  string // without the template of jsonpath
	path    *jsonpath.JSONPath
	quiet   bool
	verbose bool
	noColor bool

	mu     sync.Mutex // guards status and writes to stdout and stderr
	status string     // the line that is redrawn at the bottom; "" for none
}

func newUI(stdin io.Reader, stdout, stderr io.Writer) *ui {
	u := &ui{stdin: stdin, stdout: stdout, stderr: stderr, format: formatTable}
	u.inTTY, u.outTTY, u.errTTY = isTerminal(stdin), isTerminal(stdout), isTerminal(stderr)
	u.noColor = env("NO_COLOR") != "" || env("TERM") == "dumb" || env("CF_COLOR") == "false"
	return u
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// configure takes the global flags over.
func (u *ui) configure(format string, quiet, verbose, noColor bool) error {
	name, path, err := parseFormat(format)
	if err != nil {
		return err
	}
	u.format, u.path, u.quiet, u.noColor = name, path, quiet || name == formatName, u.noColor || noColor
	trace := env("WEIR_TRACE", "CF_TRACE")
	u.verbose = verbose || trace != "" && trace != "false"
	return nil
}

// machine reports whether the result is for a program.
func (u *ui) machine() bool { return isMachine(u.format) }

// page returns what text is drawn on.
func (u *ui) page() *page {
	p := &page{color: u.colorOut(), wide: u.format == formatWide}
	if f, ok := u.stdout.(*os.File); ok && u.outTTY {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			p.width = width
		}
	}
	return p
}

// print writes the result of a command: v, a struct or a map, to programs; the
// names with -q and -o name; else what text draws.
func (u *ui) print(kind string, v any, names []string, text func(p *page)) error {
	u.clearStatus()
	switch {
	case u.machine():
		b, err := u.encode(kind, v)
		if err != nil {
			return err
		}
		return u.write(b)
	case u.quiet:
		if len(names) == 0 {
			return nil
		}
		return u.write([]byte(strings.Join(names, "\n") + "\n"))
	}
	p := u.page()
	text(p)
	return u.write(p.bytes())
}

// done reports an action that has no result but that it is done: notes, such
// as cf's "… Nothing has been updated.", and OK.
func (u *ui) done(kind string, v any, notes ...string) error {
	return u.print(kind, v, nil, func(p *page) {
		for _, n := range notes {
			p.line(n)
		}
		p.line("OK")
	})
}

func (u *ui) write(b []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, err := u.stdout.Write(b); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// errorJSON is an error in the formats for programs.
type errorJSON struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Hint      string `json:"hint"`
	Retryable bool   `json:"retryable"`
}

// fail shows err and returns the exit code.
func (u *ui) fail(ctx context.Context, err error) int {
	u.clearStatus()
	if err == nil {
		return exitOK
	}
	f := asFailure(err)
	if ctx.Err() != nil && f.exit != exitUsage && f.code != "interrupted" {
		f = &failure{exit: exitInterrupted, code: "interrupted", msg: "interrupted", hint: f.hint, err: err}
	}
	if u.machine() {
		b, merr := marshal(errorJSON{f.code, f.msg, f.hint, f.retryable})
		if merr == nil {
			u.stderr.Write(b)
		}
		return f.exit
	}
	var b strings.Builder
	for line := range strings.SplitSeq(f.msg, "\n") {
		b.WriteString(u.paint(red, "weir: ") + line + "\n")
	}
	if f.hint != "" {
		b.WriteString(u.paint(red, "weir: ") + "hint: " + f.hint + "\n")
	}
	io.WriteString(u.stderr, b.String())
	return f.exit
}

// The colours, as ANSI codes.
const (
	red   = "31"
	green = "32"
	faint = "2"
	bold  = "1"
	cyan  = "36"
)

func (u *ui) colorOut() bool { return u.outTTY && !u.noColor }

// paint colours s for standard error.
func (u *ui) paint(color, s string) string {
	if !u.errTTY || u.noColor {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

// banner says on a terminal what is being done: "Getting app x as admin…".
func (u *ui) banner(format string, args ...any) {
	if u.errTTY && !u.quiet && !u.machine() {
		u.say(faint, fmt.Sprintf(format, args...))
	}
}

// step reports progress.
func (u *ui) step(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	u.event("Step", text)
	if !u.quiet && !u.machine() {
		u.say("", "· "+text)
	}
}

// warn reports something to be careful about. Formats for programs leave it
// out, but for jsonl: their standard error holds one object at most.
func (u *ui) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	u.event("Warning", text)
	if !u.machine() {
		u.say("", u.paint(bold, "warning: ")+text)
	}
}

func (u *ui) say(color, line string) {
	if color != "" {
		line = u.paint(color, line)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.eraseLocked()
	io.WriteString(u.stderr, line+"\n")
	u.drawLocked()
}

// confirm asks a yes-or-no question. Without a terminal it fails and names
// the flag that answers it.
func (u *ui) confirm(ctx context.Context, flag, format string, args ...any) error {
	question := fmt.Sprintf(format, args...)
	if !u.inTTY {
		return withHint(usagef("nobody there to ask: %s", question), "add "+flag)
	}
	answer, err := u.ask(ctx, question+" [yN]: ")
	if err == io.EOF {
		return errDeclined
	}
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errDeclined
}

// errDeclined is an answer of no; commands turn it into success, as cf does.
var errDeclined = errors.New("cancelled")

// ask reads one line from the terminal.
func (u *ui) ask(ctx context.Context, prompt string) (string, error) {
	u.clearStatus()
	io.WriteString(u.stderr, prompt)
	return await(ctx, func() (string, error) {
		line, err := bufio.NewReader(u.stdin).ReadString('\n')
		if err == io.EOF && line != "" {
			err = nil
		}
		return strings.TrimRight(line, "\r\n"), err
	})
}

// askPassword reads one line from the terminal without showing it.
func (u *ui) askPassword(ctx context.Context, prompt string) (string, error) {
	u.clearStatus()
	io.WriteString(u.stderr, prompt)
	defer io.WriteString(u.stderr, "\n")
	f := u.stdin.(*os.File) // a terminal is a file
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", err
	}
	return await(ctx, func() (string, error) {
		b, err := term.ReadPassword(int(f.Fd()))
		return string(b), err
	}, func() { term.Restore(int(f.Fd()), before) })
}

// await runs read, which cannot be interrupted, and returns early when ctx
// ends. The goroutine then waits for input that the ending program never
// takes; that is the one thing a terminal does not let us wait for.
func await(ctx context.Context, read func() (string, error), undo ...func()) (string, error) {
	type answer struct {
		text string
		err  error
	}
	ch := make(chan answer, 1) // the reader may come after nobody waits
	go func() {
		text, err := read()
		ch <- answer{text, err}
	}()
	select {
	case a := <-ch:
		return a.text, a.err
	case <-ctx.Done():
		for _, f := range undo {
			f()
		}
		return "", context.Cause(ctx)
	}
}
