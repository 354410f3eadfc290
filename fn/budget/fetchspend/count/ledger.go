package count

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/errors"
)

// A Ledger is v1alpha1.Ledger with numbers. Times are Unix milliseconds, as
// samples carry them; those that status shows are whole seconds. What holds of it
// always:
//
//	From <= SettledAt, and no cursor is later than SettledAt
//	Totals are what samples in (From, SettledAt] add, each counted once
//	AsOf is the time of the last sample that added any, on the grid, or SettledAt
type Ledger struct {
	Period    string
	Mapping   string
	From      int64
	AsOf      int64
	SettledAt int64
	Rebased   int64 // 0: never
	Totals    map[Meter]uint64
	Doubts    map[Meter]uint64 // tokens that may have been used beside those
	Cursors   map[string]Cursor

	// Prices were last used, as a price table; and since when there are no newer
	// ones, 0: these are.
	Prices      string
	PricesSince int64
}

// A Meter is what tokens are counted by: what prices them.
type Meter struct {
	Model   string
	Class   v1alpha1.TokenClass
	Context string
	Tier    string
	From    int64 // beginning of the price span, in Unix milliseconds; 0: the first
}

// A Cursor is the last settled sample of a series.
type Cursor struct {
	At     int64
	Value  uint64
	resets resets
}

// resets of a series, in the window that its last sample lies in and in the one
// before.
type resets struct{ now, before int }

// New is an empty ledger that counts from a time on.
func New(period, mapping string, from int64) Ledger {
	return Ledger{Period: period, Mapping: mapping, From: from, AsOf: from, SettledAt: from, Totals: map[Meter]uint64{}, Doubts: map[Meter]uint64{}, Cursors: map[string]Cursor{}}
}

// Clone returns a ledger whose maps may be changed.
func (l Ledger) Clone() Ledger {
	totals := make(map[Meter]uint64, len(l.Totals))
	maps.Copy(totals, l.Totals)
	doubts := make(map[Meter]uint64, len(l.Doubts))
	maps.Copy(doubts, l.Doubts)
	cursors := make(map[string]Cursor, len(l.Cursors))
	maps.Copy(cursors, l.Cursors)
	l.Totals, l.Doubts, l.Cursors = totals, doubts, cursors
	return l
}

// Read reads a ledger from status. An error means that it can't be relied on, and
// counting starts again.
func Read(in *v1alpha1.Ledger) (Ledger, error) {
	if in == nil {
		return Ledger{}, errors.New("there is no ledger")
	}
	l := New(in.Period, in.Mapping, 0)
	if l.Period == "" {
		return l, errors.New("its period is empty")
	}
	l.Prices = in.Prices
	for _, f := range []struct {
		name string
		text string
		into *int64
	}{
		{"from", in.From, &l.From},
		{"asOf", in.AsOf, &l.AsOf},
		{"settledAt", in.SettledAt, &l.SettledAt},
		{"rebased", in.Rebased, &l.Rebased},
		{"pricesSince", in.PricesSince, &l.PricesSince},
	} {
		if (f.name == "rebased" || f.name == "pricesSince") && f.text == "" {
			continue
		}
		t, ok := readTime(f.text)
		if !ok {
			return l, errors.Errorf("its %s is no time", f.name)
		}
		*f.into = t
	}
	for _, t := range in.Totals {
		m := Meter{Model: t.Model, Class: t.Class, Context: t.Context, Tier: t.Tier}
		from, ok := readTime(t.From)
		if t.From != "" {
			m.From = from
		}
		n, err := strconv.ParseUint(t.Tokens, 10, 64)
		doubtful, errDoubt := strconv.ParseUint(cmp.Or(t.Doubtful, "0"), 10, 64)
		_, twice := l.Totals[m]
		if err != nil || errDoubt != nil || twice || t.From != "" && !ok || !KnownClass(t.Class) {
			return l, errors.New("its totals are broken")
		}
		l.Totals[m] = n
		if doubtful > 0 {
			l.Doubts[m] = doubtful
		}
	}
	for _, c := range in.Cursors {
		at, err1 := strconv.ParseInt(c.At, 10, 64)
		v, err2 := strconv.ParseUint(c.Value, 10, 64)
		now, err3 := atoi(c.Resets)
		before, err4 := atoi(c.ResetsBefore)
		_, twice := l.Cursors[c.Series]
		if err := errors.Join(err1, err2, err3, err4); err != nil || twice || c.Series == "" || at < 0 || at > l.SettledAt {
			return l, errors.New("its cursors are broken")
		}
		l.Cursors[c.Series] = Cursor{At: at, Value: v, resets: resets{now: now, before: before}}
	}
	return l, nil
}

