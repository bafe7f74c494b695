package cli

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v3 "weir/api/v3"
)

func TestParseWeights(t *testing.T) {
	for line, want := range map[string]string{
		"api:v1=95 api:v2=5":  "api v1=95 v2=5",
		"api:v1 80":           "api v1=80",
		"api:v2 5%":           "api v2=5%",
		"api:v1 80 api:v2=20": "api v1=80 v2=20",
		"api v1=95 v2=5":      "api v1=95 v2=5",
		"api:2.0.0=0.5%":      "api 2.0.0=0.5%",
		"api:v1=0":            "api v1=0",
		"api:v1=95 web:v2=5":  "api and web are two apps: one change is for one",
		"api:v1=95% api:v2=5": "weights and percentages cannot be mixed",
		"api:v1":              "api:v1 lacks its weight",
		"api":                 "there is no weight to set",
		"api:v1=lots":         `"lots" is no weight`,
		"api:v1=1001":         "a weight is a number from 0 to 1000, not 1001",
		"api:v1=-1":           "a weight is a number from 0 to 1000, not -1",
		"api:v1=101%":         `"101%" is no percentage from 0% to 100%`,
		"api:v1=NaN%":         `"NaN%" is no percentage from 0% to 100%`,
		"api:v1=1 api:V1=2":   "version V1 is given twice",
		"v1=95":               `"v1=95" names no version of an app`,
		":v1=95":              `":v1=95" names no version of an app`,
	} {
		app, weights, err := parseWeights(strings.Fields(line))
		got := app
		for _, w := range weights {
			got += " " + typed(w)
		}
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
}

func TestFleet_PercentagesKeepTheRatioOfTheOthers(t *testing.T) {
	live := func(label string, weight int) v3.Version {
		return v3.Version{Resource: v3.Resource{GUID: label}, Label: label, Mode: v3.ModeLive, State: v3.AppStarted, Weight: weight}
	}
	shadow, stopped := live("s", 50), live("x", 50)
	shadow.Mode, stopped.State = v3.ModeShadow, v3.AppStopped
	for _, tc := range []struct {
		args string
		all  []v3.Version
		want map[string]int
		err  string
	}{
		{"a:v2=5%", []v3.Version{live("v1", 100), live("v2", 0), shadow, stopped}, map[string]int{"v1": 950, "v2": 50}, ""},
		{"a:v2=10%", []v3.Version{live("v1", 2), live("v2", 7), live("v3", 1)}, map[string]int{"v1": 600, "v2": 100, "v3": 300}, ""},
		{"a:v4=0.1%", []v3.Version{live("v1", 1), live("v2", 1), live("v3", 1), live("v4", 0)}, map[string]int{"v1": 333, "v2": 333, "v3": 333, "v4": 1}, ""},
		{"a:v2=100%", []v3.Version{live("v1", 3), live("v2", 1)}, map[string]int{"v1": 0, "v2": 1000}, ""},
		{"a:v1=30% a:v2=70%", []v3.Version{live("v1", 3), live("v2", 1)}, map[string]int{"v1": 300, "v2": 700}, ""},
		{"a:v1=80% a:v2=70%", []v3.Version{live("v1", 3), live("v2", 1)}, nil, "the percentages add up to more than 100%"},
		{"a:v1=5%", []v3.Version{live("v1", 3)}, nil, "95% would be for nobody: no other version of a has a share"},
		{"a:v1=0.01%", []v3.Version{live("v1", 3)}, nil, "0.01% is less than the smallest share, 0.1%"},
	} {
		_, args, err := parseWeights(strings.Fields(tc.args))
		if err != nil {
			t.Fatal(err)
		}
		got, err := fleet{v3.App{Name: "a"}, tc.all}.percentages(args)
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%s: got %v, want %s", tc.args, err, tc.err)
			}
			continue
		}
		if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", tc.args, err, diff)
		}
	}
}

func TestAge(t *testing.T) {
	for seconds, want := range map[int]string{-1: "0s", 59: "59s", 60: "1m", 3599: "59m", 3600: "1h", 47 * 3600: "47h", 48 * 3600: "2d"} {
		if got := age(time.Duration(seconds) * time.Second); got != want {
			t.Errorf("%d: %s, want %s", seconds, got, want)
		}
	}
}

func TestReorder_FlagsWithAValueThatMayBeLeftOut(t *testing.T) {
	sh := testShell()
	for line, want := range map[string]string{
		"push web --shadow":          "--shadow=true -- web",
		"push web --shadow 20%":      "--shadow=20% -- web",
		"push --shadow 5 web":        "--shadow=5 -- web",
		"push web --shadow -p dir":   "--shadow=true --path=dir -- web",
		"push --shadow=7% web":       "--shadow=7% -- web",
		"push --shadow web --shadow": "--shadow=true --shadow=true -- web",
	} {
		words := strings.Fields(line)
		got, err := reorder(sh.find(words[0]), words[1:])
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, %v, want %s", line, got, err, want)
		}
	}
}

// typed is a weight as it is typed.
func typed(w weightArg) string {
	if w.percent {
		return w.label + "=" + strconv.FormatFloat(w.share, 'g', -1, 64) + "%"
	}
	return w.label + "=" + strconv.Itoa(w.weight)
}
