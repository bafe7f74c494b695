package cli

import (
	"context"
	"io"
	"strings"
)

// Check says what is wrong with a command line, without the program's name,
// and runs nothing: whether its command and flags exist, whether their values
// can be read, and whether there are not too many arguments, nor, if whole, too
// few. It is how the documentation is kept true.
func (p Program) Check(args []string, whole bool) error {
	sh := &shell{program: p, out: newUI(strings.NewReader(""), io.Discard, io.Discard)}
	for _, c := range p.all() {
		harmless := *c
		harmless.run = func(context.Context, *call) error { return nil }
		if !whole { // its words may be left out
			least, _ := c.limits()
			for i, word := range strings.Fields(c.args) {
				if i < least {
					harmless.args = strings.Replace(harmless.args, word, "["+strings.Trim(word, "[]")+"]", 1)
				}
			}
		}
		sh.commands = append(sh.commands, &harmless)
	}
	return sh.run(context.Background(), args)
}
