// Command gcp stands in for the two Google providers that the suite composes:
// it does to their resources what the real ones would, against a cloud that is a
// file. What it plays: external names, conditions, references, late
// initialisation, a key's private half that is handed out once, silent adoption
// of what exists under a name, refusal of changes to fields that can't change.
package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"whisperops.io/functions/test/standins/actors/controller"
)

// A kind that this stand-in plays.
type kind struct {
	resource schema.GroupVersionResource
	// named by us, through the annotation or the object's name; else by the cloud.
	named bool
	// fixed are the fields that can't change; a change needs a new resource.
	fixed []string
	// late are fields that the provider fills in from the cloud's defaults.
	late map[string]any
	// kept are the fields, beside the fixed ones, that are read back to whoever only looks.
	kept []string
}

const (
	bucket     = "buckets"
	account    = "serviceaccounts"
	accountKey = "serviceaccountkeys"
)

// kinds by the package that holds them, as the real ones are cut.
var kinds = map[string][]kind{
	"provider-gcp-storage": {
		{resource: gvr("storage.gcp.upbound.io", "v1beta2", bucket), named: true, fixed: []string{"location", "project"},
			late: map[string]any{"storageClass": "STANDARD", "rpo": "DEFAULT"}, kept: []string{"labels"}},
		{resource: gvr("storage.gcp.upbound.io", "v1beta2", "bucketiammembers"), fixed: []string{"bucket", "role", "member", "condition"}},
	},
	"provider-gcp-cloudplatform": {
		{resource: gvr("cloudplatform.gcp.upbound.io", "v1beta1", account), named: true, fixed: []string{"project"}, late: map[string]any{"disabled": false}, kept: []string{"description"}},
		{resource: gvr("cloudplatform.gcp.upbound.io", "v1beta1", accountKey), fixed: []string{"serviceAccountId", "keyAlgorithm", "keepers"}},
		{resource: gvr("cloudplatform.gcp.upbound.io", "v1beta2", "projectiammembers"), fixed: []string{"project", "role", "member", "condition"}},
	},
}

func gvr(group, version, resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
}

const (
	finalizer     = "finalizer.managedresource.crossplane.io"
	externalName  = "crossplane.io/external-name"
	createSuccess = "crossplane.io/external-create-succeeded"
	pausedNote    = "crossplane.io/paused"
)

func main() {
	// Crossplane tells each provider its own name.
	name := os.Getenv("PROVIDER_NAME")
	played, known := kinds[name]
	if !known {
		fmt.Fprintf(os.Stderr, "gcp: environment variable PROVIDER_NAME is %q, want provider-gcp-storage or provider-gcp-cloudplatform\n", name)
		os.Exit(2)
	}
	p := &provider{cloud: cloud{file: filepath.Join(os.Getenv("HOME"), "cloud.json")}}
	if err := p.cloud.load(); err != nil {
		fmt.Fprintln(os.Stderr, "gcp: cannot read the cloud:", err)
		os.Exit(1)
	}
	var watches []controller.Watch
	p.kinds = map[schema.GroupVersionResource]kind{}
	for _, k := range played {
		p.kinds[k.resource] = k
		watches = append(watches, controller.Watch{Resource: k.resource})
	}
	controller.Main("gcp", watches, p.look)
}

// The cloud is what outlives the provider's process.
type cloud struct {
	file string
	mu   sync.Mutex
	// Resources by kind and external name; each holds the fields that can't
	// change, and its id.
	Resources map[string]map[string]any
}

func (c *cloud) load() error {
	c.Resources = map[string]map[string]any{}
	b, err := os.ReadFile(c.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, &c.Resources)
}

func (c *cloud) get(key string) (map[string]any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, exists := c.Resources[key]
	return r, exists
}

