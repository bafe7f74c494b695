package cli

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// page collects what a command writes in table mode.
type page struct {
	buf   bytes.Buffer
	color bool
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
// column is not padded.
func (p *page) table(indent string, header []string, rows [][]string) {
	width := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	write := func(row []string, color string) {
		var b strings.Builder
		b.WriteString(indent)
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
