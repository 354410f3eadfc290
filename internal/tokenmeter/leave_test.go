package tokenmeter

import (
	"context"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"

	"whisperops.io/functions/apis/v1alpha1"
)

// A call that waits for money of a hard budget waits no longer than its caller does,
// and takes nothing along.
func TestAWaitEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, _, err := OpenJournal("")
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close() //nolint:errcheck // it is in memory
		tr := newTreasury(&memoryBooks{books: map[string]Book{}, turns: map[string]int{}}, "meter-0", j, time.Hour, logr.Discard(), time.Now)
		b := Budget{Agent: "bot", UID: "u", Cap: usdOf(1), Enforced: true, Period: v1alpha1.PeriodLifetime, Mode: ModeHard}
		first, refused := tr.reserve(t.Context(), nil, b, usdOf(0.9))
		if refused != nil {
			t.Fatal(refused.message)
		}
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, leave)
		began := time.Now()
		h, refused := tr.reserve(ctx, nil, b, usdOf(0.5))
		if h != nil || refused == nil || refused.reason != "left" {
			t.Errorf("a call whose caller left got %+v, %+v", h, refused)
		}
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("its caller left after a minute, and it waited %s", waited)
		}
		first.settle(0)
		if all, refused := tr.reserve(t.Context(), nil, b, usdOf(1)); refused != nil {
			t.Errorf("the money of whoever left is gone: %s", refused.message)
		} else {
			all.settle(0)
		}
		tr.close()
		time.Sleep(time.Minute) // of the bubble's clock: what was lent is given back
	})
}

// A meter that can't begin leaves nothing open: neither its first port nor its journal.
func TestAFailedStartLeavesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // a test's
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close() // for the meter
	port := func(a string) int {
		_, p, err := net.SplitHostPort(a)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(p)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	dir := t.TempDir()
	_, err = NewServer(Flags{Host: "127.0.0.1", Port: port(address), MetricsPort: port(taken.Addr().String()), Journal: dir, Limits: Limits{DrainCalls: 1}}, logr.Discard())
	if err == nil {
		t.Fatal("the port for metrics was taken")
	}
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("the port for calls is still taken after %v", err)
	}
	_ = again.Close() // it was free
	j, broken, err := OpenJournal(dir)
	if err != nil || broken {
		t.Fatalf("the journal is still open: %v, broken: %v", err, broken)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}
