package cli

import (
	"strings"
	"testing"
)

func TestStartHint_SaysWhatToDoAboutTheReason(t *testing.T) {
	for why, want := range map[string]string{
		"the app crashed 3 times in a row: out of memory (limit 64M)":                      "weir scale hello -m 128M",
		"out of memory (limit 1G)":                                                         "weir scale hello -m 2G",
		"the app crashed 3 times in a row: exited with status 0":                           "must stay in the foreground",
		"the app crashed 3 times in a row: exited with status 127":                         "there is no such program",
		"the app did not listen on its port (PORT=8080) within 2s; it listens on 3000":     "-t 2m",
		"the app did not answer its health check within 5s: it answers 500":                "-t 2m",
		"the app did not answer its health check within 1m0s: GET /nope answered 404":      "weir set-health-check hello http --endpoint PATH",
		"the app crashed 3 times in a row: exited with status 3 (instance 0 of process x)": "weir logs hello",
	} {
		got := startHint("hello", why)
		if !strings.Contains(got, want) || !strings.Contains(got, "weir logs hello --recent") {
			t.Errorf("%s: %s", why, got)
		}
	}
}

func TestEnvArguments_RefuseNamesThatAreMistakes(t *testing.T) {
	for _, args := range [][]string{{"A B", "x"}, {"", "x"}, {"1=2"}, {"=x"}, {"A\n=x"}, {"-A=1"}, {"A\x00", "x"}, {"A"}, {"A=1", "B"}} {
		if vars, err := envArguments(args); err == nil || asFailure(err).exit != exitUsage || asFailure(err).hint == "" {
			t.Errorf("%q: %v, %v", args, vars, err)
		}
	}
	for _, args := range [][]string{{"A", "x"}, {"A", "a=b c"}, {"A=a=b"}, {"a.b-c=1", "_x="}, {"npm_config_//x/:_authToken=1"}, {"GRÖSSE", "1"}} {
		if _, err := envArguments(args); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}
