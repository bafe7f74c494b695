// Flaky answers with its label, and fails or dawdles as often as it is told.
//
//	LABEL       what it answers with
//	ERRORS      the share of requests answered with 500, 0 to 1
//	MEDIAN_MS   the median of its answers' times in ms; 0: at once
//	SIGMA       the spread of log times (default 0.5)
//	TAIL        the share of requests that take TAIL_TIMES as long (default 5)
//
// /slow?for=DURATION holds its answer that long, and /held says how many are
// held now; /page/N answers as /. What fails is logged.
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

func main() {
	label := os.Getenv("LABEL")
	errors, median, sigma := number("ERRORS", 0), number("MEDIAN_MS", 0), number("SIGMA", 0.5)
	tail, times := number("TAIL", 0), number("TAIL_TIMES", 5)
	var held atomic.Int64
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		held.Add(1)
		defer held.Add(-1)
		d, _ := time.ParseDuration(r.FormValue("for"))
		time.Sleep(min(d, time.Minute))
		fmt.Fprint(w, label)
	})
	http.HandleFunc("/held", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, held.Load()) })
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if median > 0 {
			ms := median * math.Exp(sigma*rand.NormFloat64())
			if rand.Float64() < tail {
				ms *= times
			}
			time.Sleep(time.Duration(ms * float64(time.Millisecond)))
		}
		if rand.Float64() < errors {
			fmt.Fprintf(os.Stderr, "%s could not answer %s %s\n", label, r.Method, r.URL.Path)
			http.Error(w, label+" failed", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, label)
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":"+os.Getenv("PORT"), nil))
	os.Exit(1)
}

func number(name string, otherwise float64) float64 {
	if f, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil {
		return f
	}
	return otherwise
}
