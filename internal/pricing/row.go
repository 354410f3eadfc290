package pricing

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/errors"
)

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
			unchecked, _ = yes(v)
		}
	}
	ok, seen := true, map[string]bool{}
	bad := func(field string, line int, text string, args ...any) {
		r.flaw(name, field, line, text, args...)
		ok = false
	}
	var long, tiers, regional *yaml.Node
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
			if _, ok := yes(v); !ok {
				bad(k.Value, v.Line, "it must be true or false")
			}
		case r.version != "2":
			bad(k.Value, k.Line, "no price is called so: tokens are input, output, cachedInput, cacheWrite, thoughts or toolUse (and from, longContext, tiers, regional, aliases need version: 2)")
		case k.Value == "from":
			from, err := readTime(v.Value)
			if err != nil {
				bad(k.Value, v.Line, "it must be a day, such as 2027-01-01, which begins in UTC, or a time with its zone, such as 2027-01-01T08:00:00Z; from 2000 to 2200")
			}
			row.From = from
		case k.Value == "aliases" && v.Kind != yaml.SequenceNode:
			r.flaw(name, k.Value, k.Line, mustBeList) // the prices are none the worse for it
		case k.Value == "aliases":
			*names = append(*names, v.Content...)
		case k.Value == "longContext":
			long = v
		case k.Value == "tiers":
			tiers = v
			readTiers(v, row.Tiers, bad)
		case k.Value == "regional":
			f, why := factor(v)
			if why != "" {
				bad(k.Value, v.Line, "%s", why)
			}
			regional, row.Regional = v, f
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
	if ok && !unchecked {
		row.checkFactors(tiers, regional, bad)
	}
	return row, ok
}

// checkFactors refuses what makes prices nobody's, as a price itself is refused.
func (r Row) checkFactors(tiers, regional *yaml.Node, bad func(field string, line int, text string, args ...any)) {
	if regional != nil && r.Regional < one {
		bad("regional", regional.Line, "nobody's regions cost less than the global endpoint, and a tenth more is \"1.1\"; if it is right, say unchecked: true in the row")
		return
	}
	if tiers == nil {
		return
	}
	for k, v := range pairs(tiers) {
		for _, context := range []string{ContextStandard, ContextLong} {
			for _, c := range Classes {
				usual, _ := r.Rate(Use{Class: c, Context: context}, false)
				rate, _ := r.Rate(Use{Class: c, Context: context, Tier: k.Value}, false)
				if usual > 0 && rate < cheapest[c] {
					bad("tiers."+k.Value, v.Line, "%s times %s US dollars for a million %s tokens is below any market price; if it is right, say unchecked: true in the row", short(v.Value), (usual * one).String(), c)
					return
				}
			}
		}
	}
}

// yes reads a statement.
func yes(n *yaml.Node) (said, ok bool) {
	said = strings.EqualFold(n.Value, "true")
	return said, n.Kind == yaml.ScalarNode && (said || strings.EqualFold(n.Value, "false"))
}

const holdsAbove = "it must hold above, and prices of its own"

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
	if n.Kind == yaml.SequenceNode && len(n.Content) > 1 {
		r.flaw(name, field, n.Line, "%s: a counter says of a prompt that it is long, and not how long, so that a row has one of them", holdsAbove)
		return false
	}
	if n.Kind != yaml.MappingNode {
		r.flaw(name, field, n.Line, holdsAbove)
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
			above, err := strconv.ParseUint(number(v), 10, 32)
			if err != nil || above == 0 || octal.MatchString(v.Value) {
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
	if len(given) == 0 && ok {
		r.flaw(name, field, n.Line, holdsAbove)
		ok = false
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

// times are the ways to write one that leave no doubt which it is: a time without its
// zone is somebody's own.
var times = []string{
	time.DateOnly, time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z0700",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04Z07:00", "2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04 Z07:00", "2006-01-02 15:04:05 Z0700", "2006-01-02 15:04:05 UTC", "2006-01-02 15:04 UTC",
}

func readTime(text string) (time.Time, error) {
	text = strings.ToUpper(strings.TrimSpace(text))
	for _, layout := range times {
		if t, err := time.Parse(layout, text); err == nil && t.Nanosecond() == 0 {
			return sane(t.UTC())
		}
	}
	return time.Time{}, errors.New("not a time")
}

func sane(t time.Time) (time.Time, error) {
	if t.Year() < 2000 || t.Year() > 2200 {
		return time.Time{}, errors.New("not a time")
	}
	return t, nil
}
