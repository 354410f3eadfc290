package main

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Who gives a command knows when it was carried out, and sees the end of the process by
// the connection.
func TestObey(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	if c := tell(socket, stopCommand); c != nil {
		t.Fatal("want nobody to listen yet")
	}
	end(socket) // ended already: returns
	told := make(chan string, 3)
	if err := obey(socket, map[string]func(){
		watcherCommand: func() { told <- watcherCommand },
		stopCommand:    func() { told <- stopCommand },
	}); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{watcherCommand, stopCommand, watcherCommand} {
		c := tell(socket, command)
		if c == nil {
			t.Fatalf("want %q to be carried out, nobody listens", command)
		}
		select {
		case got := <-told:
			if got != command {
				t.Errorf("want %q, got %q", command, got)
			}
		default:
			t.Errorf("%q was not carried out when tell returned", command)
		}
		// The connection stays open: its end is the process's.
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%q: want the connection to stay open, got %v", command, err)
		}
		_ = c.Close()
	}
	// An unknown command is not answered, and harms nothing.
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "dance\n"); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}
