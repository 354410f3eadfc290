package controlplane

import (
	"context"
	"os"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestMain(m *testing.M) { os.Exit(Isolated(m.Run)) }

// What a controller's tests rely on: objects are stored and survive a crash of
// server and store, and a deleted namespace goes away with its content.
func TestAPIServer(t *testing.T) {
	ctx := t.Context()
	s, err := StartAPIServer(ctx, Options{Dir: t.TempDir(), Log: t.Logf, ControllerManager: true, Audit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	if err := s.ApplyYAML(ctx, `
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b, namespace: a}
data: {k: v}
`); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kube-apiserver", "etcd"} {
		p := s.Process(name)
		p.Kill()
		if p.Alive() {
			t.Fatalf("%s survived its killing", name)
		}
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := Eventually(ctx, time.Minute, "the ConfigMap to be read", func(ctx context.Context) error {
		o, err := s.Get(ctx, "v1", "ConfigMap", "a", "b")
		if err == nil && o.Object["data"].(map[string]any)["k"] != "v" {
			t.Errorf("the ConfigMap lost its data: %v", o.Object)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "v1", "Namespace", "", "a"); err != nil {
		t.Fatal(err)
	}
	if err := Eventually(ctx, time.Minute, "the namespace to go away", func(ctx context.Context) error {
		_, err := s.Get(ctx, "v1", "Namespace", "", "a")
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			return context.DeadlineExceeded
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(s.AuditLog); err != nil || fi.Size() == 0 {
		t.Errorf("want an audit log, got %v, %v", fi, err)
	}
}

func TestNoTool(t *testing.T) {
	_, err := StartAPIServer(t.Context(), Options{Dir: t.TempDir(), Tools: Tools{"ETCD": "/nowhere"}})
	if err == nil || err.Error() != "tool ETCD is missing: run `make tools` at the root of the checkout, which builds it once: stat /nowhere: no such file or directory" {
		t.Errorf("want an error that says which tool is missing and how to get it, got %v", err)
	}
}
