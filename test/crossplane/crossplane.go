// Package crossplane does in process what Crossplane does around a function
// call: it builds the request, fetches required resources until the function
// asks for no more, and hands state, context and conditions on. Golden stories
// and the pipeline runner are built on it.
package crossplane

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"whisperops.io/functions/internal/errors"
)

// NameAnnotation tells which composed resource an observed object is.
const NameAnnotation = "crossplane.io/composition-resource-name"

// maxFetches is Crossplane's own limit for one step's rounds of requirements.
const maxFetches = 5

// Observed builds an observed state from an XR and the objects composed from it.
// connection holds connection details: composed resource name, key, value.
func Observed(xr map[string]any, composed []map[string]any, connection map[string]map[string]string) (*fnv1.State, error) {
	s := &fnv1.State{Resources: map[string]*fnv1.Resource{}}
	if xr != nil {
		st, err := structpb.NewStruct(xr)
		if err != nil {
			return nil, errors.Wrap(err, "cannot convert XR")
		}
		s.Composite = &fnv1.Resource{Resource: st}
	}
	for _, o := range composed {
		name := Annotation(o, NameAnnotation)
		if name == "" {
			return nil, errors.Errorf("observed %v has no annotation %s", o["kind"], NameAnnotation)
		}
		if s.GetResources()[name] != nil {
			return nil, errors.Errorf("two observed resources are named %q", name)
		}
		st, err := structpb.NewStruct(o)
		if err != nil {
			return nil, errors.Wrapf(err, "cannot convert observed %q", name)
		}
		s.Resources[name] = &fnv1.Resource{Resource: st}
	}
	for name, kv := range connection {
		if s.GetResources()[name] == nil {
			return nil, errors.Errorf("connection details are given for %q, which is not observed", name)
		}
		s.Resources[name].ConnectionDetails = map[string][]byte{}
		for k, v := range kv {
			s.Resources[name].ConnectionDetails[k] = []byte(v)
		}
	}
	return s, nil
}

