package datasetwatcher

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
)

// A message wakes the watcher at once, and is acknowledged; a server that fails makes it
// list as often as without notifications, until it is back.
func TestNotifications(t *testing.T) {
	pulls, acked := make(chan struct{}, 100), make(chan []string, 1)
	answers := make(chan func(http.ResponseWriter), 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/v1/projects/p/subscriptions/s:pull"):
			pulls <- struct{}{}
			select {
			case answer := <-answers:
				answer(w)
			case <-r.Context().Done():
			}
		case strings.HasSuffix(r.URL.Path, "/v1/projects/p/subscriptions/s:acknowledge"):
			var body struct {
				AckIDs []string `json:"ackIds"`
			}
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			acked <- body.AckIDs
			_, _ = w.Write([]byte(`{}`))
		default:
			t.Errorf("unexpected request %s", r.URL)
		}
	}))
	t.Cleanup(srv.Close)
	t.Setenv("PUBSUB_EMULATOR_HOST", strings.TrimPrefix(srv.URL, "http://"))
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	n, err := newNotifications(ctx, "projects/p/subscriptions/s", logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{interval: time.Hour, notifications: n}
	done := make(chan struct{})
	go func() { defer close(done); n.listen(ctx) }()

	<-pulls
	answers <- func(w http.ResponseWriter) {
		_, _ = w.Write([]byte(`{"receivedMessages": [{"ackId": "one", "message": {"attributes": {"eventType": "OBJECT_FINALIZE"}}}, {"ackId": "two"}]}`))
	}
	if !w.wait(ctx, true) {
		t.Fatal("the watcher ended instead of waking")
	}
	if ids := <-acked; len(ids) != 2 || ids[0] != "one" || ids[1] != "two" {
		t.Errorf("acknowledged %q", ids)
	}
	if got := w.until(true); got != time.Hour {
		t.Errorf("with notifications the next listing is after %s", got)
	}
	if got := w.until(false); got != retryInterval {
		t.Errorf("after a failed pass the next is after %s", got)
	}

	<-pulls
	answers <- func(w http.ResponseWriter) {
		http.Error(w, `{"error": {"code": 403, "message": "no"}}`, http.StatusForbidden)
	}
	for !n.failing.Load() {
		time.Sleep(time.Millisecond) // until the answer is read; the test's deadline bounds it
	}
	if got := w.until(true); got != retryInterval {
		t.Errorf("without notifications the next listing is after %s", got)
	}
	cancel()
	<-done
	if w.wait(ctx, true) {
		t.Error("a watcher that ends waits no longer")
	}
}
