// Command shadow-difference says what things cost: a small app whose next
// release is wrong by a cent, now and then, in answers that differ from each
// other anyway.
//
//	GET  /prices/17    {"item":17,"net":…,"gross":…,"currency":"EUR","asked_at":…,"quote":…}
//	GET  /prices       the same for a handful of items, as a list
//	POST /orders/17    takes an order, and says how many there are
//
// ROUNDING=down is the mistake of the next release: it cuts fractions of a
// cent off the gross price instead of rounding it.
package main

import (
	"cmp"
	"encoding/json"
	"log"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

type price struct {
	Item     int64     `json:"item"`
	Net      float64   `json:"net"`
	Gross    float64   `json:"gross"`
	Currency string    `json:"currency"`
	AskedAt  time.Time `json:"asked_at"` // another one in each answer
	Quote    int64     `json:"quote"`    // as well
}

const taxPercent = 19

func main() {
	log.SetFlags(0)
	down := os.Getenv("ROUNDING") == "down"
	var orders atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/prices", http.StatusFound)
	})
	mux.HandleFunc("GET /prices", func(w http.ResponseWriter, r *http.Request) {
		var list []price
		for item := range int64(5) {
			list = append(list, priceOf(item+1, down))
		}
		answer(w, list)
	})
	mux.HandleFunc("GET /prices/{item}", func(w http.ResponseWriter, r *http.Request) {
		item, err := strconv.ParseInt(r.PathValue("item"), 10, 32)
		if err != nil || item < 1 {
			http.Error(w, "no such item", http.StatusNotFound)
			return
		}
		answer(w, priceOf(item, down))
	})
	mux.HandleFunc("POST /orders/{item}", func(w http.ResponseWriter, r *http.Request) {
		log.Printf("order for %s", r.PathValue("item"))
		answer(w, map[string]int64{"orders": orders.Add(1)})
	})
	port := cmp.Or(os.Getenv("PORT"), "8080")
	log.Printf("listens at port %s", port)
	log.Fatal(http.ListenAndServe(":"+port, mux))
}

// priceOf makes up a price that is always the same for an item.
func priceOf(item int64, down bool) price {
	net := item*739%2000 + 50 // cents
	gross := net * (100 + taxPercent)
	if !down {
		gross += 50
	}
	return price{
		Item: item, Net: float64(net) / 100, Gross: float64(gross/100) / 100, Currency: "EUR",
		AskedAt: time.Now(), Quote: rand.Int63n(1_000_000),
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
