// Package golden runs the stories of a station: folders of YAML that a person
// can review, each with the whole response that the station gives.
//
// A story is a folder with xr.yaml (the observed XR) and, where it needs them,
//
//	observed.yaml     observed composed resources; the annotation
//	                  crossplane.io/composition-resource-name names each
//	connection.yaml   their connection details: composed resource name, key, value
//	required.yaml     objects of the cluster that the station may require
//	context.yaml      context left by earlier steps
//	desired.yaml      desired state left by earlier steps: composite, resources
//	input.yaml        the step's input
//	credentials.yaml  the step's credentials: name, key, value
//
// and want.yaml, the response. `make golden` rewrites every want.yaml; reviewing
// is reading that diff.
package golden

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"sigs.k8s.io/yaml"

	"whisperops.io/functions/internal/wire"
	"whisperops.io/functions/test/crossplane"
)

var update = flag.Bool("update", false, "rewrite the want.yaml of every story")

// Run runs every story below dir against fn.
func Run(t *testing.T, fn fnv1.FunctionRunnerServiceServer, dir string) {
	t.Helper()
	stories, err := os.ReadDir(dir)
	if err != nil {
		t.Fatalf("cannot read stories: %v", err)
	}
	ran := 0
	for _, s := range stories {
		if !s.IsDir() {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, s.Name(), "xr.yaml")); err != nil {
			continue // a folder of the fuzzer's
		}
		ran++
		t.Run(s.Name(), func(t *testing.T) { Story(t, fn, filepath.Join(dir, s.Name())) })
	}
	if ran == 0 {
		t.Fatalf("no story in %s", dir)
	}
}

// Story runs one story.
func Story(t *testing.T, fn fnv1.FunctionRunnerServiceServer, dir string) {
	t.Helper()
	req, cluster := Request(t, dir)
	rsp, calls, err := crossplane.Call(context.Background(), served{fn: fn}, req, cluster)
	if err != nil {
		t.Fatalf("RunFunction: %v", err)
	}
	got, err := yaml.Marshal(Response(t, rsp, calls))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "want.yaml")
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("cannot read the expected response (make golden writes it): %v", err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s: -want, +got (after reading it, make golden accepts it):\n%s", file, diff)
	}
}

// served calls a station as its server does: both ways through bytes, of which the station
// decodes what it looks at.
type served struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	fn fnv1.FunctionRunnerServiceServer
}

// Served returns a station as its server calls it.
func Served(fn fnv1.FunctionRunnerServiceServer) fnv1.FunctionRunnerServiceServer {
	return served{fn: fn}
}

// RunFunction calls the station.
func (s served) RunFunction(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	station, ok := s.fn.(interface {
		Answer(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error)
	})
	if !ok {
		return s.fn.RunFunction(ctx, req)
	}
	b, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	lazy := &fnv1.RunFunctionRequest{}
	if err := wire.Unmarshal(b, lazy); err != nil {
		return nil, err
	}
	rsp, err := station.Answer(ctx, lazy)
	if err != nil {
		return nil, err
	}
	if b, err = proto.Marshal(rsp); err != nil {
		return nil, err
	}
	out := &fnv1.RunFunctionResponse{}
	return out, proto.Unmarshal(b, out)
}

