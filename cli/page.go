package cli

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// page collects what a command writes in table mode.
type page struct {
	buf   bytes.Buffer
	color bool
	wide  bool // with the columns of -o wide
	width int  // of the terminal; 0: it is none
}

// some joins a list, on a terminal, unless -o wide asks for all, only the first
// few of a long one.
func (p *page) some(list []string) string {
	const few = 3
	if p.width <= 0 || p.wide || len(list) <= few+1 {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s, and %d more", strings.Join(list[:few], ", "), len(list)-few)
}

// within returns how wide a text may be: most, or as wide as a narrower
// terminal.
func (p *page) within(most int) int {
	if p.width <= 0 {
		return most
	}
	return max(40, min(most, p.width))
}

// more returns the cells of columns that only -o wide has.
func (p *page) more(cells ...string) []string {
	if p.wide {
		return cells
	}
	return nil
}

func (p *page) bytes() []byte { return p.buf.Bytes() }

func (p *page) line(s string) {
	p.buf.WriteString(s)
	p.buf.WriteByte('\n')
}

func (p *page) blank() { p.line("") }

// pairs writes "key:   value" lines with the values below each other. Pairs
// with an empty value are written all the same, so that scripts find them.
func (p *page) pairs(kv ...string) {
	width := 0
	for i := 0; i < len(kv); i += 2 {
		width = max(width, utf8.RuneCountInString(kv[i]))
	}
	for i := 0; i < len(kv); i += 2 {
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(kv[i]))
		p.line(strings.TrimRight(kv[i]+":"+pad+"   "+kv[i+1], " "))
	}
}

// table writes rows below a header, columns three blanks apart. The last
// column is not padded, and cells without a header are left out: those of -o wide.
func (p *page) table(indent string, header []string, rows [][]string) {
	width := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row[:min(len(row), len(header))] {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	write := func(row []string, color string) {
		var b strings.Builder
		b.WriteString(indent)
		row = row[:min(len(row), len(header))]
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+3))
			}
		}
		p.line(p.paint(color, strings.TrimRight(b.String(), " ")))
	}
	write(header, bold)
	for _, row := range rows {
		write(row, "")
	}
}

func (p *page) paint(color, s string) string {
	if !p.color || color == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}
