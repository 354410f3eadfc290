// Command demo serves a chat page whose agent plays a story: make demo-chat.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"whisperops.io/functions/test/chat/world"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	w, err := world.Start(ctx, os.Getenv("CHAT_FRONTEND"), world.Story(40*time.Millisecond), os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1) //nolint:gocritic // nothing runs yet
	}
	defer w.Close()
	fmt.Printf("The page: %s (type e to empty the budget, r to raise it, Ctrl-C to end)\n", w.URL) //nolint:forbidigo // a program for people
	go func() {
		for b := make([]byte, 1); ; {
			if n, err := os.Stdin.Read(b); err != nil || n == 0 {
				return
			}
			switch b[0] {
			case 'e':
				w.Kube.Exhaust()
			case 'r':
				w.Kube.Raise(10)
			}
		}
	}()
	<-ctx.Done()
}
