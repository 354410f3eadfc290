// Command provider stands in for a model provider that costs money: see its package
// server for what it speaks, and its package mind for what it knows.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"whisperops.io/functions/test/standins/provider/server"
)

func main() {
	address := flag.String("address", "127.0.0.1:8081", "address at which to listen")
	key := flag.String("key", os.Getenv("PROVIDER_KEY"), "key that callers must show; empty takes everybody (env PROVIDER_KEY)")
	delay := flag.Duration("chunk-delay", 20*time.Millisecond, "pause between two pieces of a stream")
	flag.Parse()
	if err := serve(*address, server.Options{Key: *key, ChunkDelay: *delay}); err != nil {
		fmt.Fprintln(os.Stderr, "provider:", err)
		os.Exit(1)
	}
}

func serve(address string, o server.Options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv := &http.Server{Addr: address, Handler: server.New(o), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = srv.Close() // calls in flight are lost, as they are when a provider fails
	}()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