// put stores a resource, or removes it if it is nil.
func (c *cloud) put(key string, r map[string]any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r == nil {
		delete(c.Resources, key)
	} else {
		c.Resources[key] = r
	}
	b, err := json.Marshal(c.Resources)
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.file+".tmp", b, 0o600); err != nil {
		return err
	}
	return os.Rename(c.file+".tmp", c.file)
}

type provider struct {
	kinds map[schema.GroupVersionResource]kind
	cloud cloud
	// secrets are private keys by external name. The cloud hands each out once,
	// and the provider keeps it in memory only: a restart loses it.
	secrets sync.Map
}

// look brings one resource and the cloud together.
func (p *provider) look(ctx context.Context, c *controller.Controller, key controller.Key) error {
	mr, err := c.Get(ctx, key)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if mr.GetAnnotations()[pausedNote] == "true" {
		return nil
	}
	k := p.kinds[key.Resource]
	if mr.GetDeletionTimestamp() != nil {
		return p.remove(ctx, c, key, mr)
	}
	was := mr.DeepCopy()
	err = p.sync(ctx, c, key, k, mr)
	if errors.Is(err, errWrote) {
		return nil // the write wakes us again
	}
	switch {
	case err != nil:
		controller.SetCondition(mr, "Synced", "False", "ReconcileError", err.Error())
	default:
		controller.SetCondition(mr, "Synced", "True", "ReconcileSuccess", "")
	}
	if !equality.Semantic.DeepEqual(was.Object["status"], mr.Object["status"]) {
		if _, uerr := c.At(key).UpdateStatus(ctx, mr, metav1.UpdateOptions{}); uerr != nil {
			return uerr
		}
	}
	return err
}

var errWrote = errors.New("the object was written")

func (p *provider) sync(ctx context.Context, c *controller.Controller, key controller.Key, k kind, mr *unstructured.Unstructured) error { //nolint:gocognit // one look at one resource, from top to bottom
	before := mr.DeepCopy()
	if !slices.Contains(mr.GetFinalizers(), finalizer) {
		mr.SetFinalizers(append(mr.GetFinalizers(), finalizer))
	}
	if k.named && mr.GetAnnotations()[externalName] == "" {
		annotate(mr, externalName, mr.GetName())
	}
	if err := p.resolve(ctx, c, key, mr); err != nil {
		return err
	}
	name := mr.GetAnnotations()[externalName]
	id := key.Resource.Resource + "/" + name
	res, exists := p.cloud.get(id)
	if !may(mr, "Create", "Update", "LateInitialize", "Delete") { // Observe
		return p.observe(ctx, c, key, name, before, mr)
	}
	if (name == "" || !exists) && !may(mr, "Create") {
		return errors.New("cannot create: managementPolicies don't allow it")
	}
	if name == "" || !exists {
		if name == "" {
			name = token()
			id = key.Resource.Resource + "/" + name
		}
		res = map[string]any{"created": time.Now().UTC().Format(time.RFC3339), "uniqueId": token()}
		for _, f := range k.fixed {
			if v, found, _ := unstructured.NestedFieldNoCopy(mr.Object, "spec", "forProvider", f); found {
				res[f] = v
			}
		}
		keep(k, res, mr)
		if err := p.cloud.put(id, res); err != nil {
			return err
		}
		if key.Resource.Resource == accountKey {
			p.secrets.Store(name, `{"type":"service_account","private_key_id":"`+name+`","private_key":"`+token()+`"}`)
		}
		annotate(mr, externalName, name)
		annotate(mr, createSuccess, time.Now().UTC().Format(time.RFC3339))
	}
	if exists && may(mr, "Update") && keep(k, res, mr) {
		if err := p.cloud.put(id, res); err != nil {
			return err
		}
	}
	for f, v := range k.late {
		if !may(mr, "LateInitialize") {
			break
		}
		if _, found, _ := unstructured.NestedFieldNoCopy(mr.Object, "spec", "forProvider", f); !found {
			controller.Set(mr, v, "spec", "forProvider", f)
		}
	}
	if !equality.Semantic.DeepEqual(before.Object, mr.Object) {
		if _, err := c.At(key).Update(ctx, mr, metav1.UpdateOptions{}); err != nil {
			return err
		}
		return errWrote
	}
	p.report(key, name, res, mr)
	if err := p.publish(ctx, c, key, name, mr); err != nil {
		return err
	}
	return changed(k, res, mr)
}

