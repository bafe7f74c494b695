// Flaky answers with its label, and fails or dawdles as often as it is told.
//
//	LABEL       what it answers with
//	ERRORS      the share of requests answered with 500, 0 to 1
//	MEDIAN_MS   the median of its answers' times in ms; 0: at once
//	SIGMA       the spread of log times (default 0.5)
//
// /slow?for=DURATION holds its answer that long; /page/N answers as /.
package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	label := os.Getenv("LABEL")
	errors, median, sigma := number("ERRORS", 0), number("MEDIAN_MS", 0), number("SIGMA", 0.5)
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.FormValue("for"))
		time.Sleep(min(d, time.Minute))
		fmt.Fprint(w, label)
	})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if median > 0 {
			time.Sleep(time.Duration(median * math.Exp(sigma*rand.NormFloat64()) * float64(time.Millisecond)))
		}
		if rand.Float64() < errors {
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