// Request reads a story's request, and the objects of its cluster.
func Request(t testing.TB, dir string) (*fnv1.RunFunctionRequest, []map[string]any) {
	t.Helper()
	must := func(_ bool, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var xr, in, start map[string]any
	var connection map[string]map[string]string
	var credentials map[string]map[string]string
	var desired struct {
		Composite map[string]any            `json:"composite"`
		Resources map[string]map[string]any `json:"resources"`
	}
	must(crossplane.ReadYAML(filepath.Join(dir, "xr.yaml"), &xr))
	must(crossplane.ReadYAML(filepath.Join(dir, "connection.yaml"), &connection))
	must(crossplane.ReadYAML(filepath.Join(dir, "input.yaml"), &in))
	must(crossplane.ReadYAML(filepath.Join(dir, "desired.yaml"), &desired))
	must(crossplane.ReadYAML(filepath.Join(dir, "credentials.yaml"), &credentials))
	hasContext, err := crossplane.ReadYAML(filepath.Join(dir, "context.yaml"), &start)
	must(hasContext, err)
	composed, err := crossplane.ReadDocuments(filepath.Join(dir, "observed.yaml"))
	must(false, err)
	cluster, err := crossplane.ReadDocuments(filepath.Join(dir, "required.yaml"))
	must(false, err)

	observed, err := crossplane.Observed(xr, composed, connection)
	must(false, err)
	req := &fnv1.RunFunctionRequest{Meta: &fnv1.RequestMeta{Tag: "story"}, Observed: observed, Desired: &fnv1.State{}}
	if in != nil {
		req.Input = toStruct(t, in)
	}
	if hasContext {
		req.Context = toStruct(t, start)
	}
	if desired.Composite != nil {
		req.Desired.Composite = &fnv1.Resource{Resource: toStruct(t, desired.Composite)}
	}
	for name, o := range desired.Resources {
		if req.GetDesired().GetResources() == nil {
			req.Desired.Resources = map[string]*fnv1.Resource{}
		}
		req.Desired.Resources[name] = &fnv1.Resource{Resource: toStruct(t, o)}
	}
	for name, kv := range credentials {
		data := map[string][]byte{}
		for k, v := range kv {
			data[k] = []byte(v)
		}
		if req.GetCredentials() == nil {
			req.Credentials = map[string]*fnv1.Credentials{}
		}
		req.Credentials[name] = &fnv1.Credentials{Source: &fnv1.Credentials_CredentialData{CredentialData: &fnv1.CredentialData{Data: data}}}
	}
	return req, cluster
}

// Response is a response in a form that people can review.
func Response(t *testing.T, rsp *fnv1.RunFunctionResponse, calls int) map[string]any {
	t.Helper()
	out := map[string]any{"calls": calls}
	if ttl := rsp.GetMeta().GetTtl(); ttl != nil {
		out["ttl"] = ttl.AsDuration().String()
	}
	if rsp.GetContext() != nil {
		out["context"] = rsp.GetContext().AsMap()
	}
	if xr := rsp.GetDesired().GetComposite(); xr != nil {
		out["composite"] = resource(xr)
	}
	resources := map[string]any{}
	for name, r := range rsp.GetDesired().GetResources() {
		resources[name] = resource(r)
	}
	out["resources"] = resources
	var conditions []any
	for _, c := range rsp.GetConditions() {
		conditions = append(conditions, map[string]any{
			"type": c.GetType(), "status": c.GetStatus().String()[len("STATUS_CONDITION_"):],
			"reason": c.GetReason(), "message": c.GetMessage(),
		})
	}
	if conditions != nil {
		out["conditions"] = conditions
	}
	var results []any
	for _, r := range rsp.GetResults() {
		results = append(results, map[string]any{
			"severity": r.GetSeverity().String()[len("SEVERITY_"):], "reason": r.GetReason(), "message": r.GetMessage(),
		})
	}
	if results != nil {
		out["results"] = results
	}
	requirements := map[string]any{}
	for key, sel := range rsp.GetRequirements().GetResources() {
		b, err := protojson.Marshal(sel)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := yaml.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		requirements[key] = m
	}
	if len(requirements) > 0 {
		out["requirements"] = requirements
	}
	return out
}

func resource(r *fnv1.Resource) map[string]any {
	out := map[string]any{"resource": r.GetResource().AsMap()}
	if r.GetReady() != fnv1.Ready_READY_UNSPECIFIED {
		out["ready"] = r.GetReady().String()[len("READY_"):]
	}
	return out
}

func toStruct(t testing.TB, m map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
