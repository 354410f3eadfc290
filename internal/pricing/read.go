package pricing

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/errors"
)

// A Flaw is a part of a table that can't be used.
type Flaw struct {
	Model string
	Field string
	Line  int
	Text  string
}

func (f Flaw) String() string {
	where := fmt.Sprintf("line %d: ", f.Line)
	if f.Model != "" {
		where += fmt.Sprintf("model %q: ", short(f.Model))
	}
	if f.Field != "" {
		where += short(f.Field) + ": "
	}
	return where + f.Text
}

// Classes are those that a row may price, in the order of a bill.
var Classes = []v1alpha1.TokenClass{
	v1alpha1.TokenInput, v1alpha1.TokenCachedInput, v1alpha1.TokenCacheWrite, v1alpha1.TokenToolUse, v1alpha1.TokenOutput, v1alpha1.TokenThoughts,
}

// insteadOf is the price that counts for a class without one.
var insteadOf = map[v1alpha1.TokenClass]v1alpha1.TokenClass{
	v1alpha1.TokenCachedInput: v1alpha1.TokenInput,
	v1alpha1.TokenCacheWrite:  v1alpha1.TokenInput,
	v1alpha1.TokenToolUse:     v1alpha1.TokenInput,
	v1alpha1.TokenThoughts:    v1alpha1.TokenOutput,
}

const (
	maxLen   = 100     // bytes of a name in a message
	maxFlaws = 100     // that are kept
	maxTable = 1 << 20 // bytes, which no ConfigMap exceeds
	maxDepth = 100     // of YAML
	maxNodes = 1 << 17 // of YAML
)

// Read reads the key prices.yaml of a price table's ConfigMap. A row that can't be
// used is a Flaw of the table; an error means that nothing of it can be, and its
// text quotes no more of it than names.
func Read(text string) (*Table, error) {
	doc, err := document(text)
	if err != nil {
		return nil, err
	}
	r := &reader{table: &Table{exact: map[string]*Model{}}}
	if doc == nil {
		return nil, errors.New("it has no models")
	}
	if doc.Kind != yaml.MappingNode {
		return nil, errors.New("it must hold models: {<model>: {input, output, cachedInput}}")
	}
	if key := twice(doc); key != nil {
		return nil, errors.Errorf("line %d: it holds %s twice", key.Line, short(key.Value))
	}
	var models *yaml.Node
	for key, value := range pairs(doc) {
		switch key.Value {
		case "models":
			models = value
		case "version":
			if r.version = value.Value; r.version != "1" && r.version != "2" {
				return nil, errors.Errorf("line %d: version must be 1 or 2", value.Line)
			}
		case "endpoint":
			if r.endpoint = value; value.Value != "global" && value.Value != "regional" {
				return nil, errors.Errorf("line %d: endpoint must be global or regional", value.Line)
			}
			r.table.Regional = value.Value == "regional"
		default:
			return nil, errors.Errorf("line %d: it must hold models: {<model>: {input, output, cachedInput}}, and beside it only version and endpoint", key.Line)
		}
	}
	if r.endpoint != nil && r.version != "2" {
		return nil, errors.Errorf("line %d: endpoint needs version: 2", r.endpoint.Line)
	}
	if models == nil || models.Kind != yaml.MappingNode || len(models.Content) == 0 {
		return nil, errors.New("it has no models")
	}
	for key, value := range pairs(models) {
		r.model(key, value)
	}
	for _, a := range r.aliases { // after all names: a row's own name wins
		r.name(a.node, a.model)
	}
	return r.done()
}

// document parses the one YAML document that the text must be; nil: it is empty.
func document(text string) (*yaml.Node, error) {
	if len(text) > maxTable {
		return nil, errors.New("it is larger than a ConfigMap")
	}
	d := yaml.NewDecoder(bytes.NewBufferString(strings.TrimPrefix(text, "\ufeff")))
	var found *yaml.Node
	for {
		var n yaml.Node
		err := d.Decode(&n)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, errors.New("it is no YAML" + lineOf(err, text))
		}
		if len(n.Content) == 0 || n.Content[0].Tag == "!!null" {
			continue
		}
		if found != nil {
			return nil, errors.New("it must be one YAML document, without a second one after a line ---")
		}
		left := maxNodes
		if found, err = expand(n.Content[0], 0, &left); err != nil {
			return nil, err
		}
	}
}

