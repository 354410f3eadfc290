package ledger

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
)

// A Vacancy says whether an agent's name can be ordered.
type Vacancy struct {
	// RepositoryExists: the repository holds this very order already, from a run that
	// failed halfway. The next step goes on without making it.
	RepositoryExists bool `json:"repositoryExists"`
}

// PushWithin is how long a run has from making a repository to its first push, unless
// somebody says otherwise. Six tries of the scaffolder took a minute on a machine that did
// much else.
const PushWithin = 2 * time.Minute

// Check finds out whether a new order's name is free: repository, namespace and
// order. An error names all that is taken. An order that an earlier run of the same
// form wrote, to the byte, is no obstacle. Nor is a repository without a commit, which
// a run leaves that ended before it could push: it is deleted, because the next step
// makes its own; but not before pushWithin, while whoever made it may be about to push.
func Check(ctx context.Context, c Cluster, r Repository, agentName, file string, order []byte, pushWithin time.Duration) (Vacancy, error) {
	if _, err := decodeOrder(order, agentName); err != nil {
		return Vacancy{}, fmt.Errorf("the order that the form wrote is not one: %w", err)
	}
	v, taken := Vacancy{}, []string{}
	there, err := r.Exists(ctx)
	if err != nil {
		return v, fmt.Errorf("cannot look for the repository: %w", err)
	}
	head := ""
	if there {
		if head, err = r.Head(ctx); err != nil {
			return v, fmt.Errorf("cannot look into the repository: %w", err)
		}
	}
	empty := there && head == ""
	if empty {
		made, err := r.Created(ctx)
		if err != nil {
			return v, fmt.Errorf("cannot look when the repository was made: %w", err)
		}
		if age := time.Since(made); age < pushWithin {
			return v, fmt.Errorf("the repository agent-%s was made %s ago and is empty: another run of this form may be about to write into it; send the form again in %s, or choose another name",
				agentName, age.Round(time.Second), (pushWithin - age).Round(time.Second))
		}
	}
	if there && !empty {
		have, _, err := read(ctx, r, file)
		v.RepositoryExists = err == nil && bytes.Equal(have, order)
		if !v.RepositoryExists {
			taken = append(taken, "the repository agent-"+agentName)
		}
	}
	if !v.RepositoryExists {
		namespace := v1alpha1.AgentNamespace(agentName)
		if _, err := c.Client.Resource(orders).Get(ctx, agentName, metav1.GetOptions{}); err == nil {
			taken = append(taken, "the XDatasetAgent "+agentName)
		} else if !gone(err) {
			return v, fmt.Errorf("cannot look for the order: %w", err)
		}
		if _, err := c.Client.Resource(namespaces).Get(ctx, namespace, metav1.GetOptions{}); err == nil {
			taken = append(taken, "the namespace "+namespace)
		} else if !gone(err) {
			return v, fmt.Errorf("cannot look for the namespace: %w", err)
		}
	}
	if len(taken) > 0 {
		return v, fmt.Errorf("the name %s is taken: %s exists already; choose another one", agentName, strings.Join(taken, " and "))
	}
	if empty {
		if err := r.Delete(ctx); err != nil {
			return v, fmt.Errorf("cannot delete the empty repository agent-%s that a run of this form left: %w", agentName, err)
		}
	}
	return v, nil
}
