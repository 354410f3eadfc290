// Package examples reads the stories of the folder examples/ and says what
// came out of them: in process from its tests, and out of the Crossplane CLI
// from `make render`. examples/README.md describes the files of a story.
package examples

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/crossplane"
)

// A Story is a folder of examples/.
type Story struct {
	Name string // of the folder
	Dir  string

	XR       map[string]any
	Observed []map[string]any
	Required []map[string]any

	// Inputs by step, laid over those of the Composition: what this story's
	// platform team would have set.
	Inputs map[string]map[string]any

	// Steps of other people that this story's platform team has put into the pipeline, in
	// the order in which they are put there.
	Steps []Step

	// Prometheus is what a budget's story finds there, and when; nil for others.
	Prometheus *Recording

	Want Outcome
}

// A Step is an entry of a Composition's pipeline, and where it goes: behind another one.
type Step struct {
	Behind      string         `json:"behind"`
	Step        string         `json:"step"`
	FunctionRef map[string]any `json:"functionRef"`
	Input       map[string]any `json:"input,omitempty"`
}

// All reads every story below dir, sorted by name.
func All(dir string) ([]*Story, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.Wrap(err, "cannot list stories")
	}
	var all []*Story
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), "xr.yaml")); err != nil {
			continue // examples/garage holds no order
		}
		s, err := Read(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, errors.Wrapf(err, "cannot read story %q", e.Name())
		}
		all = append(all, s)
	}
	return all, nil
}

// Read reads the story in a folder. A missing want.yaml wants nothing.
func Read(dir string) (*Story, error) {
	s := &Story{Name: filepath.Base(dir), Dir: dir}
	if _, err := crossplane.ReadYAML(filepath.Join(dir, "xr.yaml"), &s.XR); err != nil {
		return nil, err
	}
	var err error
	if s.Observed, err = crossplane.ReadDocuments(filepath.Join(dir, "observed.yaml")); err != nil {
		return nil, errors.Wrap(err, "cannot read observed.yaml")
	}
	if s.Required, err = crossplane.ReadDocuments(filepath.Join(dir, "required.yaml")); err != nil {
		return nil, errors.Wrap(err, "cannot read required.yaml")
	}
	if _, err := crossplane.ReadYAML(filepath.Join(dir, "inputs.yaml"), &s.Inputs); err != nil {
		return nil, err
	}
	if _, err := crossplane.ReadYAML(filepath.Join(dir, "steps.yaml"), &s.Steps); err != nil {
		return nil, err
	}
	r := &Recording{}
	if ok, err := crossplane.ReadYAML(filepath.Join(dir, "prometheus.yaml"), r); err != nil {
		return nil, err
	} else if ok {
		s.Prometheus = r
	}
	if _, err := crossplane.ReadYAML(filepath.Join(dir, "want.yaml"), &s.Want); err != nil {
		return nil, err
	}
	return s, nil
}

// Kind of the story's XR.
func (s *Story) Kind() string { k, _ := s.XR["kind"].(string); return k }

// XRName is the name of the story's XR, with its namespace if it has one.
func (s *Story) XRName() string {
	if ns := field(s.XR, "metadata", "namespace"); ns != "" {
		return ns + "/" + field(s.XR, "metadata", "name")
	}
	return field(s.XR, "metadata", "name")
}

// Composition returns the file of the Composition that fills the story's XR: the
// story's own where somebody else's kind is its matter, else that below root.
func (s *Story) Composition(root string) string {
	if s.foreign() {
		return filepath.Join(s.Dir, "composition.yaml")
	}
	return filepath.Join(root, "package", "compositions", strings.ToLower(s.Kind())+".yaml")
}

// XRD returns the file of the XRD that defines the story's XR.
func (s *Story) XRD(root string) string {
	if s.foreign() {
		return filepath.Join(s.Dir, "xrd.yaml")
	}
	return filepath.Join(root, "package", "xrds", "zz_generated."+strings.ToLower(s.Kind())+"s.yaml")
}