// may says whether a resource's managementPolicies allow one of some things. None are all.
func may(mr *unstructured.Unstructured, one ...string) bool {
	policies, set, _ := unstructured.NestedStringSlice(mr.Object, "spec", "managementPolicies")
	return !set || slices.ContainsFunc(policies, func(p string) bool { return p == "*" || slices.Contains(one, p) })
}

// keep notes in the cloud what can change, and says whether it did.
func keep(k kind, res map[string]any, mr *unstructured.Unstructured) (changed bool) {
	for _, f := range k.kept {
		v, found, _ := unstructured.NestedFieldCopy(mr.Object, "spec", "forProvider", f)
		if found && !reflect.DeepEqual(normal(res[f]), normal(v)) {
			res[f], changed = v, true
		}
	}
	return changed
}

// observe is for who may only look: nothing is made, changed, filled in or adopted, and
// what isn't there is said in the provider's words.
func (p *provider) observe(ctx context.Context, c *controller.Controller, key controller.Key, name string, before, mr *unstructured.Unstructured) error {
	if !equality.Semantic.DeepEqual(before.Object, mr.Object) { // its name and finalizer
		if _, err := c.At(key).Update(ctx, mr, metav1.UpdateOptions{}); err != nil {
			return err
		}
		return errWrote
	}
	res, exists := p.cloud.get(key.Resource.Resource + "/" + name)
	if name == "" || !exists {
		return errors.New("observe failed: external resource does not exist")
	}
	p.report(key, name, res, mr)
	return nil
}

// changed refuses what the cloud can't change in place.
func changed(k kind, res map[string]any, mr *unstructured.Unstructured) error {
	for _, f := range k.fixed {
		v, found, _ := unstructured.NestedFieldNoCopy(mr.Object, "spec", "forProvider", f)
		if found && !reflect.DeepEqual(normal(res[f]), normal(v)) {
			return fmt.Errorf("refuse to update the external resource because the following update requires replacing it: cannot change the value of the argument %q from %v to %v", f, res[f], v)
		}
	}
	return nil
}

func normal(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // it came from JSON
	}
	return strings.ToLower(string(b)) // locations are compared without regard to case
}

// resolve writes the account's full name where a key refers to the account.
func (p *provider) resolve(ctx context.Context, c *controller.Controller, key controller.Key, mr *unstructured.Unstructured) error {
	ref := controller.Text(mr, "spec", "forProvider", "serviceAccountIdRef", "name")
	if key.Resource.Resource != accountKey || ref == "" || controller.Text(mr, "spec", "forProvider", "serviceAccountId") != "" {
		return nil
	}
	sa, err := c.Get(ctx, controller.Key{Resource: gvr("cloudplatform.gcp.upbound.io", "v1beta1", account), Name: ref})
	if err != nil {
		return fmt.Errorf("cannot resolve references: mg.Spec.ForProvider.ServiceAccountID: cannot get referenced resource: %w", err)
	}
	id := controller.Text(sa, "status", "atProvider", "id")
	if id == "" {
		return errors.New("cannot resolve references: mg.Spec.ForProvider.ServiceAccountID: referenced field was empty (referenced resource may not yet be ready)")
	}
	controller.Set(mr, id, "spec", "forProvider", "serviceAccountId")
	return nil
}

