package count

import (
	"slices"
	"strings"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
)

// Rules say how samples are read and counted.
type Rules struct {
	Metrics Mapping

	Grid        time.Duration // step of all times in status; whole seconds
	SettleAfter time.Duration // how late a sample may come
	Heartbeat   time.Duration // how often an idle ledger is settled
	MaxResets   int           // of one series in an hour

	// CachedInInput: the counter of input contains the cached input, so that neither
	// says much without the other.
	CachedInInput bool

	// Began is the beginning, in Unix milliseconds, of the price span of a model that
	// a time lies in; 0: the first. Tokens are kept by it, so that a later price
	// changes nothing before it. Nil: all is one span.
	Began func(model string, at int64) int64
}

// A Mapping says which series are token counters, and of what.
type Mapping struct {
	// Names of the metrics, and the class that each counts; "" when ClassLabel says.
	Names map[string]v1alpha1.TokenClass

	// ClassLabel holds the class where one metric has them all, and Classes says what
	// its values mean: ClassOfNone are tokens that another value counts too.
	ClassLabel string
	Classes    map[string]v1alpha1.TokenClass

	// AgentLabel holds the agent's name, with AgentPrefix before it.
	AgentLabel  string
	AgentPrefix string

	// ModelLabels hold the model: the first of them that a series has.
	ModelLabels []string

	// NamespaceLabel holds the namespace of the pod that was scraped; "": none does. Ours
	// says whether a pod of one may count for an agent; nil: of any.
	NamespaceLabel string
	Ours           func(agent, namespace string) bool

	// ContextLabel is LongContext for requests that are priced as long ones; "": there
	// is none.
	ContextLabel string

	// TierLabel holds the tier of service; "": there is none.
	TierLabel string

	// PartLabels split what one process counts: series that differ in them are never
	// the same one.
	PartLabels []string

	// ReplicaLabels tell the twins of a replicated Prometheus apart; sorted.
	ReplicaLabels []string
}

// ClassOfNone is what a label's value means whose tokens others count.
const ClassOfNone v1alpha1.TokenClass = "none"

// LongContext is the value of a context label that is priced as long.
const LongContext = "long"

// MetricNames are sorted.
func (m Mapping) MetricNames() []string { return sortedKeys(m.Names) }

// Agent is the value of AgentLabel for an agent.
func (m Mapping) Agent(name string) string { return m.AgentPrefix + name }

// Fixed measures of the algorithm, see docs/design/0011-counting.md.
const (
	blockSize   = 5 * time.Minute  // settledAt moves in such steps
	keepCursor  = 10 * time.Minute // a cursor outlives its series this long, in the agent's sample time
	maxCursors  = 256              // 66 bytes each, 100 if it is reset all the time
	maxLedger   = 24 << 10         // bytes, so that a status stays under 32 KiB whatever models are called
	maxTotals   = 17 << 10         // bytes of it for tokens
	maxModels   = 32
	maxModelLen = 100 // bytes of a model's name

	// awayFor is how long a counter that stepped back is waited for: a failover, a
	// ghost, or ten scrapes of a minute.
	awayFor = 10 * time.Minute

	// Lookback is where the last value of a series without a cursor is looked for.
	Lookback = 24 * time.Hour
)

// OtherModels is the model under which tokens are counted beyond 32 models: a
// status has an end, and an agent names its models itself.
const OtherModels = "(other models)"

// Block is the step of settledAt: the first multiple of the grid that is no
// shorter than blockSize.
func (r Rules) Block() time.Duration {
	return time.Duration(Ceil(blockSize.Milliseconds(), r.Grid)) * time.Millisecond
}

// Quiet is how long a twin may be silent before its twin is read instead.
func (r Rules) Quiet() time.Duration { return 2 * r.Grid }

// Overlap is how much of what is settled is read again: the samples in it tell
// which twin a cursor came from, and which series are no births.
func (r Rules) Overlap() time.Duration { return max(blockSize, 8*r.Grid) }

// long is a silence after which all that was known of a series' twins has left
// the overlap.
func (r Rules) long() time.Duration { return r.Overlap() - 2*r.Quiet() }

