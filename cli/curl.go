package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

func curlCommands() []*command {
	return []*command{{
		name: "curl", args: "PATH", category: catAdmin,
		usage:    "send any request to the API",
		examples: []string{"curl /v3/apps", "curl /v3/apps/GUID -X PATCH -d '{\"name\":\"new\"}'", "curl -i --fail /v3/info", "curl /v3/packages -X POST -d @body.json"},
		about:    "The exit code is 0 whatever the answer; with --fail it is 22 from status 400 on.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "request", Aliases: []string{"X"}, Usage: "`METHOD` (default GET, with -d POST)"},
			&cli.StringSliceFlag{Name: "header", Aliases: []string{"H"}, Usage: "`NAME: VALUE`; may be repeated"},
			&cli.StringFlag{Name: "data", Aliases: []string{"d"}, Usage: "body, `TEXT` or @FILE; @- for standard input"},
			&cli.BoolFlag{Name: "include", Aliases: []string{"i"}, Usage: "show status and headers too"},
			&cli.BoolFlag{Name: "fail", Usage: "exit with 22 if the status is 400 or more"},
			&cli.StringFlag{Name: "to", Usage: "write the body to `FILE`"},
		},
		noJSON: "the answer is the server's, as it is", dashO: "to",
		run: runCurl,
	}}
}

func runCurl(ctx context.Context, c *call) error {
	header := http.Header{}
	for _, h := range c.StringSlice("header") {
		name, value, ok := strings.Cut(h, ":")
		if !ok || name == "" {
			return withHint(usagef("header %q has no colon", h), "write -H 'Name: value'")
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	method := strings.ToUpper(c.String("request"))
	var body []byte
	if c.has("data") {
		var err error
		if body, err = c.curlBody(c.String("data")); err != nil {
			return err
		}
		if method == "" {
			method = http.MethodPost
		}
	}
	if method == "" {
		method = http.MethodGet
	}
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	path := c.arg(0)
	if strings.Contains(path, "://") {
		// The token must not travel to other servers.
		if !strings.HasPrefix(path, s.URL()+"/") {
			return usagef("%s is not on the server %s", path, s.URL())
		}
	} else {
		path = "/" + strings.TrimLeft(path, "/")
	}
	resp, err := s.Raw(ctx, method, path, header, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := c.showAnswer(resp); err != nil {
		return err
	}
	if c.Bool("fail") && resp.StatusCode >= 400 {
		return newFailure(exitCurl, "http-error", fmt.Sprintf("the server answered %s", resp.Status), "")
	}
	return nil
}

func (c *call) curlBody(data string) ([]byte, error) {
	name, isFile := strings.CutPrefix(data, "@")
	switch {
	case !isFile:
		return []byte(data), nil
	case name == "-":
		return io.ReadAll(c.out.stdin)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, usagef("%v", err)
	}
	return b, nil
}

func (c *call) showAnswer(resp *http.Response) error {
	if c.Bool("include") {
		var head bytes.Buffer
		fmt.Fprintf(&head, "%s %s\r\n", resp.Proto, resp.Status)
		if err := resp.Header.Write(&head); err != nil {
			return err
		}
		head.WriteString("\r\n")
		if err := c.out.write(head.Bytes()); err != nil {
			return err
		}
	}
	if path := c.String("to"); path != "" {
		_, err := saveFile(path, 0o644, resp.Body)
		return err
	}
	if !c.out.outTTY || !strings.Contains(resp.Header.Get("Content-Type"), "json") {
		_, err := io.Copy(c.out.stdout, resp.Body)
		return err
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, b, "", "  ") == nil {
		b = pretty.Bytes()
	}
	return c.out.write(append(bytes.TrimRight(b, "\n"), '\n'))
}
