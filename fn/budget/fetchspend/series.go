package fetchspend

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// A Series is what a server answered: raw samples of one time series.
type Series struct {
	Labels  map[string]string // with __name__
	Samples []Sample
}

// A Sample is a value at a time in Unix milliseconds.
type Sample struct {
	At    int64
	Value float64
}

// A token counter is exact up to here; beyond, a float64 has holes.
const largestCount = 1 << 53

// A counter is one series with its twins merged: what they differ in are replica
// labels.
type counter struct {
	key      string            // hash of the identity
	name     string            // for people
	labels   map[string]string // without replica labels
	meter    meter
	twins    []string // the replica labels of each twin, sorted
	points   []point  // in the order of time, then of twins
	distrust []string // why samples were left out; sorted
}

// readCounters turns an answer into counters: in the order of their keys, with
// samples sorted, and without what no token counter has. It fails when the
// answer holds what was not asked for, which is then no answer to our question.
func readCounters(answer []Series, agent string, s Settings) ([]counter, error) {
	type twin struct {
		replica string
		own     map[string]string
		series  Series
	}
	twins := map[string][]twin{}
	for _, sr := range answer {
		if _, ok := s.Metrics[sr.Labels["__name__"]]; !ok || sr.Labels[s.AgentLabel] != agent {
			return nil, errors.New("it holds series that were not asked for")
		}
		own, replica := map[string]string{}, map[string]string{}
		for k, v := range sr.Labels {
			if slices.Contains(s.ReplicaLabels, k) {
				replica[k] = v
			} else {
				own[k] = v
			}
		}
		id := identity(own)
		twins[id] = append(twins[id], twin{replica: identity(replica), own: own, series: sr})
	}

	out := make([]counter, 0, len(twins))
	for id, ts := range twins {
		slices.SortFunc(ts, func(a, b twin) int { return strings.Compare(a.replica, b.replica) })
		labels := ts[0].own
		sum := sha256.Sum256([]byte(id))
		c := counter{
			key:    hex.EncodeToString(sum[:])[:16],
			name:   display(labels, s),
			labels: labels,
			meter:  meter{model: labels[s.ModelLabel], class: s.Metrics[labels["__name__"]]},
		}
		why := map[string]bool{}
		for i, t := range ts {
			if i > 0 && t.replica == ts[i-1].replica {
				return nil, errors.New("it holds the same series twice")
			}
			c.twins = append(c.twins, t.replica)
			for _, sm := range t.series.Samples {
				if bad := refuse(sm.Value); bad != "" {
					why[bad] = true
					continue
				}
				c.points = append(c.points, point{at: sm.At, twin: i, v: uint64(sm.Value)})
			}
		}
		c.distrust = sortedKeys(why)
		slices.SortFunc(c.points, func(a, b point) int {
			switch {
			case a.at != b.at:
				return int(min(1, max(-1, a.at-b.at)))
			case a.twin != b.twin:
				return a.twin - b.twin
			case a.v < b.v:
				return -1
			case a.v > b.v:
				return 1
			}
			return 0
		})
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b counter) int { return strings.Compare(a.key, b.key) })
	return out, nil
}

// refuse says why a value is none that a token counter can have, or "".
func refuse(v float64) string {
	switch {
	case math.IsNaN(v):
		return "samples that are not a number"
	case v < 0:
		return "negative samples"
	case v > largestCount:
		return "samples too large to be exact"
	case v != math.Trunc(v):
		return "samples that are not whole numbers"
	}
	return ""
}

// identity is an injective encoding of labels.
func identity(labels map[string]string) string {
	var b []byte
	for _, k := range sortedKeys(labels) {
		for _, p := range []string{k, labels[k]} {
			b = binary.AppendUvarint(b, uint64(len(p)))
			b = append(b, p...)
		}
	}
	return string(b)
}

// display names a series as PromQL writes it, without the labels that all
// series of the agent share, and cut to a length that fits a condition.
func display(labels map[string]string, s Settings) string {
	var b strings.Builder
	b.WriteString(labels["__name__"])
	b.WriteByte('{')
	first := true
	for _, k := range sortedKeys(labels) {
		if k == "__name__" || k == s.AgentLabel {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(k + "=" + quote(short(labels[k], 40)))
	}
	return short(b.String(), 200) + "}"
}

// short cuts a text that somebody else made to at most n bytes, at a rune.
func short(t string, n int) string {
	t = strings.ToValidUTF8(t, "?")
	if len(t) <= n {
		return t
	}
	cut := n
	for cut > 0 && t[cut]&0xC0 == 0x80 {
		cut--
	}
	return t[:cut] + "..."
}

// named returns the meter under which a counter's tokens go to status: at most
// maxModels models, with names of at most maxModelLen bytes as JSON writes them: a
// "<" takes six.
func (m meter) named(totals map[meter]uint64) meter {
	if m.model == OtherModels {
		return m
	}
	models := map[string]bool{}
	for t := range totals {
		if t.model != OtherModels {
			models[t.model] = true
		}
	}
	if models[m.model] || jsonSize(m.model)-2 <= maxModelLen && len(models) < maxModels {
		return m
	}
	return meter{model: OtherModels, class: m.class}
}
