package v1alpha1

// Context keys are an API: a station may be replaced by somebody else's
// function in any language. The context dies with the reconcile; what must
// last stands in status.
const (
	// ContextDataset holds a Dataset, or null when the order can't be filled now.
	// validate-dataset always sets it; an absent key is a broken pipeline.
	ContextDataset = "dataset"

	// ContextTuning holds a Tuning. Absent: render-workloads computes it.
	ContextTuning = "tuning"

	// ContextHeldBack holds a list of HeldBack: what earlier steps did not
	// render yet. Absent: nothing is known to be held back.
	ContextHeldBack = "held_back"

	// ContextSandboxIdentity holds how the sandbox reaches its data when that isn't by
	// a key: "WorkloadIdentity". Absent: by the key in Secret gcp-credentials.
	ContextSandboxIdentity = "sandbox_identity"

	// ContextNamesTaken holds a list of TakenName: the names that earlier steps found to
	// be somebody else's. Absent: none.
	ContextNamesTaken = "names_taken"

	// ContextBaseDomain holds the domain that a living agent keeps, a string: the one in
	// its order is not allowed. Absent: spec.baseDomain.
	ContextBaseDomain = "base_domain"

	// ContextSpendUSD holds the US dollars spent in the current period, a number.
	// Absent: spend could not be measured.
	ContextSpendUSD = "spend_usd"

	// ContextWindowSec holds the seconds of samples that the measurement read, a
	// number.
	ContextWindowSec = "window_sec"

	// ContextLedger holds a Ledger, to be written to status by decide.
	ContextLedger = "ledger"

	// ContextSpendProblem holds a SpendProblem when spend could not be measured.
	ContextSpendProblem = "spend_problem"

	// ContextMeasurement holds a Measurement: what fetch-spend noticed while it
	// counted. Absent: nothing was noticed.
	ContextMeasurement = "measurement"

	// ContextShouldPause holds decide's verdict, a bool.
	ContextShouldPause = "should_pause"
)

// A Dataset is the dataset an agent works on, in context and in status.
type Dataset struct {
	// Name of the XDataset.
	Name string `json:"name"`

	// GCSPath of the CSV, gs://<bucket>/<object>.csv, or of the folder whose CSVs are one
	// table, gs://<bucket>/<folder>/.
	GCSPath string `json:"gcsPath"`

	// SizeBytes of the CSV, or of all CSVs of the folder.
	SizeBytes int64 `json:"sizeBytes"`

	// DisplayName is how people call the dataset.
	DisplayName string `json:"displayName"`

	// MemoryFactor is what pandas takes to read the whole CSV, as a multiple of
	// SizeBytes; an estimate. Absent: unknown.
	//
	// +optional
	MemoryFactor float64 `json:"memoryFactor,omitempty"`
}

// Tuning is what compute-tuning derives from a dataset.
type Tuning struct {
	// SandboxMemMi is the memory limit of the sandbox in MiB, whole GiB.
	SandboxMemMi int64 `json:"sandboxMemMi"`
}

// HeldBack is a part that is not rendered yet, and what it waits for.
type HeldBack struct {
	// Part is the composed resource name.
	Part string `json:"part"`

	// WaitsFor says in words what must happen first.
	WaitsFor string `json:"waitsFor"`
}

// A SpendProblem says why spend could not be measured.
type SpendProblem struct {
	// Reason is a CamelCase word, used as the condition's reason.
	Reason string `json:"reason"`

	// Message is a sentence for people, without figures that move.
	Message string `json:"message"`
}

// A Measurement is what fetch-spend noticed while it counted.
type Measurement struct {
	// Period that spend_usd belongs to, as in Ledger.Period.
	Period string `json:"period"`

	// NeverSeen says that no sample of the agent was ever seen.
	NeverSeen bool `json:"neverSeen,omitempty"`

	// BurnUSDPerHour is how fast the agent spends now: the steepest minute of the
	// last five, in US dollars per hour. It moves with every look, so it belongs
	// into no status and no message. 0: nothing was spent in that time.
	BurnUSDPerHour float64 `json:"burnUsdPerHour,omitempty"`

	// UnpricedModels have no row in the price table; they were counted at its
	// dearest row. Sorted.
	UnpricedModels []string `json:"unpricedModels,omitempty"`

	// Distrusted series, each with a sentence that says why: samples that no
	// token counter has were left out, and a series that two processes write was
	// counted at the least it can mean. Sorted.
	Distrusted []string `json:"distrusted,omitempty"`

	// Bill is what spend_usd is made of.
	Bill []BillLine `json:"bill,omitempty"`

	// DoubtfulUSD may have been spent beside spend_usd: tokens of counters of which
	// nothing says whether they were reset or stepped back.
	DoubtfulUSD float64 `json:"doubtfulUsd,omitempty"`

	// UnpricedTiers are models with tokens of a tier of service that their row doesn't
	// know; they count as the usual one. Sorted.
	UnpricedTiers []string `json:"unpricedTiers,omitempty"`

	// PriceFlaws are parts of the price table that can't be used, by line.
	PriceFlaws []string `json:"priceFlaws,omitempty"`

	// PricesProblem says why the price table can't be read at all; the last good prices
	// go on counting since PricesSince (RFC 3339).
	PricesProblem *SpendProblem `json:"pricesProblem,omitempty"`
	PricesSince   string        `json:"pricesSince,omitempty"`

	// Announced are prices that change soon, or just did.
	Announced []string `json:"announced,omitempty"`

	// Repriced: what was used before has another price now. Absent: it has not.
	Repriced *Repriced `json:"repriced,omitempty"`

	// AtDearestUSD is what spend_usd would be if the models that lacked a price at the
	// last look (if it isn't known which: all) were charged at the dearest of the other rows.
	AtDearestUSD float64 `json:"atDearestUsd,omitempty"`

	// Flaw says what is wrong, though spend_usd counts all the same.
	Flaw *SpendProblem `json:"flaw,omitempty"`
}

// Repriced says that a table was corrected.
type Repriced struct {
	FromUSD string `json:"fromUsd"`
	ToUSD   string `json:"toUsd"`
	Why     string `json:"why"`
}