// silence is the longest one after which a sample that is lower is a fall: two
// scrapes, give or take a little. And heard is how far apart twins and counters of one
// process may see a fall. The fall before one that is heard has to lie in what is read
// again, with the sample before it: near, heard and silence are no longer than Overlap.
func (r Rules) silence() time.Duration { return r.Quiet() + r.Grid/30 }

func (r Rules) heard() time.Duration { return r.Quiet() - r.Grid/30 }

// away is how long a counter that stepped back is waited for: much less than
// SettleAfter, so that when a sample is settled it is known whether it came back,
// although samples come late.
func (r Rules) away() time.Duration { return min(max(awayFor, 10*r.Grid), r.SettleAfter/4) }

// resetWindow is the time in which resets are counted, and its limit. It is no
// longer than SettleAfter, so that when a sample is settled all of it is known.
func (r Rules) resetWindow() (window time.Duration, limit int) {
	window = min(time.Hour, r.SettleAfter)
	return window, max(1, int(int64(r.MaxResets)*int64(window/time.Second)/int64(time.Hour/time.Second)))
}

// SettleTo is the time up to which samples are final, when the look is at a time.
func (r Rules) SettleTo(at int64) int64 {
	return Floor(at-r.SettleAfter.Milliseconds(), r.Block())
}

func (r Rules) began(model string, at int64) int64 {
	if r.Began == nil {
		return 0
	}
	return r.Began(model, at)
}

// Floor and Ceil to a multiple of step since the Unix epoch, all in milliseconds.
func Floor(ms int64, step time.Duration) int64 {
	s := step.Milliseconds()
	r := ms % s
	if r < 0 {
		r += s
	}
	return ms - r
}

// Ceil is Floor, upwards.
func Ceil(ms int64, step time.Duration) int64 {
	f := Floor(ms, step)
	if f == ms {
		return f
	}
	return f + step.Milliseconds()
}

// podLabels and placeLabels name the process that a series is of: the pod, else the
// address that it is scraped at. What else differs is only the way to it.
var (
	uuidLabels  = []string{"service_instance_id", "service.instance.id"}
	podLabels   = []string{"pod", "k8s_pod_name", "k8s.pod.name", "kubernetes_pod_name", "pod_name", "exported_pod"}
	placeLabels = []string{"instance", "exported_instance", "host_name", "host.name"}
)

// first is the value of the first of some labels that a series has.
func first(labels map[string]string, names []string) string {
	i := slices.IndexFunc(names, func(n string) bool { return labels[n] != "" })
	if i < 0 {
		return ""
	}
	return labels[names[i]]
}

// A process is what names the process of a series; its fields may be empty.
type process struct{ uuid, pod, place string }

func processOf(labels map[string]string) process {
	return process{uuid: first(labels, uuidLabels), pod: first(labels, podLabels), place: first(labels, placeLabels)}
}

// may says whether two series may be of one process: nothing that names it says
// otherwise. The address says nothing of series of the same pod.
func (p process) may(o process) bool {
	if p.uuid != "" && o.uuid != "" && p.uuid != o.uuid {
		return false
	}
	if p.pod != "" || o.pod != "" {
		return p.pod == o.pod || p.pod == "" || o.pod == ""
	}
	return p.place == o.place || p.place == "" || o.place == "" || p.uuid != "" && p.uuid == o.uuid
}

// is says whether they certainly are.
func (p process) is(o process) bool {
	if p.uuid != o.uuid && p.uuid != "" && o.uuid != "" {
		return false
	}
	if p.pod != "" || o.pod != "" {
		return p.pod == o.pod
	}
	return p.place != "" && p.place == o.place || p.uuid != "" && p.uuid == o.uuid
}

// renamed says whether one of two series names the pod and the other only the address that
// both have: a label that was added or removed while the process lived on.
func (p process) renamed(o process) bool {
	return (p.pod == "") != (o.pod == "") && p.place != "" && p.place == o.place && p.may(o)
}

// ProcessLabel is the label that names the process of a series; "": none does.
func ProcessLabel(labels map[string]string) string {
	for _, names := range [][]string{podLabels, uuidLabels, placeLabels} {
		if i := slices.IndexFunc(names, func(n string) bool { return labels[n] != "" }); i >= 0 {
			return names[i]
		}
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.SortFunc(ks, strings.Compare)
	return ks
}
