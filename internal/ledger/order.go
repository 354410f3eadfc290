package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	"whisperops.io/functions/apis/v1alpha1"
)

// A Change sets one field of an order's spec.
type Change struct {
	// Field is one of Fields, a path below spec.
	Field string
	// Value as a person types it.
	Value string
}

// ParseChange parses <field>=<value>.
func ParseChange(s string) (Change, error) {
	field, value, ok := strings.Cut(s, "=")
	if !ok {
		return Change{}, fmt.Errorf("%q must be <field>=<value>, for example budgetUsd=7.5", s)
	}
	c := Change{Field: field, Value: value}
	_, err := c.decode()
	return c, err
}

// fields of an order that may change while it lives, and how their values are
// read. What may not (agentName, projectId, baseDomain) is not here: it names
// things that exist.
var fields = map[string]func(string) (any, error){
	"budgetUsd":       budget,
	"datasetRef.name": datasetName,
	"description":     description,
	"enforcement":     func(s string) (any, error) { return s, v1alpha1.Enforcement(s).Validate() },
	"period":          func(s string) (any, error) { return s, v1alpha1.Period(s).Validate() },
}

// Fields returns the fields that may be changed, sorted.
func Fields() []string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c Change) decode() (any, error) {
	parse, ok := fields[c.Field]
	if !ok {
		return nil, fmt.Errorf("field %q of an order can't be changed; these can: %s", c.Field, strings.Join(Fields(), ", "))
	}
	v, err := parse(c.Value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Field, err)
	}
	return v, nil
}

// The limits repeat those of the XRD, so that a person hears of a mistake before
// it is a commit that can't be applied.

func budget(s string) (any, error) {
	v, err := strconv.ParseFloat(s, 64)
	// A dot alone may stand in it: 1e3, 0x1p3, Inf and 1_000 parse as well, and are
	// no way to write money.
	if err != nil || strings.Trim(s, "0123456789.") != "" || math.IsNaN(v) || v < 0 || v > maxBudgetUSD {
		return nil, fmt.Errorf("%q must be US dollars from 0 to %d, for example 7.5", s, maxBudgetUSD)
	}
	return v, nil
}

func datasetName(s string) (any, error) {
	if problems := validation.IsDNS1123Subdomain(s); len(problems) > 0 {
		return nil, fmt.Errorf("%q is not the name of an XDataset (kubectl get xds lists them): %s", s, problems[0])
	}
	return s, nil
}

const (
	maxDescription = 500
	maxBudgetUSD   = 10000
)

func description(s string) (any, error) {
	switch {
	case !utf8.ValidString(s):
		return nil, errors.New("it must be UTF-8")
	case utf8.RuneCountInString(s) > maxDescription:
		return nil, fmt.Errorf("it has %d characters, %d are allowed", utf8.RuneCountInString(s), maxDescription)
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }):
		return nil, errors.New("it must not hold control characters")
	}
	return s, nil
}

// Edit returns an order's file with changes made to it, and whether anything
// differs. All other bytes stay as they were: comments, order, quotes, blank lines.
// An error means that the file is not one order of the agent, or can't be edited
// safely; nothing is guessed.
func Edit(file []byte, agentName string, changes ...Change) ([]byte, bool, error) {
	before, err := decodeOrder(file, agentName)
	if err != nil {
		return nil, false, err
	}
	out := file
	for _, c := range changes {
		v, err := c.decode()
		if err != nil {
			return nil, false, err
		}
		if out, err = set(out, append([]string{"spec"}, strings.Split(c.Field, ".")...), v); err != nil {
			return nil, false, fmt.Errorf("cannot set %s: %w", c.Field, err)
		}
		if err := put(before, append([]string{"spec"}, strings.Split(c.Field, ".")...), v); err != nil {
			return nil, false, fmt.Errorf("cannot set %s: %w", c.Field, err)
		}
	}
	// What was written is read back: the file must say what it said before, but for
	// the changes.
	after, err := decodeOrder(out, agentName)
	if err != nil {
		return nil, false, fmt.Errorf("the edit would break the file: %w", err)
	}
	if !reflect.DeepEqual(normal(before), normal(after)) {
		return nil, false, errors.New("the file is written in a way that can't be edited safely (anchors, tags or merges): edit it by hand")
	}
	return out, !bytes.Equal(file, out), nil
}

func decodeOrder(file []byte, agentName string) (map[string]any, error) {
	d := yaml.NewDecoder(bytes.NewReader(file))
	order := map[string]any{}
	// Duplicate keys are an error here, as they are for the API server.
	if err := d.Decode(&order); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the file is empty")
		}
		return nil, fmt.Errorf("the file is not YAML: %w", err)
	}
	if err := d.Decode(&map[string]any{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file must hold one document, the order, and nothing else")
	}
	if order["apiVersion"] != v1alpha1.GroupVersion.String() || order["kind"] != "XDatasetAgent" {
		return nil, fmt.Errorf("the file holds %v %v, not an XDatasetAgent of %s", order["apiVersion"], order["kind"], v1alpha1.GroupVersion)
	}
	spec, ok := order["spec"].(map[string]any)
	if !ok {
		return nil, errors.New("the order has no spec")
	}
	if spec["agentName"] != agentName {
		return nil, fmt.Errorf("the file orders the agent %q, not %q", spec["agentName"], agentName)
	}
	return order, nil
}

