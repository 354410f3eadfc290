package tokenmeter

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// configMaps keep books, one for each agent with a hard budget, in the meter's
// namespace. Who deletes one makes the meter forget what replicas that are gone
// had spent; those that live write theirs again.
type configMaps struct {
	client    client.Client
	namespace string
}

// bookKey is the key of a book's ConfigMap.
const bookKey = "book.json"

func (c configMaps) key(agent string) client.ObjectKey {
	return client.ObjectKey{Namespace: c.namespace, Name: "token-meter-" + agent}
}

func (c configMaps) Get(ctx context.Context, agent string) (*Book, string, error) {
	cm := &corev1.ConfigMap{}
	err := c.client.Get(ctx, c.key(agent), cm)
	switch {
	case apierrors.IsNotFound(err):
		return nil, "", nil
	case err != nil:
		return nil, "", err
	}
	b := &Book{}
	if err := json.Unmarshal([]byte(cm.Data[bookKey]), b); err != nil {
		return nil, "", fmt.Errorf("cannot read the book of agent %s in ConfigMap %s: %w", agent, c.key(agent), err)
	}
	return b, cm.ResourceVersion, nil
}

func (c configMaps) Put(ctx context.Context, agent string, book Book, version string) (string, error) {
	b, err := json.Marshal(book)
	if err != nil {
		return "", err
	}
	cm := &corev1.ConfigMap{Data: map[string]string{bookKey: string(b)}}
	cm.Name, cm.Namespace, cm.ResourceVersion = c.key(agent).Name, c.namespace, version
	cm.Labels = map[string]string{"app.kubernetes.io/name": "token-meter", "app.kubernetes.io/part-of": "whisperops"}
	if version == "" {
		err = c.client.Create(ctx, cm)
	} else {
		err = c.client.Update(ctx, cm)
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return "", errConflict
	}
	return cm.ResourceVersion, err
}
