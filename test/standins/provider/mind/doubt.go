package mind

import (
	"fmt"
	"slices"
	"strings"
)

// beyond are words that ask for what no plan can do, and what to say then.
var beyond = map[string]string{
	"why": "reasons", "because": "reasons", "cause": "reasons", "causes": "reasons", "reason": "reasons",
	"will": "future", "predict": "future", "prediction": "future", "forecast": "future", "next": "future", "expect": "future", "expected": "future", "future": "future", "tomorrow": "future",
	"ratio": "formulas", "times": "formulas", "multiplied": "formulas", "divided": "formulas", "minus": "formulas", "plus": "formulas", "product of": "formulas", "squared": "formulas",
	"grew": "changes", "grow": "changes", "growth": "changes", "increase": "changes", "increased": "changes", "decrease": "changes", "decreased": "changes", "change": "changes", "changed": "changes", "fastest": "changes",
	"twice": "formulas", "weighted": "formulas",
}

var reasons = map[string]string{
	"reasons":  "I can't say why something is so: the table only says that it is.",
	"future":   "I can't look into the future: I only calculate with what stands in the table.",
	"formulas": "I can't combine columns by a formula. Ask for a figure of each column.",
	"changes":  "I can't calculate changes from one time to another. Ask for the figures per year or month, and compare them.",
}

// cannot says why a question is beyond what plans can do; "" if it may not be.
func (r *reader) cannot() string {
	for _, w := range r.q {
		if w.quoted || slices.ContainsFunc(r.columns, func(c Column) bool { return slices.Contains(nameWords(c.Name), w.stem) }) {
			continue
		}
		if why := beyond[w.text]; why != "" {
			return reasons[why]
		}
	}
	return ""
}

// fillers say nothing that a plan must take account of.
var fillers = map[string]bool{}

func init() { //nolint:gochecknoinits // a set is read better as one text
	for w := range strings.FieldsSeq(`make makes made buy buys bought place placed order ordered live lives living lived located belong belongs find found know see want like get got
		calculate compute determine list display provide present exist exists recorded registered entire whole overall also currently together sorted ranked rank
		by per each every across within near around while during against both it them themselves one's using among respectively now exactly here sold sell come comes came work works
		standard fell single individual given held hold holds hey hi hello ok okay thanks thank sir and/or into onto shows showing take took value values according figure figures
		what's who's that's how's where's number numbers kind of old day days when where does last first looking look ones`) {
		fillers[w] = true
	}
}

// unexplained says which words of the question a plan takes no account of; "" if it
// takes account of all. What nobody can tell from a name of rows is taken for one,
// and the plan says so.
func (r *reader) unexplained() string {
	if r.plan.Job == Unclear {
		return ""
	}
	known := slices.ContainsFunc(r.columns, func(c Column) bool { return c.Kind == ID && len(entity(c)) > 0 })
	var unknown []string
	for i, w := range r.q {
		switch {
		case w.used, !w.quoted && (plain[w.stem] || plain[w.text] || fillers[w.text] || jobOf[w.text] != ""):
			continue
		case !known && r.plan.Hedge == "" && r.isRows(i):
			r.plan.Hedge = fmt.Sprintf("Nothing in the table is called “%s”: I take each row for one.", w.raw)
			continue
		}
		unknown = append(unknown, "“"+w.raw+"”")
	}
	switch len(unknown) {
	case 0:
		return r.unused()
	case 1:
		return "I can't tell what " + unknown[0] + " means here: no column and no value is called so."
	}
	return "I can't tell what " + strings.Join(unknown[:len(unknown)-1], ", ") + " and " + unknown[len(unknown)-1] + " mean here: no column and no value is called so."
}

// unused says which column a question names and a plan takes no account of; "" if it
// takes account of all.
func (r *reader) unused() string {
	p := r.plan
	if p.Group.Kind == Number && p.Group.Many && p.Group != r.year() {
		return "I can't divide by a column, and " + p.Group.Name + " has too many different values to make groups of."
	}
	for i, m := range r.mentions {
		if p.Job == Row {
			break // the answer is a whole row
		}
		if !r.taken[i] && m.column != p.Measure && m.column != p.Other && m.column != p.Group {
			return "I can't tell what to do with the column " + m.column.Name + " here."
		}
	}
	return ""
}

// isRows says whether a word stands where people name what the rows are: "how many
// districts", "which house has", "what share of the flats".
func (r *reader) isRows(at int) bool {
	if isNumber(r.q[at]) || r.q[at].quoted {
		return false
	}
	b := r.before(at)
	counted := b == "many" || b == "all" || b == "number" || b == "count" || jobOf[b] == "share"
	ranked := b == "which" || b == "what"
	return counted || ranked && r.plan.Job == Row
}
