package datasetwatcher

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/test/datasetwatcher/world"
)

// pubSub stands in for Pub/Sub: a pull waits for a change, as Google's does.
type pubSub struct {
	*httptest.Server

	changes chan struct{}
	acked   atomic.Int64
}

func newPubSub(t *testing.T) *pubSub {
	t.Helper()
	p := &pubSub{changes: make(chan struct{}, 100)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]any{}
		if strings.HasSuffix(r.URL.Path, ":pull") {
			select {
			case <-p.changes:
				answer["receivedMessages"] = []map[string]any{{"ackId": "x", "message": map[string]any{"attributes": map[string]string{"eventType": "OBJECT_FINALIZE"}}}}
			case <-r.Context().Done():
				return
			}
		} else {
			p.acked.Add(1)
		}
		_ = json.NewEncoder(w).Encode(answer) // who left doesn't hear it
	}))
	t.Cleanup(p.CloseClientConnections)
	return p
}

// With notifications a change is seen within two seconds, though the bucket is listed
// every ten minutes; a folder that somebody marks becomes one dataset, whatever its files
// do.
func TestNotificationsAndFolders(t *testing.T) {
	w := start(t, false)
	ctx := t.Context()
	p := newPubSub(t)
	w.PubSub = strings.TrimPrefix(p.URL, "http://")
	must(t, w.Upload(ctx, "first.csv", houses))
	watch(t, w, "watcher", "--notifications", "projects/p/subscriptions/s", "--interval", "10m", "--remove-after", "1")
	await(t, w, "first")

	names, took := []string{"first"}, []time.Duration{}
	for i := range 10 {
		names = append(names, fmt.Sprintf("new-%d", i))
		must(t, w.Upload(ctx, names[len(names)-1]+".csv", houses))
		began := time.Now()
		p.changes <- struct{}{}
		slices.Sort(names)
		await(t, w, strings.Join(names, " "))
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("seen after %s at best, %s in the middle, %s at worst", took[0], took[len(took)/2], took[len(took)-1])
	if took[0] > 2*time.Second {
		t.Errorf("want a change seen within 2 s, got %s", took)
	}

	all := func(more ...string) string {
		return strings.Join(slices.Sorted(slices.Values(append(more, names...))), " ")
	}
	must(t,
		w.Upload(ctx, "sales/part-0.csv", houses),
		w.Upload(ctx, "sales/part-1.csv", houses, "dataset", "folder", "display-name", "Sales"),
		w.Upload(ctx, "sales/_SUCCESS", ""),
	)
	p.changes <- struct{}{}
	await(t, w, all("sales"))
	folder := func(want string, files int64) {
		t.Helper()
		must(t, controlplane.Eventually(ctx, soon, "sales to be "+want, func(ctx context.Context) error {
			o, err := w.Get(ctx, "whisperops.io/v1alpha1", "XDataset", "", "sales")
			if err != nil {
				return err
			}
			status, reason, message := controlplane.Condition(o, "Ready")
			s, _ := o.Object["status"].(map[string]any)
			if got := status + "/" + reason; got != want || s["files"] != files {
				return fmt.Errorf("it is %s (%s) with %v files", got, message, s["files"])
			}
			return nil
		}))
	}
	folder("True/Available", 2)
	must(t, w.Upload(ctx, "sales/part-2.csv", "other,columns\n1,2\n"))
	p.changes <- struct{}{}
	folder("False/ColumnsDiffer", 3)
	// The mark goes with the file that carried it, and the folder stays one dataset.
	must(t, w.Remove(ctx, "sales/part-2.csv"), w.Remove(ctx, "sales/part-1.csv"))
	p.changes <- struct{}{}
	folder("True/Available", 1)
	must(t, controlplane.Eventually(ctx, soon, "an event to tell that files vanished", func(ctx context.Context) error {
		events, err := w.Kubectl(ctx, "-n", world.Namespace, "get", "events")
		if err == nil && !strings.Contains(events, "FilesVanished") {
			err = fmt.Errorf("there are: %s", events)
		}
		return err
	}))
	must(t, w.Upload(ctx, "sales/part-3.csv.gz", "x"))
	p.changes <- struct{}{}
	folder("False/FolderUnusable", 1)
	if p.acked.Load() == 0 {
		t.Error("no notification was acknowledged")
	}
}