// Annotation returns an annotation of an object, or "".
func Annotation(o map[string]any, key string) string {
	meta, _ := o["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	v, _ := annotations[key].(string)
	return v
}

// Call runs one function the way Crossplane does: it fetches what the function
// requires from cluster and calls it again, until the requirements are stable.
// It returns the last response and the number of calls.
func Call(ctx context.Context, fn fnv1.FunctionRunnerServiceServer, req *fnv1.RunFunctionRequest, cluster []map[string]any) (*fnv1.RunFunctionResponse, int, error) {
	var last *fnv1.Requirements
	for calls := 1; calls <= maxFetches+1; calls++ {
		rsp, err := fn.RunFunction(ctx, ownCopy(req))
		if err != nil {
			return nil, calls, err
		}
		if fatal(rsp) || proto.Equal(rsp.GetRequirements(), last) || len(rsp.GetRequirements().GetResources()) == 0 {
			return rsp, calls, nil
		}
		last = rsp.GetRequirements()
		req = ownCopy(req)
		req.Context = rsp.GetContext() // Crossplane hands the context of one call to the next
		req.RequiredResources = map[string]*fnv1.Resources{}
		for key, sel := range last.GetResources() {
			items, err := Select(cluster, sel)
			if err != nil {
				return nil, calls, err
			}
			req.RequiredResources[key] = items
		}
	}
	return nil, maxFetches + 1, errors.Errorf("requirements did not stabilize after the maximum number of iterations (%d)", maxFetches)
}

// ownCopy copies what a function may write to, as the wire does: the desired
// state and the context that it passes on. What it only reads is shared, because
// copying 22 observed resources costs more than rendering them.
func ownCopy(req *fnv1.RunFunctionRequest) *fnv1.RunFunctionRequest {
	out := &fnv1.RunFunctionRequest{
		Meta: req.GetMeta(), Observed: req.GetObserved(), Input: req.GetInput(), Credentials: req.GetCredentials(),
		RequiredResources: req.GetRequiredResources(), Context: proto.CloneOf(req.GetContext()),
	}
	if d := req.GetDesired(); d != nil {
		out.Desired = &fnv1.State{Composite: proto.CloneOf(d.GetComposite())}
		if d.GetResources() != nil {
			out.Desired.Resources = make(map[string]*fnv1.Resource, len(d.GetResources()))
		}
		for name, r := range d.GetResources() {
			out.Desired.Resources[name] = &fnv1.Resource{Resource: r.GetResource(), ConnectionDetails: r.GetConnectionDetails(), Ready: r.GetReady()}
		}
	}
	return out
}

func fatal(rsp *fnv1.RunFunctionResponse) bool { return Fatal(rsp) != "" }

// Fatal returns the message of the first fatal result, or "".
func Fatal(rsp *fnv1.RunFunctionResponse) string {
	for _, r := range rsp.GetResults() {
		if r.GetSeverity() == fnv1.Severity_SEVERITY_FATAL {
			return r.GetMessage()
		}
	}
	return ""
}

// Select returns the objects of the cluster that a selector asks for. What
// exists not is an empty answer, not an absent one.
func Select(cluster []map[string]any, sel *fnv1.ResourceSelector) (*fnv1.Resources, error) {
	out := &fnv1.Resources{}
	for _, o := range cluster {
		meta, _ := o["metadata"].(map[string]any)
		if o["apiVersion"] != sel.GetApiVersion() || o["kind"] != sel.GetKind() {
			continue
		}
		if ns, _ := meta["namespace"].(string); sel.Namespace != nil && ns != sel.GetNamespace() {
			continue
		}
		if name := sel.GetMatchName(); name != "" && meta["name"] != name {
			continue
		}
		labels, _ := meta["labels"].(map[string]any)
		matches := true
		for k, v := range sel.GetMatchLabels().GetLabels() {
			matches = matches && labels[k] == v
		}
		if !matches {
			continue
		}
		st, err := structpb.NewStruct(o)
		if err != nil {
			return nil, errors.Wrap(err, "cannot convert required resource")
		}
		out.Items = append(out.Items, &fnv1.Resource{Resource: st})
	}
	return out, nil
}

// A Step is one step of a pipeline.
type Step struct {
	Name        string
	Function    fnv1.FunctionRunnerServiceServer
	Input       map[string]any
	Credentials map[string]map[string]string
}

// A Result is what a whole pipeline run comes to.
type Result struct {
	Desired    *fnv1.State
	Context    *structpb.Struct
	Conditions []*fnv1.Condition // by type, the last one sent wins; in order of first appearance
	Results    []*fnv1.Result
	TTLSeconds float64 // the shortest one that isn't zero; 0: none
	Fatal      string  // the message of the fatal result that ended the run, with its step; "" if none did
	Calls      map[string]int
}

// Run runs a pipeline as Crossplane does: the first fatal result ends it.
func Run(ctx context.Context, steps []Step, observed *fnv1.State, cluster []map[string]any, start *structpb.Struct) (*Result, error) {
	r := &Result{Desired: &fnv1.State{}, Context: start, Calls: map[string]int{}}
	for _, s := range steps {
		req := &fnv1.RunFunctionRequest{Observed: observed, Desired: r.Desired, Context: r.Context}
		if s.Input != nil {
			in, err := structpb.NewStruct(s.Input)
			if err != nil {
				return nil, errors.Wrapf(err, "cannot convert input of step %q", s.Name)
			}
			req.Input = in
		}
		for name, kv := range s.Credentials {
			data := map[string][]byte{}
			for k, v := range kv {
				data[k] = []byte(v)
			}
			if req.GetCredentials() == nil {
				req.Credentials = map[string]*fnv1.Credentials{}
			}
			req.Credentials[name] = &fnv1.Credentials{Source: &fnv1.Credentials_CredentialData{CredentialData: &fnv1.CredentialData{Data: data}}}
		}
		rsp, calls, err := Call(ctx, s.Function, req, cluster)
		r.Calls[s.Name] = calls
		if err != nil {
			return nil, errors.Wrapf(err, "cannot run step %q", s.Name)
		}
		r.Desired, r.Context = rsp.GetDesired(), rsp.GetContext()
		for _, c := range rsp.GetConditions() {
			r.Conditions = setCondition(r.Conditions, c)
		}
		r.Results = append(r.Results, rsp.GetResults()...)
		if ttl := rsp.GetMeta().GetTtl().AsDuration().Seconds(); ttl > 0 && (r.TTLSeconds == 0 || ttl < r.TTLSeconds) {
			r.TTLSeconds = ttl
		}
		if m := Fatal(rsp); m != "" {
			r.Fatal = fmt.Sprintf("pipeline step %q returned a fatal result: %s", s.Name, m)
			return r, nil
		}
	}
	return r, nil
}

func setCondition(all []*fnv1.Condition, c *fnv1.Condition) []*fnv1.Condition {
	for i := range all {
		if all[i].GetType() == c.GetType() {
			all[i] = c
			return all
		}
	}
	return append(all, c)
}

// ReadDocuments reads all YAML documents of a file; a file that isn't there has
// none.
func ReadDocuments(file string) ([]map[string]any, error) {
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return Documents(b)
}

// Documents splits and decodes a YAML stream.
func Documents(b []byte) ([]map[string]any, error) {
	var out []map[string]any
	d := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(b)))
	for {
		doc, err := d.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var o map[string]any
		if err := sigsyaml.Unmarshal(doc, &o); err != nil {
			return nil, err
		}
		if len(o) > 0 {
			out = append(out, o)
		}
	}
}

// ReadYAML decodes a file into v and says whether the file exists.
func ReadYAML(file string, v any) (bool, error) {
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Wrapf(sigsyaml.UnmarshalStrict(b, v), "cannot read %s", file)
}

// Convert decodes an untyped object into a typed one.
func Convert(from, into any) error {
	b, err := sigsyaml.Marshal(from)
	if err != nil {
		return err
	}
	return sigsyaml.Unmarshal(b, into)
}
