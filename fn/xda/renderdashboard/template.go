package renderdashboard

import (
	_ "embed" // the dashboard
	"encoding/json"
	"fmt"
	"strings"

	"whisperops.io/functions/fn/internal/manifest"
)

// dashboard.json is a dashboard as Grafana exports it, to be edited there. Its
// queries name nothing of an agent or a platform; they use the dashboard's
// variables, and only those, and three properties, are set for each agent.
//
//go:embed dashboard.json
var dashboardJSON []byte

// Names of the values that are properties of the dashboard. All other values are
// variables.
const (
	propertyUID         = ".uid"
	propertyTitle       = ".title"
	propertyDescription = ".description"
)

var dashboard = mustCompile(dashboardJSON)

// A template is the dashboard's JSON, encoded but for the values of one agent:
// literal JSON at even indexes, names of values at odd ones. So a call encodes
// two dozen strings instead of the whole dashboard. The holes are keys of the
// decoded JSON; no text is ever searched for them.
type template []string

// with fills the holes. Each value becomes one JSON string, whatever it holds.
func (t template) with(values map[string]string) string {
	size := 0
	for i, s := range t {
		size += len(s)
		if i%2 == 1 {
			size += len(values[s]) + 2
		}
	}
	var out strings.Builder
	out.Grow(size)
	for i, s := range t {
		switch {
		case i%2 == 0:
			out.WriteString(s)
		case isPlain(values[s]):
			out.WriteByte('"')
			out.WriteString(values[s])
			out.WriteByte('"')
		default:
			out.WriteString(encoded(values[s]))
		}
	}
	return out.String()
}

// isPlain says whether s stands for itself between quotation marks in JSON. All
// values but people's text do, and encoding them costs more than all else here.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// A hole takes the place of a value in the decoded JSON.
type hole string

// mustCompile makes the template, when the program starts.
func mustCompile(doc []byte) template {
	t, err := compile(doc)
	if err != nil {
		panic(fmt.Sprintf("dashboard.json: %v", err))
	}
	return t
}

func compile(doc []byte) (template, error) {
	var d map[string]any
	if err := json.Unmarshal(doc, &d); err != nil {
		return nil, err
	}
	d["uid"], d["title"], d["description"] = hole(propertyUID), hole(propertyTitle), hole(propertyDescription)

	templating, _ := d["templating"].(map[string]any)
	variables, _ := templating["list"].([]any)
	for i, v := range variables {
		variable, _ := v.(map[string]any)
		name, _ := variable["name"].(string)
		if name == "" {
			return nil, fmt.Errorf("templating.list[%d] has no name", i)
		}
		switch variable["type"] {
		case "constant":
			variable["query"] = hole(name)
			variable["current"] = map[string]any{"selected": true, "text": hole(name), "value": hole(name)}
		case "datasource":
			variable["current"] = map[string]any{"selected": true, "text": hole(name), "value": hole(name)}
		}
	}

	var c compiler
	c.encode(d)
	return append(c.template, c.literal.String()), nil
}

// A compiler encodes decoded JSON, and interrupts the text at holes.
type compiler struct {
	template template
	literal  strings.Builder
}

func (c *compiler) encode(v any) {
	switch v := v.(type) {
	case hole:
		c.template = append(c.template, c.literal.String(), string(v))
		c.literal.Reset()
	case map[string]any:
		c.literal.WriteByte('{')
		for i, k := range manifest.Keys(v) {
			if i > 0 {
				c.literal.WriteByte(',')
			}
			c.literal.WriteString(encoded(k) + ":")
			c.encode(v[k])
		}
		c.literal.WriteByte('}')
	case []any:
		c.literal.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				c.literal.WriteByte(',')
			}
			c.encode(e)
		}
		c.literal.WriteByte(']')
	default:
		c.literal.WriteString(encoded(v))
	}
}

// encoded encodes a string, or anything else that JSON decodes to but a list or
// a map: none can fail. Queries stay readable: < and > are left as they are.
func encoded(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
