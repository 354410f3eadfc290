package datasetwatcher

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"google.golang.org/api/option"
	"google.golang.org/api/pubsub/v1"
)

// notifications tell that something in the bucket changed, by a Pub/Sub subscription to
// which the bucket publishes. What changed is not believed: a listing is the truth, and a
// notification only brings it forward. So one that is lost, late or doubled does no harm.
type notifications struct {
	service      *pubsub.Service
	subscription string // projects/<project>/subscriptions/<name>
	log          logr.Logger

	wake    chan struct{} // at most one: a listing sees all that happened before it
	failing atomic.Bool   // while it is, listings come as often as without notifications
}

var subscriptionName = regexp.MustCompile(`^projects/[^/]+/subscriptions/[^/]+$`)

// newNotifications honours PUBSUB_EMULATOR_HOST.
func newNotifications(ctx context.Context, subscription string, log logr.Logger) (*notifications, error) {
	options := []option.ClientOption{option.WithScopes(pubsub.PubsubScope), option.WithUserAgent("whisperops-dataset-watcher")}
	if host := os.Getenv("PUBSUB_EMULATOR_HOST"); host != "" {
		options = []option.ClientOption{option.WithEndpoint("http://" + host + "/"), option.WithoutAuthentication()}
	}
	s, err := pubsub.NewService(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("cannot use Pub/Sub: %w", err)
	}
	return &notifications{service: s, subscription: subscription, log: log, wake: make(chan struct{}, 1)}, nil
}

const (
	// pulledAtOnce is the most that Pub/Sub hands out in one answer.
	pulledAtOnce = 1000
	// pullRetry is how long a pull that failed is not repeated.
	pullRetry = 15 * time.Second
)

// listen pulls until the context ends. A pull waits on the server's side for a message.
func (n *notifications) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := n.pull(ctx); err != nil && ctx.Err() == nil {
			if !n.failing.Swap(true) {
				n.log.Error(err, "Notifications don't come: the bucket is listed as often as without them")
			}
			sleep(ctx, jittered(pullRetry))
			continue
		}
		if n.failing.Swap(false) {
			n.log.Info("Notifications come again")
		}
	}
}

func (n *notifications) pull(ctx context.Context) error {
	got, err := n.service.Projects.Subscriptions.Pull(n.subscription, &pubsub.PullRequest{MaxMessages: pulledAtOnce}).Context(ctx).Do()
	if err != nil {
		return fmt.Errorf("cannot pull from %s: %w", n.subscription, err)
	}
	if len(got.ReceivedMessages) == 0 {
		return nil
	}
	select {
	case n.wake <- struct{}{}:
	default: // a listing is due already
	}
	ack := &pubsub.AcknowledgeRequest{}
	for _, m := range got.ReceivedMessages {
		ack.AckIds = append(ack.AckIds, m.AckId)
	}
	if _, err := n.service.Projects.Subscriptions.Acknowledge(n.subscription, ack).Context(ctx).Do(); err != nil {
		return fmt.Errorf("cannot acknowledge to %s: %w", n.subscription, err)
	}
	return nil
}
