package main

import (
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"

	"whisperops.io/functions/test/standins/actors/controller"
)

func playing(t *testing.T, file string) *provider {
	t.Helper()
	p := &provider{cloud: cloud{file: file}, kinds: map[schema.GroupVersionResource]kind{}}
	if err := p.cloud.load(); err != nil {
		t.Fatal(err)
	}
	for _, ks := range kinds {
		for _, k := range ks {
			p.kinds[k.resource] = k
		}
	}
	return p
}

// settle looks at an object until it is as the provider wants it.
func settle(t *testing.T, p *provider, c *controller.Controller, k controller.Key) *unstructured.Unstructured {
	t.Helper()
	var err error
	for range 4 {
		err = p.look(t.Context(), c, k)
	}
	o, gerr := c.Get(t.Context(), k)
	if gerr != nil {
		t.Fatalf("%v, %v", gerr, err)
	}
	return o
}

func synced(o *unstructured.Unstructured) string {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range list {
		if m := c.(map[string]any); m["type"] == "Synced" {
			return m["status"].(string) + " " + m["message"].(string)
		}
	}
	return ""
}

func object(t *testing.T, k controller.Key, apiVersion, kind, spec string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON([]byte(`{"apiVersion":"` + apiVersion + `","kind":"` + kind + `","metadata":{"name":"` + k.Name + `"},"spec":` + spec + `}`)); err != nil {
		t.Fatal(err)
	}
	return o
}

// playground holds one object. It is created, not preset: the fake client guesses
// plurals, and guesses that of "key" wrong.
func playground(t *testing.T, k controller.Key, o *unstructured.Unstructured) *controller.Controller {
	t.Helper()
	c := &controller.Controller{Client: fake.NewSimpleDynamicClient(runtime.NewScheme())}
	if _, err := c.At(k).Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// A private key is handed out once: a provider that was restarted has none left
// to write, and says Ready all the same.
func TestKeyIsHandedOutOnce(t *testing.T) {
	k := controller.Key{Resource: gvr("cloudplatform.gcp.upbound.io", "v1beta1", accountKey), Name: "key"}
	secret := controller.Key{Resource: gvr("", "v1", "secrets"), Namespace: "ns", Name: "creds"}
	c := playground(t, k, object(t, k, "cloudplatform.gcp.upbound.io/v1beta1", "ServiceAccountKey",
		`{"forProvider":{"serviceAccountId":"a"},"writeConnectionSecretToRef":{"name":"creds","namespace":"ns"}}`))
	file := filepath.Join(t.TempDir(), "cloud.json")
	first := settle(t, playing(t, file), c, k)
	if s, err := c.Get(t.Context(), secret); err != nil || controller.Text(s, "data", "private_key") == "" {
		t.Fatalf("want a Secret with the private key, got %v, %v", s, err)
	}
	if err := c.At(secret).Delete(t.Context(), "creds", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	second := settle(t, playing(t, file), c, k)
	s, err := c.Get(t.Context(), secret)
	if err != nil || controller.Text(s, "data", "private_key") != "" {
		t.Errorf("want an empty Secret after a restart, got %v, %v", s, err)
	}
	if !strings.HasPrefix(synced(second), "True") || second.GetAnnotations()[externalName] != first.GetAnnotations()[externalName] {
		t.Errorf("want the same key, in sync, got %q and %v", synced(second), second.GetAnnotations())
	}
}

// What exists under a name is adopted without a word, and what can't change is refused.
func TestAdoptedAndFixed(t *testing.T) {
	k := controller.Key{Resource: gvr("storage.gcp.upbound.io", "v1beta2", bucket), Name: "b"}
	c := playground(t, k, object(t, k, "storage.gcp.upbound.io/v1beta2", "Bucket",
		`{"forProvider":{"location":"EU","project":"p"}}`))
	p := playing(t, filepath.Join(t.TempDir(), "cloud.json"))
	if err := p.cloud.put("buckets/b", map[string]any{"location": "eu", "project": "p"}); err != nil {
		t.Fatal(err)
	}
	o := settle(t, p, c, k)
	if !strings.HasPrefix(synced(o), "True") || controller.Text(o, "spec", "forProvider", "storageClass") != "STANDARD" {
		t.Errorf("want the bucket adopted and its defaults filled in, got %q: %v", synced(o), o.Object["spec"])
	}
	controller.Set(o, "US", "spec", "forProvider", "location")
	if _, err := c.At(k).Update(t.Context(), o, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if o = settle(t, p, c, k); !strings.Contains(synced(o), "refuse to update") {
		t.Errorf("want another location refused, got %q", synced(o))
	}
}

// Who may only look makes, changes and deletes nothing, and reads what is there.
func TestObserveOnly(t *testing.T) {
	k := controller.Key{Resource: gvr("storage.gcp.upbound.io", "v1beta2", bucket), Name: "b"}
	c := playground(t, k, object(t, k, "storage.gcp.upbound.io/v1beta2", "Bucket",
		`{"managementPolicies":["Observe"],"forProvider":{"location":"EU","project":"p","labels":{"whisperops-order-uid":"ours"}}}`))
	p := playing(t, filepath.Join(t.TempDir(), "cloud.json"))
	o := settle(t, p, c, k)
	if !strings.Contains(synced(o), "external resource does not exist") || len(p.cloud.Resources) != 0 || o.GetAnnotations()[createSuccess] != "" {
		t.Fatalf("want nothing made and that said, got %q, %v", synced(o), p.cloud.Resources)
	}
	theirs := map[string]any{"location": "US", "project": "p", "labels": map[string]any{"team": "acme"}}
	if err := p.cloud.put("buckets/b", theirs); err != nil {
		t.Fatal(err)
	}
	o = settle(t, p, c, k)
	if !strings.HasPrefix(synced(o), "True") || controller.Text(o, "status", "atProvider", "labels", "team") != "acme" || controller.Text(o, "spec", "forProvider", "storageClass") != "" {
		t.Errorf("want the bucket read and nothing filled in, got %q: %v", synced(o), o.Object)
	}
	if err := p.remove(t.Context(), c, k, o); err != nil {
		t.Fatal(err)
	}
	if r := p.cloud.Resources["buckets/b"]; r == nil || r["labels"].(map[string]any)["team"] != "acme" || r["location"] != "US" {
		t.Errorf("want the bucket as it was, got %v", r)
	}
}

// What carries our labels may be changed, and says so when it is read back.
func TestLabelsAreReadBack(t *testing.T) {
	k := controller.Key{Resource: gvr("storage.gcp.upbound.io", "v1beta2", bucket), Name: "b"}
	c := playground(t, k, object(t, k, "storage.gcp.upbound.io/v1beta2", "Bucket",
		`{"forProvider":{"location":"EU","project":"p","labels":{"whisperops-order-uid":"ours"}}}`))
	p := playing(t, filepath.Join(t.TempDir(), "cloud.json"))
	o := settle(t, p, c, k)
	if got := controller.Text(o, "status", "atProvider", "labels", "whisperops-order-uid"); got != "ours" || o.GetAnnotations()[createSuccess] == "" {
		t.Errorf("want the labels of what was made, got %q: %v", got, o.Object)
	}
}
