package tokenmeter

import (
	"slices"
	"strings"
)

// modelName is a model's name without the places that Google puts before it.
func modelName(name string) string {
	if i := strings.LastIndex(name, "models/"); i >= 0 && (i == 0 || name[i-1] == '/') {
		name = name[i+len("models/"):]
	}
	return strings.TrimPrefix(name, "google/")
}

// otherModel is the series of the models that got none of their own.
const otherModel = "other"

// named is the model that a call is counted under: the one that answered, or the
// one asked for where the answer doesn't say, or where only that one has a price.
// A model without a price keeps its name, so that its tokens get their price with
// the row that is added for it; but an agent can bring along only a few of those.
func (m *Meter) named(agent, answered, asked string) string {
	prices := m.state.Prices()
	asked = modelName(asked)
	switch {
	case answered != "" && prices.Known(answered):
		return answered
	case answered == "" && prices.Known(asked):
		return asked
	case answered == "":
		answered = asked
	}
	if answered == "" || len(answered) > 100 || !validLabel(answered) {
		return otherModel
	}
	m.modelsMu.Lock()
	defer m.modelsMu.Unlock()
	of := m.models[agent]
	if of == nil {
		of = map[string]bool{}
		m.models[agent] = of
	}
	if !of[answered] && len(of) >= m.limits.ExtraModels {
		m.metrics.unpriced.Inc()
		return otherModel
	}
	if !of[answered] {
		m.log.Info("A model has no price", "agent", agent, "model", answered)
	}
	of[answered] = true
	return answered
}

func validLabel(s string) bool {
	for _, r := range s {
		if r < ' ' || r == '\ufffd' || r == 0x7f {
			return false
		}
	}
	return true
}

// learn that a model answered in another's place: a hard budget then holds what
// either may cost. A provider may do so with a few, as when one is retired.
func (m *Meter) learn(asked, answered string) {
	if asked == "" || answered == "" || asked == answered {
		return
	}
	m.modelsMu.Lock()
	defer m.modelsMu.Unlock()
	others := m.answered[asked]
	if len(m.answered) < 1000 && len(others) < 8 && !slices.Contains(others, answered) {
		m.answered[asked] = append(others, answered)
	}
}
