package count

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/errors"
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

// A Counter is what a process counts of one kind of token. Its series are twins:
// they differ in replica labels, or in nothing but the way by which they came.
type Counter struct {
	Key    string            // hash of the identity
	Labels map[string]string // without replica labels

	keys     []string // of all its series, sorted; Key is one of them
	name     string   // for people
	meter    Meter
	process  process
	twins    []string            // the replica labels of each twin; sorted, series by series
	ways     []map[string]string // its other labels
	points   []point             // in the order of time, then of twins
	until    int64               // of one of the Past: when it was last heard among what was read,
	heirs    []heir              // and what may go on from it
	distrust []string            // why samples were left out, and what was joined; sorted
}

// First returns the time and the value of its first sample up to a time; ok is
// false when there is none.
func (c Counter) First(upTo int64) (at int64, value uint64, ok bool) {
	if len(c.points) == 0 || c.points[0].at > upTo {
		return 0, 0, false
	}
	return c.points[0].at, c.points[0].v, true
}

// A twin is one of the series that replicas write of one counter.
type twin struct {
	replica string
	own     map[string]string
	series  Series
}

// ReadCounters turns an answer into counters: in the order of their keys, with
// samples sorted, and without what no token counter has. It fails when the
// answer holds what was not asked for, which is then no answer to our question.
// Strange is what was left out, in words: values of the class label that mean nothing,
// series of pods that are not the agent's; sorted.
func ReadCounters(answer []Series, agent string, r Rules) (cs []Counter, strange []string, err error) {
	m := r.Metrics
	twins, left := map[string][]twin{}, map[string]bool{}
	for _, sr := range answer {
		class, ok := m.Names[sr.Labels["__name__"]]
		if !ok || sr.Labels[m.AgentLabel] != m.Agent(agent) {
			return nil, nil, errors.New("it holds series that were not asked for")
		}
		if class == "" {
			value := sr.Labels[m.ClassLabel]
			if class, ok = m.class(value); !ok {
				left[m.ClassLabel+"="+strconv.Quote(short(value, 40))+": metrics.classes doesn't say what it counts, so that it counts nothing"] = true
				continue
			}
		}
		if class == ClassOfNone {
			continue
		}
		if ns := sr.Labels[m.NamespaceLabel]; ns != "" && m.NamespaceLabel != m.AgentLabel && m.Ours != nil && !m.Ours(agent, ns) {
			left[m.NamespaceLabel+"="+strconv.Quote(short(ns, 40))+": a pod there counts under this agent's name, and is not charged (if it counts for agents, metrics.namespaces must name its namespace)"] = true
			continue
		}
		if value := sr.Labels[m.ContextLabel]; m.ContextLabel != "" && !contextKnown(value) {
			left[m.ContextLabel+"="+strconv.Quote(short(value, 40))+": it is neither long nor standard, so that its tokens cost the usual price (metrics.contextLabel must name a label that says long)"] = true
		}
		own, replica := map[string]string{}, map[string]string{}
		for k, v := range sr.Labels {
			if slices.Contains(m.ReplicaLabels, k) {
				replica[k] = v
			} else {
				own[k] = v
			}
		}
		id := identity(own)
		twins[id] = append(twins[id], twin{replica: identity(replica), own: own, series: sr})
	}

	cs = make([]Counter, 0, len(twins))
	for id, ts := range twins {
		c, err := counterOf(id, ts, m)
		if err != nil {
			return nil, nil, err
		}
		cs = append(cs, c)
	}
	slices.SortFunc(cs, func(a, b Counter) int { return strings.Compare(a.Key, b.Key) })
	return cs, sortedKeys(left), nil
}