// set replaces or adds the scalar at a path.
func set(file []byte, path []string, v any) ([]byte, error) {
	doc := &yaml.Node{}
	if err := yaml.Unmarshal(file, doc); err != nil {
		return nil, err
	}
	at := doc.Content[0]
	for i, key := range path {
		if at.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("%s is not a mapping", strings.Join(path[:i], "."))
		}
		next := child(at, key)
		if next == nil {
			return insert(file, doc, at, path[i:], v)
		}
		at = next
	}
	if at.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("%s is not a single value", strings.Join(path, "."))
	}
	if same(at, v) {
		return file, nil
	}
	start, end, ok := token(file, at)
	if !ok {
		return rewrite(doc, at, v)
	}
	return slices.Concat(file[:start], []byte(literal(v)), file[end:]), nil
}

func child(m *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

// same says whether a node already is the value, however it is written.
func same(n *yaml.Node, v any) bool {
	var is any
	return n.Decode(&is) == nil && reflect.DeepEqual(normal(is), normal(v))
}

// insert adds a key to a mapping, on a line of its own before the first one, so
// that no comment changes what it belongs to.
func insert(file []byte, doc, m *yaml.Node, path []string, v any) ([]byte, error) {
	if m.Style&yaml.FlowStyle != 0 || len(m.Content) == 0 {
		value := &yaml.Node{Kind: yaml.ScalarNode}
		for i := len(path) - 1; i > 0; i-- {
			value = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: path[i]}, value}}
		}
		m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: path[0]}, value)
		for value.Kind == yaml.MappingNode {
			value = value.Content[1]
		}
		return rewrite(doc, value, v)
	}
	first := m.Content[0]
	start, ok := offset(file, first.Line, 1)
	if !ok {
		return nil, errors.New("cannot find where to add it")
	}
	indent := strings.Repeat(" ", first.Column-1)
	var lines strings.Builder
	for i, key := range path {
		lines.WriteString(indent + strings.Repeat("  ", i) + key + ":")
		if i == len(path)-1 {
			lines.WriteString(" " + literal(v))
		}
		lines.WriteString("\n")
	}
	return slices.Concat(file[:start], []byte(lines.String()), file[start:]), nil
}

// rewrite writes the whole document anew, where bytes can't be replaced in place:
// a value over several lines, a mapping in braces. Comments and order stay.
func rewrite(doc, at *yaml.Node, v any) ([]byte, error) {
	at.Tag, at.Style, at.Value = "!!str", yaml.DoubleQuotedStyle, fmt.Sprint(v)
	if _, ok := v.(float64); ok {
		at.Tag, at.Style, at.Value = "!!float", 0, literal(v)
	}
	out := &bytes.Buffer{}
	e := yaml.NewEncoder(out)
	e.SetIndent(2)
	if err := e.Encode(doc); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}

// token returns where a scalar's bytes begin and end; false if it is not on one
// line, or has a tag or an anchor of its own before it.
func token(file []byte, n *yaml.Node) (int, int, bool) {
	start, ok := offset(file, n.Line, n.Column)
	if !ok || n.Anchor != "" {
		return 0, 0, false
	}
	line := file[start:]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	switch n.Style {
	case 0:
		if n.Value == "" || !bytes.HasPrefix(line, []byte(n.Value)) {
			return 0, 0, false
		}
		return start, start + len(n.Value), true
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		if len(line) == 0 {
			return 0, 0, false
		}
		quote := line[0]
		for i := 1; i < len(line); i++ {
			switch {
			case line[i] == '\\' && quote == '"', line[i] == '\'' && quote == '\'' && i+1 < len(line) && line[i+1] == '\'':
				i++
			case line[i] == quote:
				return start, start + i + 1, true
			}
		}
	default: // a block, or a tag of its own
	}
	return 0, 0, false
}

// offset returns the byte at a line and column, both from 1; columns are
// characters.
func offset(file []byte, line, column int) (int, bool) {
	at := 0
	for ; line > 1; line-- {
		i := bytes.IndexByte(file[at:], '\n')
		if i < 0 {
			return 0, false
		}
		at += i + 1
	}
	if at == 0 {
		at = len(file) - len(bytes.TrimPrefix(file, []byte("\uFEFF")))
	}
	for ; column > 1; column-- {
		if at >= len(file) {
			return 0, false
		}
		_, size := utf8.DecodeRune(file[at:])
		at += size
	}
	return at, at <= len(file)
}

// literal writes a value. Text is always quoted: null, yes and 1.5 are names, too.
func literal(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	out := &bytes.Buffer{}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return strconv.Quote(fmt.Sprint(v)) // not reached: v is text
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// put sets a field of a decoded order.
func put(order map[string]any, path []string, v any) error {
	for i, key := range path[:len(path)-1] {
		next, ok := order[key].(map[string]any)
		if order[key] == nil {
			next, ok = map[string]any{}, true
			order[key] = next
		}
		if !ok {
			return fmt.Errorf("%s is not a mapping", strings.Join(path[:i+1], "."))
		}
		order = next
	}
	order[path[len(path)-1]] = v
	return nil
}

// normal makes all numbers of a decoded document comparable.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = normal(x)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = normal(x)
		}
		return l
	case int:
		return float64(v)
	}
	return v
}
