// Command observe writes the observed.yaml of the agents' stories: it lets the
// pipeline fill the first order and answers as the providers would, pass by
// pass, until all 22 parts are ready. From that world each story takes what it
// is about. `make examples-observed` runs it; a story that it doesn't know is
// left alone.
//
// Wrapped manifests are cut to their identity and status to what a person would
// look at: observed.yaml is to be read.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/examples"
	"whisperops.io/functions/test/pipeline"
)

// A world is what is observed, by composed resource name.
type world map[string]map[string]any

// stories say how each story's world differs from one where everything is ready.
var stories = map[string]func(everything world) world{
	"agent-namespace-ready":         namespaceReady,
	"agent-everything-ready":        func(w world) world { return w },
	"agent-dataset-vanished":        func(w world) world { return w },
	"agent-dataset-swapped":         func(w world) world { return w },
	"agent-dataset-in-other-bucket": func(w world) world { return w },
	"agent-status-lost":             func(w world) world { return w },
	"agent-restored-blind":          restoredBlind,
	"agent-grants-kept":             func(w world) world { return w },
	"agent-key-lost":                func(w world) world { return w },
	"agent-budget-deleted": func(w world) world {
		delete(w, v1alpha1.PartXAgentBudget)
		return w
	},
}

// namespaceReady is a minute after the order: what only has to be written is
// there, what has to start is not yet.
func namespaceReady(w world) world {
	for _, late := range []string{v1alpha1.PartServiceAccountKey, v1alpha1.PartAgentPlanner, v1alpha1.PartXAgentBudget} {
		delete(w, late)
	}
	for part, reason := range map[string]string{
		v1alpha1.PartIAMDatasetsViewer: "Creating",
		v1alpha1.PartIAMBucketAdmin:    "Creating",
		v1alpha1.PartModelConfig:       "Unavailable",
		v1alpha1.PartAgentWorker:       "Unavailable",
		v1alpha1.PartSandboxDeployment: "Unavailable",
		v1alpha1.PartSandboxMCPServer:  "Unavailable",
		v1alpha1.PartChatDeployment:    "Unavailable",
		v1alpha1.PartKyvernoPolicy:     "Unavailable",
	} {
		w[part]["status"] = object{"conditions": conditions("False", reason)}
	}
	return w
}

// restoredBlind is a world whose note of the last valid dataset is gone.
func restoredBlind(w world) world {
	meta, _ := w[v1alpha1.PartPrompts]["metadata"].(object)
	annotations, _ := meta["annotations"].(object)
	delete(annotations, v1alpha1.AnnotationDataset)
	return w
}

type object = map[string]any

func main() {
	texts, err := observe(dir())
	for name, text := range texts {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir(), name, "observed.yaml"), []byte(text), 0o600))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "observe:", err)
		os.Exit(1)
	}
}

// dir is the folder of the stories.
func dir() string { return filepath.Join(pipeline.Root(), "examples") }

// observe returns the text of each story's observed.yaml.
func observe(dir string) (map[string]string, error) {
	texts := map[string]string{}
	for name, change := range stories {
		w, err := grow(filepath.Join(dir, "agent-first-order"))
		if err != nil {
			return nil, errors.Wrap(err, "cannot fill the first order")
		}
		if texts[name], err = document(change(w)); err != nil {
			return nil, errors.Wrapf(err, "cannot write what %s observes", name)
		}
	}
	return texts, nil
}

// maxPasses is more than the gates of the pipeline need.
const maxPasses = 5

