// Package steps stands in for functions of other people: it does with a story's input what
// was seen of the real ones (docs/replace-a-station.md), and refuses what it doesn't know.
package steps

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"sigs.k8s.io/yaml"

	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/crossplane"
)

// All are the stand-ins by the names of the functions for which they stand in.
func All() map[string]fnv1.FunctionRunnerServiceServer {
	return map[string]fnv1.FunctionRunnerServiceServer{
		"function-go-templating":       step{run: inline},
		"function-sequencer":           step{run: sequence},
		"function-deletion-protection": step{run: protect},
	}
}

// A step changes what is desired as its input says.
type step struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	run func(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, input map[string]any) error
}

// RunFunction calls the step, with a TTL of a minute as every function of others.
func (s step) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	rsp := response.To(req, response.DefaultTTL)
	if rsp.GetDesired() == nil {
		rsp.Desired = &fnv1.State{}
	}
	if rsp.GetDesired().GetResources() == nil {
		rsp.Desired.Resources = map[string]*fnv1.Resource{}
	}
	if err := s.run(req, rsp, req.GetInput().AsMap()); err != nil {
		response.Fatal(rsp, err)
	}
	return rsp, nil
}

// known refuses an input with a field that a stand-in would pass over.
func known(input map[string]any, apiVersion, kind string, fields ...string) error {
	if input["apiVersion"] != apiVersion || input["kind"] != kind {
		return errors.Errorf("the input must be %s %s", apiVersion, kind)
	}
	for k := range input {
		if k != "apiVersion" && k != "kind" && !slices.Contains(fields, k) {
			return errors.Errorf("this stand-in knows no field %q", k)
		}
	}
	return nil
}

const (
	nameAnnotation  = "gotemplating.fn.crossplane.io/composition-resource-name"
	readyAnnotation = "gotemplating.fn.crossplane.io/ready"
)

// inline stands in for function-go-templating: what its template gives takes the place of
// parts of the same name. Like the real one it forgets whether the composite was ready, and
// whether the parts were that it renders anew.
func inline(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, input map[string]any) error {
	if err := known(input, "gotemplating.fn.crossplane.io/v1beta1", "GoTemplate", "source", "inline"); err != nil {
		return err
	}
	in, _ := input["inline"].(map[string]any)
	text, _ := in["template"].(string)
	t, err := template.New("inline").Funcs(funcs).Parse(text)
	if err != nil {
		return errors.Wrap(err, "cannot parse the template")
	}
	data, err := protojson.Marshal(req)
	if err != nil {
		return err
	}
	var world map[string]any
	if err := yaml.Unmarshal(data, &world); err != nil {
		return err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, world); err != nil {
		return errors.Wrap(err, "cannot execute the template")
	}
	docs, err := crossplane.Documents(out.Bytes())
	if err != nil {
		return errors.Wrap(err, "cannot read what the template gives")
	}
	for _, d := range docs {
		if err := part(rsp, d); err != nil {
			return err
		}
	}
	if xr := rsp.GetDesired().GetComposite(); xr != nil {
		xr.Ready = fnv1.Ready_READY_UNSPECIFIED
	}
	return nil
}

func part(rsp *fnv1.RunFunctionResponse, d map[string]any) error {
	meta, _ := d["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	name, _ := annotations[nameAnnotation].(string)
	if name == "" {
		return errors.Errorf("%v lacks the annotation %s", d["kind"], nameAnnotation)
	}
	ready := map[any]fnv1.Ready{"True": fnv1.Ready_READY_TRUE, "False": fnv1.Ready_READY_FALSE}[annotations[readyAnnotation]]
	delete(annotations, nameAnnotation)
	delete(annotations, readyAnnotation)
	if len(annotations) == 0 {
		delete(meta, "annotations")
	}
	s, err := structpb.NewStruct(d)
	if err != nil {
		return err
	}
	rsp.Desired.Resources[name] = &fnv1.Resource{Resource: s, Ready: ready}
	return nil
}

// funcs are those that the stories use, of the hundreds that there are.
var funcs = template.FuncMap{
	"dict": func(kv ...any) (map[string]any, error) {
		d := map[string]any{}
		for i := 0; i+1 < len(kv); i += 2 {
			k, ok := kv[i].(string)
			if !ok {
				return nil, errors.Errorf("key %v is no text", kv[i])
			}
			d[k] = kv[i+1]
		}
		return d, nil
	},
	"merge": merge,
	"toYaml": func(v any) (string, error) {
		b, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(b), "\n"), err
	},
	"setResourceNameAnnotation": func(name string) string { return nameAnnotation + ": " + name },
	"getComposedResource": func(req map[string]any, name string) any {
		observed, _ := req["observed"].(map[string]any)
		parts, _ := observed["resources"].(map[string]any)
		p, _ := parts[name].(map[string]any)
		return p["resource"]
	},
}