// foreign says whether the story brings a kind of its own.
func (s *Story) foreign() bool {
	_, err := os.Stat(filepath.Join(s.Dir, "xrd.yaml"))
	return err == nil
}

// WithInputs returns the Composition in file with the story's inputs and steps. changed says
// whether that is another text than the file's.
func (s *Story) WithInputs(file string) (text []byte, changed bool, err error) {
	text, err = os.ReadFile(file)
	if err != nil {
		return nil, false, errors.Wrap(err, "cannot read Composition")
	}
	if len(s.Inputs) == 0 && len(s.Steps) == 0 {
		return text, false, nil
	}
	var comp map[string]any
	if err := yaml.Unmarshal(text, &comp); err != nil {
		return nil, false, errors.Wrapf(err, "cannot read Composition %s", file)
	}
	for step, in := range s.Inputs {
		if err := setInput(comp, step, in); err != nil {
			return nil, false, errors.Wrapf(err, "cannot set inputs in %s", file)
		}
	}
	for _, step := range s.Steps {
		if err := addStep(comp, step); err != nil {
			return nil, false, errors.Wrapf(err, "cannot add step %q to %s", step.Step, file)
		}
	}
	text, err = yaml.Marshal(comp)
	return text, true, err
}

func addStep(comp map[string]any, step Step) error {
	spec, _ := comp["spec"].(map[string]any)
	pipeline, _ := spec["pipeline"].([]any)
	i := slices.IndexFunc(pipeline, func(p any) bool {
		m, _ := p.(map[string]any)
		return m["step"] == step.Behind
	})
	if i < 0 {
		return errors.Errorf("there is no step %q to put it behind", step.Behind)
	}
	added := map[string]any{"step": step.Step, "functionRef": step.FunctionRef}
	if step.Input != nil {
		added["input"] = step.Input
	}
	spec["pipeline"] = slices.Insert(pipeline, i+1, any(added))
	return nil
}

func setInput(comp map[string]any, step string, in map[string]any) error {
	spec, _ := comp["spec"].(map[string]any)
	pipeline, _ := spec["pipeline"].([]any)
	for _, p := range pipeline {
		p, _ := p.(map[string]any)
		if p["step"] == step {
			old, _ := p["input"].(map[string]any)
			p["input"] = merge(old, in)
			return nil
		}
	}
	return errors.Errorf("there is no step %q", step)
}

// merge returns base with over laid on it, map by map.
func merge(base, over map[string]any) map[string]any {
	out := map[string]any{}
	maps.Copy(out, base)
	for k, v := range over {
		if m, ok := v.(map[string]any); ok {
			b, _ := out[k].(map[string]any)
			v = merge(b, m)
		}
		out[k] = v
	}
	return out
}

// Connection returns the connection details of the story's observed parts:
// composed resource name, key, value. As in a cluster they come from the
// Secret that the part writes to.
func (s *Story) Connection() (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	for _, o := range s.Observed {
		name := field(o, "spec", "writeConnectionSecretToRef", "name")
		if name == "" {
			continue
		}
		namespace := field(o, "metadata", "namespace")
		if namespace == "" {
			namespace = field(o, "spec", "writeConnectionSecretToRef", "namespace")
		}
		i := slices.IndexFunc(s.Required, func(r map[string]any) bool {
			return r["kind"] == "Secret" && field(r, "metadata", "name") == name && field(r, "metadata", "namespace") == namespace
		})
		if i < 0 {
			continue
		}
		var secret struct {
			Data map[string][]byte `json:"data"`
		}
		if err := crossplane.Convert(s.Required[i], &secret); err != nil {
			return nil, errors.Wrapf(err, "cannot read Secret %q", name)
		}
		details := map[string]string{}
		for k, v := range secret.Data {
			details[k] = string(v)
		}
		out[crossplane.Annotation(o, crossplane.NameAnnotation)] = details
	}
	return out, nil
}

// field returns the string at a path of map keys, or "".
func field(o map[string]any, path ...string) string {
	for _, k := range path[:len(path)-1] {
		o, _ = o[k].(map[string]any)
	}
	v, _ := o[path[len(path)-1]].(string)
	return v
}
