package ledger

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// wakeSet has an ApplicationSet's controller look at its generators at once.
const wakeSet = `{"metadata":{"annotations":{"argocd.argoproj.io/application-set-refresh":"true"}}}`

// Deliver has Argo CD deliver a new order now, and returns when its Application is there.
// The ApplicationSet that finds the orders' repositories looks once a minute by itself,
// and after an error only minutes later. Without a set of that name somebody else makes
// the Application, and is waited for.
func (c Cluster) Deliver(ctx context.Context, agentName, set string, timeout, poll time.Duration) error {
	woken := false
	for since := time.Now(); ; {
		_, err := c.applications().Get(ctx, ApplicationName(agentName), metav1.GetOptions{})
		if err == nil {
			return nil
		}
		if !gone(err) {
			return fmt.Errorf("cannot look for Application %s: %w", ApplicationName(agentName), err)
		}
		if !woken {
			_, err := c.Client.Resource(sets).Namespace(c.ArgoCDNamespace).Patch(ctx, set, types.MergePatchType, []byte(wakeSet), metav1.PatchOptions{})
			if err != nil && !gone(err) {
				return fmt.Errorf("cannot wake ApplicationSet %s: %w", set, err)
			}
			woken = true
		}
		if time.Since(since) >= timeout {
			return fmt.Errorf("after %s there is no Application %s: the order is in Git, but Argo CD does not deliver it; kubectl describe applicationset %s -n %s says what it found", timeout, ApplicationName(agentName), set, c.ArgoCDNamespace)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}
