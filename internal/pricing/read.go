package pricing

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

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
			return nil, errors.New("it is no YAML" + lineOf(err))
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

func lineOf(err error) string {
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		return " (line " + m[1] + ")"
	}
	return ""
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
				r.flaw(name, k.Value, k.Line, "it must be a list")
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
			r.breaks(name)
		}
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

// breaks notes that a row of a model can't be used.
func (r *reader) breaks(name string) {
	if r.table.broken == nil {
		r.table.broken = map[string]bool{}
	}
	r.table.broken[name] = true
}

// name lets a model be found by a name or a pattern.
func (r *reader) name(n *yaml.Node, m *Model) bool {
	if n.Kind != yaml.ScalarNode || n.Value == "" {
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
	slices.SortFunc(t.patterns, func(a, b pattern) int {
		return cmp.Or(cmp.Compare(len(strings.ReplaceAll(b.text, "*", "")), len(strings.ReplaceAll(a.text, "*", ""))), strings.Compare(a.text, b.text))
	})
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

const standsTwice = "it stands there twice"

func has(n *yaml.Node, key string) bool {
	for k := range pairs(n) {
		if k.Value == key {
			return true
		}
	}
	return false
}

// row reads one row. It can't be used as soon as one of its fields can't: a
// misspelled price would count as another.
func (r *reader) row(name string, n *yaml.Node, names *[]*yaml.Node) (Row, bool) {
	row := Row{Line: n.Line, Rates: Rates{}, Tiers: map[string]int64{}}
	if n.Kind != yaml.MappingNode {
		r.flaw(name, "", n.Line, "it has no price: a row is {input: \"0.75\", output: \"3.75\"}")
		return row, false
	}
	unchecked := false
	for k, v := range pairs(n) {
		if k.Value == "unchecked" {
			unchecked = v.Value == "true"
		}
	}
	ok, seen := true, map[string]bool{}
	bad := func(field string, line int, text string, args ...any) {
		r.flaw(name, field, line, text, args...)
		ok = false
	}
	var long *yaml.Node
	for k, v := range pairs(n) {
		if seen[k.Value] {
			bad(k.Value, k.Line, standsTwice)
			continue
		}
		seen[k.Value] = true
		switch class := v1alpha1.TokenClass(k.Value); {
		case slices.Contains(Classes, class):
			rate, why := price(v, class, unchecked)
			if why != "" {
				bad(k.Value, v.Line, "%s", why)
			}
			row.Rates[class] = rate
		case k.Value == "unchecked":
			if v.Value != "true" && v.Value != "false" {
				bad(k.Value, v.Line, "it must be true or false")
			}
		case r.version != "2":
			bad(k.Value, k.Line, "no price is called so: tokens are input, output, cachedInput, cacheWrite, thoughts or toolUse (and from, longContext, tiers, regional, aliases need version: 2)")
		case k.Value == "from":
			from, err := readTime(v.Value)
			if err != nil {
				bad(k.Value, v.Line, "it must be a day, such as 2027-01-01, or a time, such as 2027-01-01T08:00:00Z; both in UTC")
			}
			row.From = from
		case k.Value == "aliases" && v.Kind == yaml.SequenceNode:
			*names = append(*names, v.Content...)
		case k.Value == "longContext":
			long = v
		case k.Value == "tiers":
			readTiers(v, row.Tiers, bad)
		case k.Value == "regional":
			f, why := factor(v)
			if why != "" {
				bad(k.Value, v.Line, "%s", why)
			}
			row.Regional = f
		default:
			bad(k.Value, k.Line, "no price is called so: tokens are input, output, cachedInput, cacheWrite, thoughts or toolUse; a row may have from, longContext, tiers, regional, unchecked, aliases")
		}
	}
	for _, class := range []v1alpha1.TokenClass{v1alpha1.TokenInput, v1alpha1.TokenOutput} {
		if !seen[string(class)] {
			bad(string(class), n.Line, "there is no %s price", class)
		}
	}
	fill(row.Rates)
	if long != nil && !r.long(name, long, &row, unchecked) {
		ok = false
	}
	return row, ok
}

// readTiers reads a row's multipliers, and tells what is wrong with them.
func readTiers(n *yaml.Node, into map[string]int64, bad func(field string, line int, text string, args ...any)) {
	const field = "tiers"
	if n.Kind != yaml.MappingNode {
		bad(field, n.Line, "it must hold a multiplier for each tier, such as {flex: \"0.5\"}")
		return
	}
	for k, v := range pairs(n) {
		f, why := factor(v)
		if why != "" {
			bad(field+"."+k.Value, v.Line, "%s", why)
		}
		if Tier(k.Value) == "" {
			bad(field+"."+k.Value, k.Line, "it is the usual tier, which costs what the row says")
		}
		if _, known := into[Tier(k.Value)]; known {
			bad(field+"."+k.Value, k.Line, standsTwice) // by whatever name
		}
		into[Tier(k.Value)] = f
	}
}

// long reads the prices of long requests: what they don't name costs as usual.
func (r *reader) long(name string, n *yaml.Node, row *Row, unchecked bool) bool {
	const field = "longContext"
	if n.Kind != yaml.MappingNode {
		r.flaw(name, field, n.Line, "it must hold above, and prices of its own")
		return false
	}
	ok, given := true, Rates{}
	if key := twice(n); key != nil {
		r.flaw(name, field+"."+key.Value, key.Line, standsTwice)
		ok = false
	}
	for k, v := range pairs(n) {
		class := v1alpha1.TokenClass(k.Value)
		switch {
		case k.Value == "above":
			above, err := strconv.ParseUint(v.Value, 10, 32)
			if err != nil || above == 0 {
				r.flaw(name, field+".above", v.Line, "it must be the number of tokens of the longest prompt that costs the usual price, such as 200000")
				ok = false
			}
			row.Above = above
		case slices.Contains(Classes, class):
			rate, why := price(v, class, unchecked)
			if why != "" {
				r.flaw(name, field+"."+k.Value, v.Line, "%s", why)
				ok = false
			}
			given[class] = rate
		default:
			r.flaw(name, field+"."+k.Value, k.Line, "no price is called so")
			ok = false
		}
	}
	if !has(n, "above") {
		r.flaw(name, field, n.Line, "it must say above how many tokens of a prompt it counts")
		ok = false
	}
	row.Long = Rates{}
	for _, c := range Classes {
		rate, own := given[c]
		if instead, has := insteadOf[c]; !own && has {
			// A tier of which only half is given must not price the other half at nothing
			// more: what follows another price goes on following it.
			if _, follows := given[instead]; follows && row.Rates[c] == row.Rates[instead] {
				rate, own = given[instead], true
			}
		}
		if !own {
			rate = row.Rates[c]
		}
		row.Long[c] = rate
	}
	return ok
}

func fill(rates Rates) {
	for _, c := range Classes {
		if instead, ok := insteadOf[c]; ok {
			if _, given := rates[c]; !given {
				rates[c] = rates[instead]
			}
		}
	}
}

func readTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return sane(t)
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Nanosecond() != 0 {
		return time.Time{}, errors.New("not a time")
	}
	return sane(t.UTC())
}

func sane(t time.Time) (time.Time, error) {
	if t.Year() < 2000 || t.Year() > 2200 {
		return time.Time{}, errors.New("not a time")
	}
	return t, nil
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
