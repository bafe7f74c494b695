package main

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// echo is a WebSocket that sends back what it is sent, in frames of less than
// 64 KiB, and ends when the other side says so.
func echo(open *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer c.Close()
		open.Add(1)
		defer open.Add(-1)
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(key[:]))
		for {
			kind, body, err := readFrame(rw)
			if err != nil {
				return
			}
			frame := append([]byte{0x80 | kind}, byte(len(body)))
			if len(body) > 125 {
				frame = binary.BigEndian.AppendUint16([]byte{0x80 | kind, 126}, uint16(len(body)))
			}
			const closing = 8
			if _, err := c.Write(append(frame, body...)); err != nil || kind == closing {
				return
			}
		}
	}
}

// readFrame reads a frame of a client: those are masked.
func readFrame(r io.Reader) (kind byte, body []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := int(head[1] & 0x7f)
	if size == 126 {
		var long [2]byte
		if _, err := io.ReadFull(r, long[:]); err != nil {
			return 0, nil, err
		}
		size = int(binary.BigEndian.Uint16(long[:]))
	}
	var mask [4]byte
	body = make([]byte, min(size, 1<<16))
	if _, err := io.ReadFull(r, mask[:]); err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	for i := range body {
		body[i] ^= mask[i%4]
	}
	return head[0] & 0xf, body, nil
}

// events is a stream of server-sent events, ten a second, without an end.
func events(label string, open *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		defer open.Add(-1)
		w.Header().Set("Content-Type", "text/event-stream")
		for n := 0; r.Context().Err() == nil; n++ {
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", n, label)
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}
