package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// All terminal behaviour is in this file and in progress.go. The rules:
//
//   - Standard output carries the result and nothing else: a table, or with
//     -o json one JSON object, or with -q names and ids, one a line.
//   - Standard error carries progress, warnings and errors. Colour and lines
//     that are redrawn appear there only if it is a terminal; NO_COLOR,
//     TERM=dumb, CF_COLOR=false and --no-color take the colour away.
//   - An error is "weir: text" and perhaps "weir: hint: text". With -o json it
//     is one JSON object, and standard error carries nothing but that.
//   - Nothing is asked unless standard input is a terminal.

// The output formats.
const (
	formatTable = "table"
	formatJSON  = "json"
)

// apiVersion is part of every JSON result. Within it fields are added, never
// renamed or removed.
const apiVersion = "weir/v1"

func isFormat(s string) bool { return s == formatTable || s == formatJSON }

// ui reads from and writes to the user.
type ui struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	inTTY          bool
	outTTY, errTTY bool

	format  string
	quiet   bool
	verbose bool
	noColor bool

	mu     sync.Mutex // guards status and writes to stderr
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
	if !isFormat(format) {
		return withHint(usagef("there is no output format %q", format), "-o table or -o json")
	}
	u.format, u.quiet, u.noColor = format, quiet, u.noColor || noColor
	trace := env("WEIR_TRACE", "CF_TRACE")
	u.verbose = verbose || trace != "" && trace != "false"
	return nil
}

func (u *ui) json() bool { return u.format == formatJSON }

// print writes the result of a command: v, a struct, with -o json; the names
// with -q; else what text draws.
func (u *ui) print(kind string, v any, names []string, text func(p *page)) error {
	u.clearStatus()
	switch {
	case u.json():
		b, err := encode(kind, v)
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
	p := &page{color: u.colorOut()}
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
	if _, err := u.stdout.Write(b); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// encode returns v as an indented JSON object that begins with apiVersion and
// kind.
func encode(kind string, v any) ([]byte, error) {
	body, err := marshal(v)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf(`{"apiVersion":%q,"kind":%q`, apiVersion, kind)
	if body = bytes.TrimPrefix(bytes.TrimSpace(body), []byte("{")); !bytes.Equal(body, []byte("}")) {
		head += ","
	}
	var out bytes.Buffer
	if err := json.Indent(&out, append([]byte(head), body...), "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// marshal is json.Marshal without the escapes meant for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// errorJSON is an error with -o json.
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
	if u.json() {
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
	if u.errTTY && !u.quiet && !u.json() {
		u.say(faint, fmt.Sprintf(format, args...))
	}
}

// step reports progress.
func (u *ui) step(format string, args ...any) {
	if !u.quiet && !u.json() {
		u.say("", "· "+fmt.Sprintf(format, args...))
	}
}

// warn reports something to be careful about. It appears in every mode but
// JSON, whose standard error holds one object at most.
func (u *ui) warn(format string, args ...any) {
	if !u.json() {
		u.say("", u.paint(bold, "warning: ")+fmt.Sprintf(format, args...))
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
