package mind

import "slices"

// whichValues are questions about which values there are.
func (r *reader) whichValues() bool {
	p := &r.plan
	all := r.free()
	switch {
	case p.N > 0 && len(all) == 0 && p.Group.Name == "" && r.says("first", "last") && r.says("rows", "records", "lines", "entries"):
		p.Job, p.Least = Head, r.says("last")
	case r.asks("duplicates"):
		p.Job, p.Measure = Duplicates, Column{}
		if len(all) > 0 {
			p.Measure = all[0]
		}
	case r.says("how many columns", "number of columns", "count of columns"):
		p.Job, p.How = Overview, "count"
	case r.asks("missing"):
		p.Job, p.Measure = Missing, Column{}
		if len(all) > 0 {
			p.Measure = all[0]
		}
	case r.asks("distinct") && len(all) > 0 && p.Group.Name == "":
		p.Job, p.Measure = Distinct, all[0]
	case r.asks("share"):
		r.share(all)
	case r.howMany() && len(all) > 0 && p.Group.Name == "" && r.counted(all[0]):
		p.Job, p.Measure = Distinct, all[0]
	case r.asks("overview") && len(all) == 0 && p.Group.Name == "" && len(p.Filters) == 0:
		p.Job = Overview
	default:
		return false
	}
	return true
}

// share is a question about a part of a whole: what the last of its filters leaves of what
// the others leave, or each group's part.
func (r *reader) share(all []Column) {
	p := &r.plan
	numbers := r.free(Number)
	if len(p.Filters) > 0 && p.Group.Name == "" {
		p.Job, p.Measure = Share, Column{}
		if len(numbers) > 0 { // of the revenue, not of the rows
			p.Measure = numbers[0]
		}
		last := slices.MaxFunc(p.Filters, func(a, b Filter) int { return a.at - b.at })
		p.Base = slices.DeleteFunc(slices.Clone(p.Filters), func(f Filter) bool { return f.at == last.at })
		p.Filters = []Filter{last}
		return
	}
	if p.Group.Name == "" && len(all) > 0 && all[0].Kind != Number {
		p.Group = all[0]
	}
	if p.Group.Name == "" || len(numbers) > 0 {
		p.Job, p.Why = Unclear, "I can't tell of what the share is meant."
		return
	}
	p.Job, p.How = Aggregate, "share"
}

// counted says whether "how many" is about a column's different values: "how many
// cities", but not "how many orders have a comment".
func (r *reader) counted(c Column) bool {
	for i, m := range r.mentions {
		if b := r.before(m.from); m.column == c && !r.taken[i] && c.Kind != Number && (b == "many" || b == "number" || b == "count") {
			return true
		}
	}
	return false
}