// grow fills the order of a story until nothing is held back any more.
func grow(dir string) (world, error) {
	s, err := examples.Read(dir)
	if err != nil {
		return nil, err
	}
	steps, err := pipeline.Agent(pipeline.All())
	if err != nil {
		return nil, err
	}
	w := world{}
	for range maxPasses {
		observed, err := crossplane.Observed(s.XR, slices.Collect(maps.Values(w)), nil)
		if err != nil {
			return nil, err
		}
		res, err := crossplane.Run(context.Background(), steps, observed, s.Required, nil)
		if err != nil {
			return nil, err
		}
		if res.Fatal != "" {
			return nil, errors.New(res.Fatal)
		}
		for name, p := range res.Desired.GetResources() {
			w[name] = provided(name, p.GetResource().AsMap())
		}
		if len(w) == len(v1alpha1.AgentParts()) {
			return w, nil
		}
	}
	return nil, errors.Errorf("after %d passes only %d parts are rendered", maxPasses, len(w))
}

// provided is what a rendered part has become once its provider is done with it.
func provided(name string, part object) object {
	meta, _ := part["metadata"].(object)
	annotations, _ := meta["annotations"].(object)
	if annotations == nil {
		annotations = object{}
		meta["annotations"] = annotations
	}
	annotations[crossplane.NameAnnotation] = name

	spec, _ := part["spec"].(object)
	status := object{"conditions": conditions("True", "Available")}
	switch part["kind"] {
	case "Object":
		forProvider, _ := spec["forProvider"].(object)
		manifest, _ := forProvider["manifest"].(object)
		identity := identityOf(manifest)
		part["spec"] = object{"forProvider": object{"manifest": identity}}
		if name == v1alpha1.PartNamespace {
			seen := identityOf(manifest)
			seen["status"] = object{"phase": "Active"}
			status["atProvider"] = object{"manifest": seen}
		}
	case v1alpha1.KindXAgentBudget:
		spec["enforcement"], spec["period"], spec["warnAtPercent"] = "enabled", "lifetime", []any{80}
		maps.Copy(status, object{
			"spentUsd": 1.46, "ratio": 0.292, "ratioPct": "29.20%", "paused": false, "cause": "running",
			"ledger": object{
				"period": "lifetime", "from": "2026-11-23T08:05:00Z", "mapping": "5f1d7a84c3be2096",
				"asOf": "2026-11-23T09:29:30Z", "settledAt": "2026-11-23T08:30:00Z",
			},
		})
	case "ServiceAccount":
		status["atProvider"] = object{"email": crossplane.Annotation(part, "crossplane.io/external-name") + "@acme-data.iam.gserviceaccount.com"}
	}
	part["status"] = status
	return part
}

// identityOf is what is left of a wrapped manifest.
func identityOf(manifest object) object {
	meta, _ := manifest["metadata"].(object)
	identity := object{"name": meta["name"]}
	if meta["namespace"] != nil {
		identity["namespace"] = meta["namespace"]
	}
	return object{"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": identity}
}

func conditions(ready, reason string) []any {
	return []any{
		object{"type": "Synced", "status": "True", "reason": "ReconcileSuccess", "lastTransitionTime": "2026-11-23T08:04:10Z"},
		object{"type": "Ready", "status": ready, "reason": reason, "lastTransitionTime": "2026-11-23T08:05:00Z"},
	}
}

// document is a world as YAML, each object in the order in which people read it.
func document(w world) (string, error) {
	var b strings.Builder
	b.WriteString("# Written by make examples-observed from what the pipeline renders.\n")
	for i, name := range examples.Order(w) {
		if i > 0 {
			b.WriteString("---\n")
		}
		o := w[name]
		status, _ := o["status"].(object)
		all, _ := status["conditions"].([]any)
		delete(status, "conditions")
		for _, k := range []string{"apiVersion", "kind", "metadata", "spec", "status"} {
			if k == "status" && len(status) == 0 {
				b.WriteString("status:\n")
				continue
			}
			y, err := yaml.Marshal(object{k: o[k]})
			if err != nil {
				return "", err
			}
			b.Write(y)
		}
		b.WriteString("  conditions:\n")
		for _, c := range all {
			c, _ := c.(object)
			fmt.Fprintf(&b, "  - {type: %s, status: %q, reason: %s, lastTransitionTime: %q}\n", c["type"], c["status"], c["reason"], c["lastTransitionTime"])
		}
	}
	return b.String(), nil
}
