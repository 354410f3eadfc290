package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/internal/gitea"
)

// OrderFile is where an order's repository holds the order.
const OrderFile = "manifests/xdatasetagent.yaml"

// A Repository holds one order. gitea.Client implements it.
type Repository interface {
	// Head returns the id of the branch's last commit, or "" while the repository is empty.
	Head(ctx context.Context) (string, error)
	// Tree returns the SHA of each file directly in a folder at a commit, by path.
	Tree(ctx context.Context, commit, folder string) (map[string]string, error)
	// Blob returns a file by its SHA.
	Blob(ctx context.Context, sha string) ([]byte, error)
	// Commit makes all changes or none. It returns gitea.ErrConflict if a file is
	// not what a change says it is.
	Commit(ctx context.Context, message string, changes []gitea.Change) error
	// Exists says whether the repository is there.
	Exists(ctx context.Context) (bool, error)
	// Created is when the repository was made.
	Created(ctx context.Context) (time.Time, error)
	// Delete deletes the whole repository; one that is not there counts as deleted.
	Delete(ctx context.Context) error
}

// writers is how many others may commit in between before a change gives up.
const writers = 8

// Commit changes an order in its repository by one commit, and says whether there
// was anything to change. It reads the file, edits it and replaces what it has read;
// when somebody else was quicker it starts anew, so that both changes are kept. Who
// was quicker with the very same field wins: the error says so, and nothing is written.
func Commit(ctx context.Context, r Repository, agentName, file, message string, changes ...Change) (bool, error) {
	first := map[string]any{}
	for attempt := range writers {
		changed, err := commitOnce(ctx, r, agentName, file, message, changes, first)
		if !errors.Is(err, gitea.ErrConflict) {
			return changed, err
		}
		if attempt == writers-1 {
			return false, fmt.Errorf("%d others wrote the repository in between, nothing was changed: try again: %w", writers, err)
		}
		// The losers of a race would race again at the same instant.
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(jitter(attempt)):
		}
	}
	return false, nil
}

// commitOnce keeps in first what the order said when it was read for the first time.
func commitOnce(ctx context.Context, r Repository, agentName, file, message string, changes []Change, first map[string]any) (bool, error) {
	before, sha, err := read(ctx, r, file)
	if err != nil {
		return false, err
	}
	now, err := decodeOrder(before, agentName)
	if err != nil {
		return false, fmt.Errorf("%s: %w", file, err)
	}
	if len(first) == 0 {
		maps.Copy(first, now)
	}
	if err := overtaken(first, now, changes); err != nil {
		return false, err
	}
	after, changed, err := Edit(before, agentName, changes...)
	if err != nil {
		return false, fmt.Errorf("%s: %w", file, err)
	}
	// Gitea makes an empty commit of identical content.
	if !changed {
		return false, nil
	}
	if message == "" {
		message = defaultMessage(agentName, changes)
	}
	return true, r.Commit(ctx, message, []gitea.Change{{Path: file, Before: sha, After: after}})
}

// overtaken returns an error if somebody has given one of the fields another value, and
// not the wanted one, since the order was first read: who asked for the change has not
// seen that, and would undo it unawares.
func overtaken(first, now map[string]any, changes []Change) error {
	for _, c := range changes {
		want, err := c.decode()
		if err != nil {
			return err
		}
		at := append([]string{"spec"}, strings.Split(c.Field, ".")...)
		was, _, _ := unstructured.NestedFieldNoCopy(first, at...)
		is, _, _ := unstructured.NestedFieldNoCopy(now, at...)
		if !reflect.DeepEqual(normal(was), normal(is)) && !reflect.DeepEqual(normal(is), normal(want)) {
			return fmt.Errorf("somebody else set %s to %s at the same moment, and was quicker; it was %s: nothing was written; run this again if it is to be %s", c.Field, word(is), word(was), c.Value)
		}
	}
	return nil
}

// word is a value as a person reads it.
func word(v any) string {
	if v == nil {
		return "not set"
	}
	return fmt.Sprint(v)
}

func read(ctx context.Context, r Repository, file string) ([]byte, string, error) {
	head, err := r.Head(ctx)
	if err != nil {
		return nil, "", err
	}
	if head == "" {
		return nil, "", errors.New("the repository is empty: it holds no order")
	}
	files, err := r.Tree(ctx, head, strings.Trim(path.Dir(file), "."))
	if err != nil {
		return nil, "", err
	}
	sha, ok := files[file]
	if !ok {
		return nil, "", fmt.Errorf("the repository has no file %s: it holds no order", file)
	}
	data, err := r.Blob(ctx, sha)
	return data, sha, err
}

func defaultMessage(agentName string, changes []Change) string {
	what := make([]string, len(changes))
	for i, c := range changes {
		// A description may be long, and is no headline.
		if what[i] = c.Field; c.Field != "description" {
			what[i] += " " + c.Value
		}
	}
	return agentName + ": " + strings.Join(what, ", ")
}