// report says what the provider reads back.
func (p *provider) report(key controller.Key, name string, res map[string]any, mr *unstructured.Unstructured) {
	project, _ := res["project"].(string)
	at := map[string]any{"id": name}
	switch key.Resource.Resource {
	case account:
		email := name + "@" + project + ".iam.gserviceaccount.com"
		at = map[string]any{
			"id": "projects/" + project + "/serviceAccounts/" + email, "name": "projects/" + project + "/serviceAccounts/" + email,
			"email": email, "member": "serviceAccount:" + email, "uniqueId": res["uniqueId"],
		}
	case bucket:
		at["url"] = "gs://" + name
	}
	for _, f := range append(p.kinds[key.Resource].fixed, p.kinds[key.Resource].kept...) {
		if v, known := res[f]; known {
			at[f] = v
		}
	}
	controller.Set(mr, at, "status", "atProvider")
	controller.SetCondition(mr, "Ready", "True", "Available", "")
}

// publish writes the connection Secret. What is no longer in memory is not
// written: the Secret is made empty, or keeps what it has.
func (p *provider) publish(ctx context.Context, c *controller.Controller, key controller.Key, name string, mr *unstructured.Unstructured) error {
	if key.Resource.Resource != accountKey {
		return nil
	}
	secret := controller.Text(mr, "spec", "writeConnectionSecretToRef", "name")
	if secret == "" {
		return nil
	}
	at := controller.Key{Resource: gvr("", "v1", "secrets"), Namespace: controller.Text(mr, "spec", "writeConnectionSecretToRef", "namespace"), Name: secret}
	data := map[string]any{}
	if private, inMemory := p.secrets.Load(name); inMemory {
		plain := base64.StdEncoding.EncodeToString(fmt.Append(nil, private))
		data["private_key"] = plain
		data["attribute.private_key"] = base64.StdEncoding.EncodeToString([]byte(plain))
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "connection.crossplane.io/v1alpha1", "data": data,
		"metadata": map[string]any{"name": secret, "namespace": at.Namespace, "ownerReferences": []any{map[string]any{
			"apiVersion": mr.GetAPIVersion(), "kind": mr.GetKind(), "name": mr.GetName(), "uid": string(mr.GetUID()), "controller": true, "blockOwnerDeletion": true,
		}}},
	}}
	have, err := c.Get(ctx, at)
	if apierrors.IsNotFound(err) {
		_, err = c.At(at).Create(ctx, o, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("cannot create connection secret: %w", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if owner := metav1.GetControllerOf(have); owner != nil && owner.UID != mr.GetUID() {
		// That of a key which went a moment ago: the garbage collector takes it, and a
		// provider doesn't, either.
		return fmt.Errorf("cannot create connection secret: existing secret is not controlled by UID %q", mr.GetUID())
	}
	if len(data) == 0 || controller.Text(have, "data", "private_key") == data["private_key"] {
		return nil
	}
	controller.Set(have, data, "data")
	_, err = c.At(at).Update(ctx, have, metav1.UpdateOptions{})
	return err
}

// remove deletes what the resource stands for, if its policies say so.
func (p *provider) remove(ctx context.Context, c *controller.Controller, key controller.Key, mr *unstructured.Unstructured) error {
	policies, set, _ := unstructured.NestedStringSlice(mr.Object, "spec", "managementPolicies")
	keep := controller.Text(mr, "spec", "deletionPolicy") == "Orphan" || (set && !slices.Contains(policies, "*") && !slices.Contains(policies, "Delete"))
	if name := mr.GetAnnotations()[externalName]; name != "" && !keep {
		if err := p.cloud.put(key.Resource.Resource+"/"+name, nil); err != nil {
			return err
		}
	}
	mr.SetFinalizers(slices.DeleteFunc(mr.GetFinalizers(), func(f string) bool { return f == finalizer }))
	_, err := c.At(key).Update(ctx, mr, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func annotate(o *unstructured.Unstructured, key, value string) {
	a := o.GetAnnotations()
	if a == nil {
		a = map[string]string{}
	}
	a[key] = value
	o.SetAnnotations(a)
}

func token() string {
	b := make([]byte, 10)
	_, _ = rand.Read(b) // never fails; the program would have ended
	return hex.EncodeToString(b)
}