// merge fills what the first map lacks from the others, map by map.
func merge(into map[string]any, others ...map[string]any) map[string]any {
	for _, o := range others {
		for k, v := range o {
			have, there := into[k]
			if !there {
				into[k] = v
				continue
			}
			a, isMap := have.(map[string]any)
			b, isMapToo := v.(map[string]any)
			if isMap && isMapToo {
				merge(a, b)
			}
		}
	}
	return into
}

// sequence stands in for function-sequencer: a part that doesn't exist yet is left out while
// one that stands before it in a sequence isn't ready.
func sequence(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, input map[string]any) error {
	if err := known(input, "sequencer.fn.crossplane.io/v1beta1", "Input", "rules", "cacheTTL"); err != nil {
		return err
	}
	if err := ttl(rsp, input); err != nil {
		return err
	}
	var in struct {
		Rules []struct {
			Sequence []string `json:"sequence"`
		} `json:"rules"`
	}
	if err := crossplane.Convert(input, &in); err != nil {
		return err
	}
	for _, rule := range in.Rules {
		for i := 1; i < len(rule.Sequence); i++ {
			later, err := matching(rsp, rule.Sequence[i])
			if err != nil {
				return err
			}
			for _, before := range rule.Sequence[:i] {
				says, err := waits(rsp, before)
				if err != nil {
					return err
				}
				if says == "" {
					continue
				}
				for _, name := range later {
					if req.GetObserved().GetResources()[name] == nil {
						delete(rsp.GetDesired().GetResources(), name)
						response.Normal(rsp, fmt.Sprintf("Delaying creation of resource(s) matching %q because %q %s", rule.Sequence[i], before, says))
					}
				}
				break
			}
		}
	}
	return nil
}

func matching(rsp *fnv1.RunFunctionResponse, pattern string) ([]string, error) {
	re, err := regexp.Compile("^(" + pattern + ")$")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(rsp.GetDesired().GetResources())), func(n string) bool { return !re.MatchString(n) }), nil
}

// waits says why what matches a pattern isn't there yet, or nothing.
func waits(rsp *fnv1.RunFunctionResponse, pattern string) (string, error) {
	names, err := matching(rsp, pattern)
	if err != nil || len(names) == 0 {
		return "does not exist yet", err
	}
	ready := 0
	for _, n := range names {
		if rsp.GetDesired().GetResources()[n].GetReady() == fnv1.Ready_READY_TRUE {
			ready++
		}
	}
	if ready < len(names) {
		return fmt.Sprintf("is not fully ready (%d of %d)", ready, len(names)), nil
	}
	return "", nil
}

// protect stands in for function-deletion-protection, for the label on the order alone.
func protect(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, input map[string]any) error {
	if err := known(input, "protection.fn.crossplane.io/v1beta1", "Input", "cacheTTL"); err != nil {
		return err
	}
	if err := ttl(rsp, input); err != nil {
		return err
	}
	xr := req.GetObserved().GetComposite().GetResource().AsMap()
	meta, _ := xr["metadata"].(map[string]any)
	labels, _ := meta["labels"].(map[string]any)
	if labels["protection.fn.crossplane.io/block-deletion"] != "true" {
		return nil
	}
	name := fmt.Sprint(meta["name"])
	s, err := structpb.NewStruct(map[string]any{
		"apiVersion": "protection.crossplane.io/v1beta1",
		"kind":       "ClusterUsage",
		"metadata":   map[string]any{"name": strings.ToLower(fmt.Sprint(xr["kind"])) + "-" + name + "-fn-protection"}, // the real one's has a hash in it
		"spec": map[string]any{
			"of":     map[string]any{"apiVersion": xr["apiVersion"], "kind": xr["kind"], "resourceRef": map[string]any{"name": name}},
			"reason": "created by function-deletion-protection via label protection.fn.crossplane.io/block-deletion",
		},
	})
	if err != nil {
		return err
	}
	rsp.Desired.Resources["xr-"+name+"-usage"] = &fnv1.Resource{Resource: s}
	return nil
}

// ttl takes the input's cacheTTL over.
func ttl(rsp *fnv1.RunFunctionResponse, input map[string]any) error {
	text, _ := input["cacheTTL"].(string)
	if text == "" {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.Wrap(err, "cannot read cacheTTL")
	}
	rsp.Meta.Ttl = response.To(&fnv1.RunFunctionRequest{}, d).GetMeta().GetTtl()
	return nil
}