// counterOf makes one counter of its twins. It fails when two are the same.
func counterOf(id string, ts []twin, m Mapping) (Counter, error) {
	slices.SortFunc(ts, func(a, b twin) int { return strings.Compare(a.replica, b.replica) })
	labels := ts[0].own
	sum := sha256.Sum256([]byte(id))
	c := Counter{
		Key:     hex.EncodeToString(sum[:])[:16],
		Labels:  labels,
		name:    display(labels, m),
		meter:   m.meter(labels),
		process: processOf(labels),
	}
	c.keys = []string{c.Key}
	why, samples := map[string]bool{}, 0
	for _, t := range ts {
		samples += len(t.series.Samples)
	}
	c.points = make([]point, 0, samples)
	for i, t := range ts {
		if i > 0 && t.replica == ts[i-1].replica {
			return Counter{}, errors.New("it holds the same series twice")
		}
		c.twins, c.ways = append(c.twins, t.replica), append(c.ways, t.own)
		for _, sm := range t.series.Samples {
			if math.IsNaN(sm.Value) {
				continue // VictoriaMetrics' mark of an end; no counter has it
			}
			if bad := refuse(sm.Value); bad != "" {
				why[bad] = true
				continue
			}
			c.points = append(c.points, point{at: sm.At, twin: i, v: uint64(sm.Value)})
		}
	}
	c.distrust = sortedKeys(why)
	slices.SortFunc(c.points, comparePoints)
	return c, nil
}

func comparePoints(a, b point) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.twin, b.twin), cmp.Compare(a.v, b.v))
}

// class is what a value of the class label means: as it is written, or else in any case,
// if all that is written otherwise means the same.
func (m Mapping) class(value string) (class v1alpha1.TokenClass, ok bool) {
	if class, ok = m.Classes[value]; ok {
		return class, true
	}
	for v, c := range m.Classes {
		if !strings.EqualFold(v, value) {
			continue
		}
		if ok && c != class {
			return "", false
		}
		class, ok = c, true
	}
	return class, ok
}

// meter is what a series counts.
func (m Mapping) meter(labels map[string]string) Meter {
	out := Meter{Model: first(labels, m.ModelLabels), Class: m.Names[labels["__name__"]]}
	if out.Class == "" {
		out.Class, _ = m.class(labels[m.ClassLabel])
	}
	if m.ContextLabel != "" && strings.EqualFold(labels[m.ContextLabel], LongContext) {
		out.Context = LongContext
	}
	if m.TierLabel != "" {
		out.Tier = short(strings.ToLower(labels[m.TierLabel]), maxTierLen)
		if out.Tier == "standard" {
			out.Tier = ""
		}
	}
	return out
}

// contextKnown says whether a value of the context label means something.
func contextKnown(value string) bool {
	return slices.Contains([]string{"", LongContext, "standard", "short", "default", "normal"}, strings.ToLower(value))
}

const maxTierLen = 32 // bytes; what is longer is no tier that anybody sells

// refuse says why a value is none that a token counter can have, or "".
func refuse(v float64) string {
	switch {
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
func display(labels map[string]string, m Mapping) string {
	var b strings.Builder
	b.WriteString(labels["__name__"])
	b.WriteByte('{')
	first := true
	for _, k := range sortedKeys(labels) {
		if k == "__name__" || k == m.AgentLabel {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(k + "=" + strconv.Quote(short(labels[k], 40)))
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
// maxModels models, with names of at most maxModelLen bytes as JSON writes them (a
// "<" takes six), and at most maxTotals bytes for all.
func (m Meter) named(totals map[Meter]uint64) Meter {
	if _, ok := totals[m]; ok {
		return m
	}
	if m.Model != OtherModels {
		models, size := map[string]bool{}, 0
		for t := range totals {
			if t.Model != OtherModels {
				models[t.Model] = true
			}
			size += JSONSize(t.write(^uint64(0), 0))
		}
		if (models[m.Model] || len(models) < maxModels) && JSONSize(m.Model)-2 <= maxModelLen && size+JSONSize(m.write(^uint64(0), 0)) <= maxTotals {
			return m
		}
	}
	// Whatever the others are, they cost as the dearest.
	return Meter{Model: OtherModels, Class: m.Class, Context: m.Context}
}
