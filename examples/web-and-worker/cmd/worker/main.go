// Command worker is a process without a port: it works until it is stopped.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		fmt.Printf("worker %s did piece %d\n", os.Getenv("CF_INSTANCE_INDEX"), n)
		select {
		case <-tick.C:
		case <-stop:
			fmt.Println("worker stops")
			return
		}
	}
}