var yamlLine = regexp.MustCompile(`line ([0-9]+)`)

// lineOf leads to where a text is no YAML.
func lineOf(err error, text string) string {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return ""
	}
	n, err := strconv.Atoi(m[1])
	if lines := strings.Split(text, "\n"); err == nil && n > 0 && n <= len(lines) {
		if line := lines[n-1]; strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t") {
			return " (line " + m[1] + ": it begins with a tab, where YAML takes only blanks)"
		}
	}
	return " (line " + m[1] + ")"
}

// expand returns a document as it reads without YAML's anchors, aliases and merges (<<),
// whose own keys win. What it may come to is bounded: an anchor may hold itself.
func expand(n *yaml.Node, depth int, left *int) (*yaml.Node, error) {
	*left--
	switch {
	case depth > maxDepth || *left < 0:
		return nil, errors.Errorf("line %d: anchors and aliases of YAML come to more than a price table may hold", n.Line)
	case n.Kind == yaml.AliasNode:
		out, err := expand(n.Alias, depth+1, left)
		if err != nil {
			return nil, err
		}
		out.Line = n.Line // where it counts, not where it was written
		return out, nil
	case n.Kind == yaml.MappingNode && n.Tag != "!!map":
		return nil, errors.Errorf("line %d: it must not hold tags of YAML", n.Line)
	}
	out := *n
	out.Content = nil
	var merged []*yaml.Node
	for i, c := range n.Content {
		merges := n.Kind == yaml.MappingNode && n.Content[i-i%2].Tag == "!!merge"
		if merges && i%2 == 0 {
			continue
		}
		e, err := expand(c, depth+1, left)
		switch {
		case err != nil:
			return nil, err
		case !merges:
			out.Content = append(out.Content, e)
		case e.Kind == yaml.SequenceNode:
			merged = append(merged, e.Content...)
		default:
			merged = append(merged, e)
		}
	}
	for _, m := range merged {
		if m.Kind != yaml.MappingNode {
			return nil, errors.Errorf("line %d: only rows can be merged into a row (<<)", m.Line)
		}
		for k, v := range pairs(m) {
			if !has(&out, k.Value) {
				out.Content = append(out.Content, k, v)
			}
		}
	}
	return &out, nil
}

