package fetchspend

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
)

// Settings are what a platform team sets once: where the counters are and how
// they are read.
type Settings struct {
	// URL and Tenant tell one store from another: the same agent's series may carry
	// other labels there.
	URL    string
	Tenant string

	// Metrics maps the name of each token counter to its class.
	Metrics map[string]v1alpha1.TokenClass

	AgentLabel    string
	ModelLabel    string
	ReplicaLabels []string // ignored in a series' identity; sorted

	// InputContainsCached: the input counter contains the cached input. It says
	// how totals are priced and nothing about how they are counted, so that
	// setting it right later prices right what was counted before.
	InputContainsCached bool

	Grid        time.Duration // step of all times in status; whole seconds
	IngestDelay time.Duration
	SettleAfter time.Duration
	Heartbeat   time.Duration
	MinLook     time.Duration
	MaxLook     time.Duration
	MaxResets   int // of one series in an hour

	Timeout time.Duration // of one query
}

// Fixed measures of the algorithm, see reference "Counting what an agent spends"
// in docs/design.
const (
	blockSize   = 5 * time.Minute  // settledAt moves in such steps
	pageSize    = 6 * time.Hour    // how much of a backlog one query reads
	pagesPerRun = 4                // queries for a backlog in one pass
	keepCursor  = 10 * time.Minute // a cursor outlives its series this long, in the agent's sample time
	lookback    = 24 * time.Hour   // where the last value of a series without a cursor is looked for
	burnWindow  = 5 * time.Minute  // the burn is the steepest minute in it
	maxCursors  = 256              // 66 bytes each, 100 if it is reset all the time
	maxLedger   = 24 << 10         // bytes, so that a status stays under 32 KiB whatever models are called
	maxModels   = 32
	maxModelLen = 100 // bytes of a model's name
	maxNamed    = 20  // distrusted series that are named: decide shows ten, and a response has an end
)

// OtherModels is the model under which tokens are counted beyond 32 models: a
// status has an end, and an agent names its models itself.
const OtherModels = "(other models)"

var metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:.]*$`)
var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// ReadSettings reads an input and refuses what can't work. A field that is empty
// or null means its default.
func ReadSettings(in *input.FetchSpendInput) (Settings, error) {
	absent := &input.FetchSpendInput{}
	absent.Default()
	replicaLabels := in.ReplicaLabels
	if replicaLabels == nil {
		replicaLabels = absent.ReplicaLabels
	}
	s := Settings{
		URL:                 cmp.Or(in.Prometheus.URL, absent.Prometheus.URL),
		Tenant:              in.Prometheus.Tenant,
		Metrics:             map[string]v1alpha1.TokenClass{},
		AgentLabel:          cmp.Or(in.Metrics.AgentLabel, absent.Metrics.AgentLabel),
		ModelLabel:          cmp.Or(in.Metrics.ModelLabel, absent.Metrics.ModelLabel),
		ReplicaLabels:       slices.Sorted(slices.Values(replicaLabels)),
		InputContainsCached: *cmp.Or(in.InputContainsCached, absent.InputContainsCached),
		Grid:                cmp.Or(in.Grid, absent.Grid).Duration,
		IngestDelay:         cmp.Or(in.IngestDelay, absent.IngestDelay).Duration,
		SettleAfter:         cmp.Or(in.SettleAfter, absent.SettleAfter).Duration,
		Heartbeat:           cmp.Or(in.Heartbeat, absent.Heartbeat).Duration,
		MinLook:             cmp.Or(in.MinLook, absent.MinLook).Duration,
		MaxLook:             cmp.Or(in.MaxLook, absent.MaxLook).Duration,
		MaxResets:           int(cmp.Or(in.MaxResetsPerHour, absent.MaxResetsPerHour)),
		Timeout:             cmp.Or(in.Prometheus.Timeout, absent.Prometheus.Timeout).Duration,
	}
	for _, m := range []struct {
		name  string
		class v1alpha1.TokenClass
	}{
		{cmp.Or(in.Metrics.Input, absent.Metrics.Input), v1alpha1.TokenInput},
		{cmp.Or(in.Metrics.Output, absent.Metrics.Output), v1alpha1.TokenOutput},
		{cmp.Or(in.Metrics.CachedInput, absent.Metrics.CachedInput), v1alpha1.TokenCachedInput},
	} {
		if !metricName.MatchString(m.name) {
			return s, errors.Errorf("cannot use input: metrics.%s %q is no metric name", m.class, m.name)
		}
		if c, ok := s.Metrics[m.name]; ok {
			return s, errors.Errorf("cannot use input: metrics.%s and metrics.%s are both %q, so its tokens would be counted twice", c, m.class, m.name)
		}
		s.Metrics[m.name] = m.class
	}
	for _, l := range append([]string{s.AgentLabel, s.ModelLabel}, s.ReplicaLabels...) {
		if !labelName.MatchString(l) {
			return s, errors.Errorf("cannot use input: %q is no label name", l)
		}
	}
	for _, l := range []string{s.AgentLabel, s.ModelLabel, "__name__"} {
		if slices.Contains(s.ReplicaLabels, l) {
			return s, errors.Errorf("cannot use input: replicaLabels must not hold %q: series that differ in it are no twins", l)
		}
	}
	return s, errors.Wrap(s.check(), "cannot use input")
}

func (s Settings) check() error {
	switch {
	case s.Grid < time.Second || s.Grid%time.Second != 0:
		return errors.Errorf("grid %s must be whole seconds, and at least one", s.Grid)
	case s.Grid > 10*time.Minute:
		return errors.Errorf("grid %s must be at most 10m: nothing newer than a step is counted", s.Grid)
	case s.IngestDelay < 0:
		return errors.Errorf("ingestDelay %s must not be negative", s.IngestDelay)
	case s.SettleAfter < 2*time.Minute || s.SettleAfter > 24*time.Hour:
		return errors.Errorf("settleAfter %s must be from 2m to 24h", s.SettleAfter)
	case s.SettleAfter < 4*s.Grid:
		return errors.Errorf("settleAfter %s must be at least four steps of the grid (%s)", s.SettleAfter, s.Grid)
	case s.Heartbeat < time.Minute || s.Heartbeat > 24*time.Hour:
		return errors.Errorf("heartbeat %s must be from 1m to 24h", s.Heartbeat)
	case s.MinLook < time.Second:
		return errors.Errorf("minLook %s must be at least 1s", s.MinLook)
	case s.MaxLook < s.MinLook:
		return errors.Errorf("maxLook %s must not be shorter than minLook %s", s.MaxLook, s.MinLook)
	case s.MaxResets < 1:
		return errors.Errorf("maxResetsPerHour %d must be at least 1", s.MaxResets)
	case s.Timeout <= 0 || s.Timeout > time.Minute:
		return errors.Errorf("prometheus.timeout %s must be more than 0 and at most 1m", s.Timeout)
	}
	return nil
}

// block is the step of settledAt: the first multiple of the grid that is no
// shorter than blockSize.
func (s Settings) block() time.Duration {
	return time.Duration(ceil(blockSize.Milliseconds(), s.Grid)) * time.Millisecond
}

// quiet is how long a twin may be silent before its twin is read instead.
func (s Settings) quiet() time.Duration { return 2 * s.Grid }

// overlap is how much of what is settled is read again: the samples in it tell
// which twin a cursor came from, and which series are no births.
func (s Settings) overlap() time.Duration { return max(blockSize, 8*s.Grid) }

// long is a silence after which all that was known of a series' twins has left
// the overlap.
func (s Settings) long() time.Duration { return s.overlap() - 2*s.quiet() }

// resetWindow is the time in which resets are counted, and its limit. It is no
// longer than SettleAfter, so that when a sample is settled all of it is known.
func (s Settings) resetWindow() (window time.Duration, limit int) {
	window = min(time.Hour, s.SettleAfter)
	return window, max(1, int(int64(s.MaxResets)*int64(window/time.Second)/int64(time.Hour/time.Second)))
}

// mapping identifies what cursors belong to: another store, selector or identity
// makes other series of the same tokens.
func (s Settings) mapping(agent string) string {
	h := sha256.New()
	for _, p := range append([]string{s.URL + "\n" + s.Tenant, agent, s.AgentLabel, s.ModelLabel, strings.Join(s.ReplicaLabels, ",")}, s.metricNames()...) {
		h.Write([]byte(p))
		h.Write([]byte{0})
		h.Write([]byte(s.Metrics[p]))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func (s Settings) metricNames() []string {
	names := make([]string, 0, len(s.Metrics))
	for n := range s.Metrics {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
