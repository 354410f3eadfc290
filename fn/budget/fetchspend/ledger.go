package fetchspend

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"whisperops.io/functions/apis/v1alpha1"
)

// A ledger is v1alpha1.Ledger with numbers. Times are Unix milliseconds, as
// samples carry them; those that status shows are whole seconds.
type ledger struct {
	period    string
	mapping   string
	from      int64
	asOf      int64
	settledAt int64
	rebased   int64 // 0: never
	totals    map[meter]uint64
	cursors   map[string]cursor
}

// A meter is what tokens are counted by.
type meter struct {
	model string
	class v1alpha1.TokenClass
}

// A cursor is the last settled sample of a series.
type cursor struct {
	at     int64
	value  uint64
	resets resets
}

// resets of a series, in the window that its last sample lies in and in the one
// before.
type resets struct{ now, before int }

// clone returns a ledger whose maps may be changed.
func (l ledger) clone() ledger {
	totals := make(map[meter]uint64, len(l.totals))
	maps.Copy(totals, l.totals)
	cursors := make(map[string]cursor, len(l.cursors))
	maps.Copy(cursors, l.cursors)
	l.totals, l.cursors = totals, cursors
	return l
}

// readLedger reads a ledger from status. An error means that it can't be relied
// on, and counting starts again.
func readLedger(in *v1alpha1.Ledger) (ledger, error) {
	if in == nil {
		return ledger{}, errors.New("there is no ledger")
	}
	l := ledger{period: in.Period, mapping: in.Mapping, totals: map[meter]uint64{}, cursors: map[string]cursor{}}
	if l.period == "" {
		return l, errors.New("its period is empty")
	}
	for _, f := range []struct {
		name string
		text string
		into *int64
	}{
		{"from", in.From, &l.from},
		{"asOf", in.AsOf, &l.asOf},
		{"settledAt", in.SettledAt, &l.settledAt},
		{"rebased", in.Rebased, &l.rebased},
	} {
		if f.name == "rebased" && f.text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, f.text)
		if err != nil || t.Year() < 2000 || t.Year() > 9000 {
			return l, errors.Errorf("its %s is no time", f.name)
		}
		*f.into = t.UnixMilli()
	}
	for _, t := range in.Totals {
		m := meter{model: t.Model, class: t.Class}
		n, err := strconv.ParseUint(t.Tokens, 10, 64)
		_, twice := l.totals[m]
		if err != nil || twice || !knownClass(t.Class) {
			return l, errors.New("its totals are broken")
		}
		l.totals[m] = n
	}
	for _, c := range in.Cursors {
		at, err1 := strconv.ParseInt(c.At, 10, 64)
		v, err2 := strconv.ParseUint(c.Value, 10, 64)
		now, err3 := atoi(c.Resets)
		before, err4 := atoi(c.ResetsBefore)
		_, twice := l.cursors[c.Series]
		if err := errors.Join(err1, err2, err3, err4); err != nil || twice || c.Series == "" || at < 0 || at > l.settledAt {
			return l, errors.New("its cursors are broken")
		}
		l.cursors[c.Series] = cursor{at: at, value: v, resets: resets{now: now, before: before}}
	}
	return l, nil
}

// write returns the ledger as status shows it: sorted, so that the same ledger
// is the same bytes.
func (l ledger) write() *v1alpha1.Ledger {
	out := &v1alpha1.Ledger{
		Period:    l.period,
		Mapping:   l.mapping,
		From:      rfc3339(l.from),
		AsOf:      rfc3339(l.asOf),
		SettledAt: rfc3339(l.settledAt),
	}
	if l.rebased != 0 {
		out.Rebased = rfc3339(l.rebased)
	}
	for _, m := range sortedMeters(l.totals) {
		out.Totals = append(out.Totals, v1alpha1.TokenTotal{Model: m.model, Class: m.class, Tokens: strconv.FormatUint(l.totals[m], 10)})
	}
	for _, k := range sortedKeys(l.cursors) {
		out.Cursors = append(out.Cursors, l.cursors[k].write(k))
	}
	return out
}

func (c cursor) write(series string) v1alpha1.Cursor {
	return v1alpha1.Cursor{
		Series:       series,
		At:           strconv.FormatInt(c.at, 10),
		Value:        strconv.FormatUint(c.value, 10),
		Resets:       itoa(c.resets.now),
		ResetsBefore: itoa(c.resets.before),
	}
}

// jsonSize is how many bytes a part of a ledger, or a text, takes in status.
func jsonSize(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		return maxLedger // nothing of it has a type that can't be written
	}
	return len(b)
}

func knownClass(c v1alpha1.TokenClass) bool {
	return c == v1alpha1.TokenInput || c == v1alpha1.TokenOutput || c == v1alpha1.TokenCachedInput
}

func sortedMeters(m map[meter]uint64) []meter {
	ms := make([]meter, 0, len(m))
	for k := range m {
		ms = append(ms, k)
	}
	slices.SortFunc(ms, func(a, b meter) int {
		if c := strings.Compare(a.model, b.model); c != 0 {
			return c
		}
		return strings.Compare(string(a.class), string(b.class))
	})
	return ms
}

func sortedKeys[V any](m map[string]V) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

func rfc3339(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

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

// floor and ceil to a multiple of step since the Unix epoch, all in milliseconds.
func floor(ms int64, step time.Duration) int64 {
	s := step.Milliseconds()
	r := ms % s
	if r < 0 {
		r += s
	}
	return ms - r
}

func ceil(ms int64, step time.Duration) int64 {
	f := floor(ms, step)
	if f == ms {
		return f
	}
	return f + step.Milliseconds()
}