// pairs are a mapping's keys and values, in the order of the file.
func pairs(n *yaml.Node) func(func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// A reader fills a table.
type reader struct {
	table    *Table
	version  string
	endpoint *yaml.Node
	named    map[string]int // lines of models and aliases
	aliases  []alias
}

type alias struct {
	node  *yaml.Node
	model *Model
}

func (r *reader) flaw(model, field string, line int, text string, args ...any) {
	if len(r.table.Flaws) < maxFlaws {
		r.table.Flaws = append(r.table.Flaws, Flaw{Model: model, Field: field, Line: line, Text: fmt.Sprintf(text, args...)})
	}
}

// model reads all rows of one model.
func (r *reader) model(key, value *yaml.Node) {
	name := key.Value
	if !isName(key) {
		r.flaw(name, "", key.Line, "a model is called by a text")
		return
	}
	m := &Model{Name: name}
	var names []*yaml.Node
	rows := []*yaml.Node{value}
	switch {
	case value.Kind == yaml.SequenceNode:
		rows = value.Content
	case value.Kind == yaml.MappingNode && has(value, "rows"):
		if key := twice(value); key != nil {
			r.flaw(name, key.Value, key.Line, standsTwice)
			r.breaks(name)
			return
		}
		rows = nil
		for k, v := range pairs(value) {
			switch {
			case k.Value == "rows" && v.Kind == yaml.SequenceNode:
				rows = v.Content
			case k.Value == "aliases" && v.Kind == yaml.SequenceNode:
				names = append(names, v.Content...)
			case k.Value == "rows", k.Value == "aliases":
				r.flaw(name, k.Value, k.Line, mustBeList)
			default:
				r.flaw(name, k.Value, k.Line, "beside rows a model has aliases and nothing else")
			}
		}
	}
	if r.version != "2" && value.Kind == yaml.SequenceNode || r.version != "2" && has(value, "rows") {
		r.flaw(name, "", value.Line, "a list of rows needs version: 2 at the top of the table")
		r.breaks(name)
		return
	}
	for _, n := range rows {
		row, ok := r.row(name, n, &names)
		if !ok {
			r.breaks(name)
			continue
		}
		m.Rows = append(m.Rows, row)
	}
	slices.SortStableFunc(m.Rows, func(a, b Row) int { return a.From.Compare(b.From) })
	for i := len(m.Rows) - 1; i > 0; i-- {
		if m.Rows[i].From.Equal(m.Rows[i-1].From) {
			r.flaw(name, "from", m.Rows[i].Line, "the row in line %d begins at the same time, and counts", m.Rows[i-1].Line)
			m.Rows = slices.Delete(m.Rows, i, i+1)
		}
	}
	if len(m.Rows) == 0 {
		if len(rows) == 0 {
			r.flaw(name, "", key.Line, "it has no row")
		}
		r.breaks(name, names...)
		return
	}
	if !r.name(key, m) {
		return
	}
	r.table.Models = append(r.table.Models, m)
	for _, n := range names {
		r.aliases = append(r.aliases, alias{n, m})
	}
}

// breaks notes that a row of a model can't be used, and what else the model is called if
// none can.
func (r *reader) breaks(name string, aliases ...*yaml.Node) {
	if r.table.broken == nil {
		r.table.broken = map[string][]string{}
	}
	for _, n := range aliases {
		if isName(n) {
			r.table.broken[name] = append(r.table.broken[name], n.Value)
		}
	}
	if _, known := r.table.broken[name]; !known {
		r.table.broken[name] = nil
	}
}

func isName(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value != "" && n.Tag != "!!null"
}

// name lets a model be found by a name or a pattern.
func (r *reader) name(n *yaml.Node, m *Model) bool {
	if !isName(n) {
		r.flaw(m.Name, "aliases", n.Line, "an alias must be a name")
		return false
	}
	if line, twice := r.named[n.Value]; twice {
		r.flaw(m.Name, "", n.Line, "%q stands in line %d already, and that counts", short(n.Value), line)
		return false
	}
	if r.named == nil {
		r.named = map[string]int{}
	}
	r.named[n.Value] = n.Line
	if strings.Contains(n.Value, "*") {
		r.table.patterns = append(r.table.patterns, pattern{text: n.Value, model: m})
	} else {
		r.table.exact[n.Value] = m
	}
	return true
}

// done puts the table in order.
func (r *reader) done() (*Table, error) {
	t := r.table
	slices.SortFunc(t.Models, func(a, b *Model) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(t.patterns, comparePatterns)
	t.index()
	slices.SortStableFunc(t.Flaws, func(a, b Flaw) int { return a.Line - b.Line })
	if len(t.Models) == 0 {
		var text strings.Builder
		text.WriteString("none of its rows can be used")
		for i, f := range t.Flaws {
			if i == 3 {
				text.WriteString("; and more")
				break
			}
			text.WriteString("; " + f.String())
		}
		return nil, errors.New(text.String())
	}
	return t, nil
}

// twice is the first key of a mapping that stands there for the second time; nil: none
// does.
func twice(n *yaml.Node) *yaml.Node {
	seen := map[string]bool{}
	for k := range pairs(n) {
		if seen[k.Value] {
			return k
		}
		seen[k.Value] = true
	}
	return nil
}

const (
	standsTwice = "it stands there twice"
	mustBeList  = "it must be a list"
)

func has(n *yaml.Node, key string) bool {
	for k := range pairs(n) {
		if k.Value == key {
			return true
		}
	}
	return false
}

// short cuts a text that somebody else made, at a rune.
func short(t string) string {
	t = strings.ToValidUTF8(t, "?")
	if len(t) <= maxLen {
		return t
	}
	cut := maxLen
	for cut > 0 && t[cut]&0xC0 == 0x80 {
		cut--
	}
	return t[:cut] + "..."
}
