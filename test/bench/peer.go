package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"whisperops.io/functions/internal/errors"
)

// besidePeer compares the six stations of an order with one step of
// function-go-templating that renders what render-workloads does, from a template in its
// input, and returns a table of both.
func besidePeer(o options, recorded []*call) (string, error) {
	template, parts, err := templated(recorded)
	if err != nil {
		return "", err
	}
	peer, err := startPlain(o.peer)
	if err != nil {
		return "", err
	}
	one := &together{servers: []*server{peer}, requests: [][]byte{template}}
	defer one.stop()
	if err := renders(peer, template, parts); err != nil {
		return "", err
	}
	six := &together{}
	defer six.stop()
	for _, c := range recorded {
		if err := six.add(o, c); err != nil {
			return "", err
		}
	}
	for round := range o.rounds + 1 {
		for _, t := range []*together{one, six} {
			if err := t.round(o.calls, round > 0); err != nil { // connections and caches warm up in the first
				return "", err
			}
		}
	}
	theirs, err := one.resident()
	if err != nil {
		return "", err
	}
	ours, err := six.resident()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nOne call of each of %d stations, beside one call of function-go-templating that renders the %d workloads alone:\n\n", len(recorded), len(parts))
	fmt.Fprintln(&b, "| | µs | processor time µs | resident MiB |")
	fmt.Fprintln(&b, "|---|---|---|---|")
	fmt.Fprint(&b, "| all stations beside the one step |")
	for _, v := range [][2]float64{{median(six.took), median(one.took)}, {median(six.worked), median(one.worked)}, {ours, theirs}} {
		fmt.Fprintf(&b, " %.0f of %.0f: **%.2f** |", v[0], v[1], v[0]/v[1])
	}
	fmt.Fprintln(&b)
	return b.String(), nil
}

// together are servers whose calls count as one.
type together struct {
	servers      []*server
	requests     [][]byte  // of each
	took, worked []float64 // microseconds of one call of each, by rounds
}

func (t *together) add(o options, c *call) error {
	req, err := proto.Marshal(c.req)
	if err != nil {
		return err
	}
	s, err := start(filepath.Join(o.bin, c.function))
	if err != nil {
		return err
	}
	t.servers, t.requests = append(t.servers, s), append(t.requests, req)
	return nil
}

func (t *together) stop() {
	for _, s := range t.servers {
		s.stop()
	}
}

func (t *together) round(calls int, counts bool) error {
	var took, worked float64
	for i, s := range t.servers {
		one, work, err := s.calls(t.requests[i], calls)
		if err != nil {
			return err
		}
		took, worked = took+one, worked+work
	}
	if counts {
		t.took, t.worked = append(t.took, took), append(t.worked, worked)
	}
	return nil
}

// resident returns the MiB of memory of all.
func (t *together) resident() (float64, error) {
	var all float64
	for _, s := range t.servers {
		m, _, err := s.resident()
		if err != nil {
			return 0, err
		}
		all += m
	}
	return all, nil
}

// templated returns the encoded request of render-workloads with a template in place of
// its input, and the names of the parts that the template makes: those that the station
// added. Where the agent's name stood, the template takes it from the order.
func templated(recorded []*call) (request []byte, parts []string, err error) {
	const step = "render-workloads"
	i := slices.IndexFunc(recorded, func(c *call) bool { return c.step == step })
	if i < 0 {
		return nil, nil, errors.Errorf("the pipeline has no step %s", step)
	}
	c := recorded[i]
	agent := c.req.GetObserved().GetComposite().GetResource().GetFields()["spec"].GetStructValue().GetFields()["agentName"].GetStringValue()
	var text strings.Builder
	text.WriteString("{{- $agent := .observed.composite.resource.spec.agentName -}}\n")
	for name, part := range c.rsp.GetDesired().GetResources() {
		if c.req.GetDesired().GetResources()[name] != nil {
			continue // of a step before
		}
		o := unstructured.Unstructured{Object: part.GetResource().AsMap()}
		annotations := o.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations["gotemplating.fn.crossplane.io/composition-resource-name"] = name
		o.SetAnnotations(annotations)
		b, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, nil, err
		}
		document := strings.ReplaceAll(string(b), "{{", `{{ "{{" }}`)
		text.WriteString("---\n" + strings.ReplaceAll(document, agent, "{{ $agent }}"))
		parts = append(parts, name)
	}
	req := proto.CloneOf(c.req)
	req.Input, err = structpb.NewStruct(map[string]any{
		"apiVersion": "gotemplating.fn.crossplane.io/v1beta1", "kind": "GoTemplate",
		"source": "Inline", "inline": map[string]any{"template": text.String()},
	})
	if err != nil {
		return nil, nil, err
	}
	request, err = proto.Marshal(req)
	return request, parts, err
}

// renders checks that the step makes the parts, so that like is compared with like.
func renders(peer *server, template []byte, parts []string) error {
	b, err := peer.call(template)
	if err != nil {
		return err
	}
	rsp := &fnv1.RunFunctionResponse{}
	if err := proto.Unmarshal(b, rsp); err != nil {
		return err
	}
	for _, name := range parts {
		if rsp.GetDesired().GetResources()[name] == nil {
			return errors.Errorf("%s does not make %s: %v", filepath.Base(peer.cmd.Path), name, rsp.GetResults())
		}
	}
	return nil
}
