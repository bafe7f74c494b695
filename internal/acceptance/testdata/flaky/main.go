// Flaky answers with its label, and fails or dawdles as often as it is told.
//
//	LABEL       what it answers with
//	ERRORS      the share of requests answered with 500, 0 to 1
//	MEDIAN_MS   the median of its answers' times in ms; 0: at once
//	SIGMA       the spread of log times (default 0.5)
//	TAIL        the share of requests that take TAIL_TIMES as long (default 5)
//
// /set?ERRORS=0.1 tells it anew. /slow?for=DURATION holds its answer that long,
// and /held says how many are held now; /page/N answers as /. /ws is a
// WebSocket that echoes, /events a stream without an end; they are held too.
// What fails is logged.
package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// knobs are what it is told.
type knobs struct{ errors, median, sigma, tail, times float64 }

func main() {
	label := os.Getenv("LABEL")
	var told atomic.Pointer[knobs]
	told.Store(read(os.Getenv, knobs{sigma: 0.5, times: 5}))
	var held atomic.Int64
	http.HandleFunc("/set", func(w http.ResponseWriter, r *http.Request) {
		told.Store(read(r.FormValue, *told.Load()))
		fmt.Fprint(w, label)
	})
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		held.Add(1)
		defer held.Add(-1)
		d, _ := time.ParseDuration(r.FormValue("for"))
		time.Sleep(min(d, 2*time.Minute))
		fmt.Fprint(w, label)
	})
	http.HandleFunc("/ws", echo(&held))
	http.HandleFunc("/events", events(label, &held))
	http.HandleFunc("/held", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, held.Load()) })
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		k := told.Load()
		if k.median > 0 {
			ms := k.median * math.Exp(k.sigma*rand.NormFloat64())
			if rand.Float64() < k.tail {
				ms *= k.times
			}
			time.Sleep(time.Duration(ms * float64(time.Millisecond)))
		}
		if rand.Float64() < k.errors {
			fmt.Fprintf(os.Stderr, "%s could not answer %s %s\n", label, r.Method, r.URL.Path)
			http.Error(w, label+" failed", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, label)
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":"+os.Getenv("PORT"), nil))
	os.Exit(1)
}

// read changes the knobs that value has a number for.
func read(value func(name string) string, k knobs) *knobs {
	for name, knob := range map[string]*float64{
		"ERRORS": &k.errors, "MEDIAN_MS": &k.median, "SIGMA": &k.sigma, "TAIL": &k.tail, "TAIL_TIMES": &k.times,
	} {
		if f, err := strconv.ParseFloat(value(name), 64); err == nil {
			*knob = f
		}
	}
	return &k
}
