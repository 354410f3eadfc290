package renderdashboard

import (
	_ "embed" // the dashboard
	"encoding/json"
	"fmt"

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
	out := make([]byte, 0, 32*1024)
	for i, s := range t {
		if i%2 == 1 {
			out = appendJSON(out, values[s])
			continue
		}
		out = append(out, s...)
	}
	return string(out)
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
	return append(c.template, string(c.literal)), nil
}

// A compiler encodes decoded JSON, and interrupts the text at holes.
type compiler struct {
	template template
	literal  []byte
}

func (c *compiler) encode(v any) {
	switch v := v.(type) {
	case hole:
		c.template = append(c.template, string(c.literal), string(v))
		c.literal = nil
	case map[string]any:
		c.literal = append(c.literal, '{')
		for i, k := range manifest.Keys(v) {
			if i > 0 {
				c.literal = append(c.literal, ',')
			}
			c.literal = append(appendJSON(c.literal, k), ':')
			c.encode(v[k])
		}
		c.literal = append(c.literal, '}')
	case []any:
		c.literal = append(c.literal, '[')
		for i, e := range v {
			if i > 0 {
				c.literal = append(c.literal, ',')
			}
			c.encode(e)
		}
		c.literal = append(c.literal, ']')
	default:
		c.literal = appendJSON(c.literal, v)
	}
}

// appendJSON encodes what JSON decodes to, or a string: neither can fail.
func appendJSON(to []byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(to, b...)
}