func readTime(text string) (ms int64, ok bool) {
	t, err := time.Parse(time.RFC3339, text)
	return t.UnixMilli(), err == nil && t.Year() >= 2000 && t.Year() <= 9000
}

// Write returns the ledger as status shows it: sorted, so that the same ledger
// is the same bytes.
func (l Ledger) Write() *v1alpha1.Ledger {
	out := &v1alpha1.Ledger{
		Period:    l.Period,
		Mapping:   l.Mapping,
		From:      RFC3339(l.From),
		AsOf:      RFC3339(l.AsOf),
		SettledAt: RFC3339(l.SettledAt),
		Prices:    l.Prices,
	}
	if l.Rebased != 0 {
		out.Rebased = RFC3339(l.Rebased)
	}
	if l.PricesSince != 0 {
		out.PricesSince = RFC3339(l.PricesSince)
	}
	for _, m := range SortedMeters(l.Totals) {
		out.Totals = append(out.Totals, m.write(l.Totals[m], l.Doubts[m]))
	}
	for _, k := range sortedKeys(l.Cursors) {
		out.Cursors = append(out.Cursors, l.Cursors[k].write(k))
	}
	return out
}

func (m Meter) write(tokens, doubtful uint64) v1alpha1.TokenTotal {
	t := v1alpha1.TokenTotal{Model: m.Model, Class: m.Class, Context: m.Context, Tier: m.Tier, Tokens: strconv.FormatUint(tokens, 10)}
	if m.From != 0 {
		t.From = RFC3339(m.From)
	}
	if doubtful > 0 {
		t.Doubtful = strconv.FormatUint(doubtful, 10)
	}
	return t
}

func (c Cursor) write(series string) v1alpha1.Cursor {
	return v1alpha1.Cursor{
		Series:       series,
		At:           strconv.FormatInt(c.At, 10),
		Value:        strconv.FormatUint(c.Value, 10),
		Resets:       itoa(c.resets.now),
		ResetsBefore: itoa(c.resets.before),
	}
}

// JSONSize is how many bytes a part of a ledger, or a text, takes in status.
func JSONSize(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		return maxLedger // nothing of it has a type that can't be written
	}
	return len(b)
}

// KnownClass says whether tokens are counted by a class.
func KnownClass(c v1alpha1.TokenClass) bool {
	return slices.Contains([]v1alpha1.TokenClass{
		v1alpha1.TokenInput, v1alpha1.TokenOutput, v1alpha1.TokenCachedInput, v1alpha1.TokenCacheWrite, v1alpha1.TokenThoughts, v1alpha1.TokenToolUse,
	}, c)
}

// SortedMeters are the keys of a map, in an order that never changes.
func SortedMeters[V any](m map[Meter]V) []Meter {
	ms := make([]Meter, 0, len(m))
	for k := range m {
		ms = append(ms, k)
	}
	slices.SortFunc(ms, func(a, b Meter) int {
		return cmp.Or(strings.Compare(a.Model, b.Model), strings.Compare(string(a.Class), string(b.Class)),
			strings.Compare(a.Context, b.Context), strings.Compare(a.Tier, b.Tier), cmp.Compare(a.From, b.From))
	})
	return ms
}

// RFC3339 writes a time in Unix milliseconds.
func RFC3339(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

func atoi(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err
}

func itoa(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
