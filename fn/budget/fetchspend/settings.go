package fetchspend

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/price"
	"whisperops.io/functions/internal/errors"
)

// Settings are what a platform team sets once: where the counters are and how
// they are read.
type Settings struct {
	// URL and Tenant tell one store from another: the same agent's series may carry
	// other labels there.
	URL    string
	Tenant string

	// Exact: each metric is asked for by itself.
	Exact bool

	Rules count.Rules

	// Namespaces are those of pods that count for agents beside their own; nil: any but
	// other agents', empty: none.
	Namespaces []string

	// Contained says which classes others count too. It says how totals are priced and
	// nothing about how they are counted, so that setting it right later prices right
	// what was counted before.
	Contained price.Contained

	// Canary is a metric that a meter shows for each agent whose calls it counts. Empty:
	// the counters aren't a meter's.
	Canary string

	IngestDelay time.Duration
	MinLook     time.Duration
	MaxLook     time.Duration

	Timeout time.Duration // of one query
}

const (
	pageSize    = 6 * time.Hour // how much of a backlog one query reads
	pagesPerRun = 4             // queries for a backlog in one pass
	maxNamed    = 20            // distrusted series that are named: decide shows ten, and a response has an end
)

// ReadSettings reads an input and refuses what can't work. A field that is empty
// or null means its default.
func ReadSettings(in *input.FetchSpendInput) (Settings, error) {
	absent := &input.FetchSpendInput{}
	absent.Default()
	replicaLabels := in.ReplicaLabels
	if replicaLabels == nil {
		replicaLabels = absent.ReplicaLabels
	}
	m, err := in.Metrics.Resolve(*cmp.Or(in.InputContainsCached, absent.InputContainsCached))
	if err != nil {
		return Settings{}, errors.Wrap(err, "cannot use input: metrics")
	}
	s := Settings{
		URL:    cmp.Or(in.Prometheus.URL, absent.Prometheus.URL),
		Tenant: in.Prometheus.Tenant,
		Exact:  in.Prometheus.ExactNames,

		Namespaces: m.Namespaces,
		Rules: count.Rules{
			Metrics: count.Mapping{
				Names: m.Names, ClassLabel: m.ClassLabel, Classes: m.Classes,
				AgentLabel: m.AgentLabel, AgentPrefix: m.AgentPrefix, ModelLabels: m.ModelLabels,
				NamespaceLabel: m.Namespace,
				ContextLabel:   m.ContextLabel, TierLabel: m.TierLabel, PartLabels: m.PartLabels,
				ReplicaLabels: slices.Sorted(slices.Values(replicaLabels)),
			},
			Grid:          cmp.Or(in.Grid, absent.Grid).Duration,
			SettleAfter:   cmp.Or(in.SettleAfter, absent.SettleAfter).Duration,
			Heartbeat:     cmp.Or(in.Heartbeat, absent.Heartbeat).Duration,
			MaxResets:     int(cmp.Or(in.MaxResetsPerHour, absent.MaxResetsPerHour)),
			CachedInInput: slices.Contains(m.InInput, v1alpha1.TokenCachedInput),
		},
		Contained:   price.Contained{InInput: m.InInput, InOutput: m.InOutput},
		Canary:      input.Presets()[in.Metrics.Preset].Canary,
		IngestDelay: cmp.Or(in.IngestDelay, absent.IngestDelay).Duration,
		MinLook:     cmp.Or(in.MinLook, absent.MinLook).Duration,
		MaxLook:     cmp.Or(in.MaxLook, absent.MaxLook).Duration,
		Timeout:     cmp.Or(in.Prometheus.Timeout, absent.Prometheus.Timeout).Duration,
	}
	for _, l := range replicaLabels {
		if !input.LabelName(l) {
			return s, errors.Errorf("cannot use input: replicaLabels: %q is no label name", l)
		}
		counted := append([]string{m.AgentLabel, m.ClassLabel, m.ContextLabel, m.TierLabel, "__name__"}, m.ModelLabels...)
		if slices.Contains(counted, l) {
			return s, errors.Errorf("cannot use input: replicaLabels must not hold %q: series that differ in it are no twins", l)
		}
	}
	return s, errors.Wrap(s.check(), "cannot use input")
}

func (s Settings) check() error {
	r := s.Rules
	switch {
	case r.Grid < time.Second || r.Grid%time.Second != 0:
		return errors.Errorf("grid %s must be whole seconds, and at least one", r.Grid)
	case r.Grid > 10*time.Minute:
		return errors.Errorf("grid %s must be at most 10m: nothing newer than a step is counted", r.Grid)
	case s.IngestDelay < 0:
		return errors.Errorf("ingestDelay %s must not be negative", s.IngestDelay)
	case r.SettleAfter < 2*time.Minute || r.SettleAfter > 24*time.Hour:
		return errors.Errorf("settleAfter %s must be from 2m to 24h", r.SettleAfter)
	case r.SettleAfter < 4*r.Grid:
		return errors.Errorf("settleAfter %s must be at least four steps of the grid (%s)", r.SettleAfter, r.Grid)
	case r.Heartbeat < time.Minute || r.Heartbeat > 24*time.Hour:
		return errors.Errorf("heartbeat %s must be from 1m to 24h", r.Heartbeat)
	case s.MinLook < time.Second:
		return errors.Errorf("minLook %s must be at least 1s", s.MinLook)
	case s.MaxLook < s.MinLook:
		return errors.Errorf("maxLook %s must not be shorter than minLook %s", s.MaxLook, s.MinLook)
	case r.MaxResets < 1:
		return errors.Errorf("maxResetsPerHour %d must be at least 1", r.MaxResets)
	case s.Timeout <= 0 || s.Timeout > time.Minute:
		return errors.Errorf("prometheus.timeout %s must be more than 0 and at most 1m", s.Timeout)
	}
	return nil
}

// Mapping identifies what cursors belong to: another store, selector or identity
// makes other series of the same tokens.
func (s Settings) Mapping(agent string) string {
	m := s.Rules.Metrics
	h := sha256.New()
	parts := []string{s.URL + "\n" + s.Tenant, agent, m.AgentLabel, strings.Join(m.ModelLabels, "\n"), strings.Join(m.ReplicaLabels, ",")}
	for _, p := range append(parts, m.MetricNames()...) {
		h.Write([]byte(p))
		h.Write([]byte{0})
		h.Write([]byte(m.Names[p]))
		h.Write([]byte{0})
	}
	// What the first version did not know changes nothing where it isn't used.
	for _, p := range []string{m.AgentPrefix, m.ClassLabel, m.ContextLabel, m.TierLabel} {
		if p != "" {
			h.Write([]byte(p))
			h.Write([]byte{1})
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
