package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Condition types that Crossplane keeps on every XR, and providers on every part.
const (
	ConditionReady      = "Ready"
	ConditionSynced     = "Synced"
	ConditionResponsive = "Responsive"
)

// Condition types of an XDatasetAgent.
const (
	// ConditionDatasetValid says whether the ordered dataset is the one that the agent
	// works on.
	ConditionDatasetValid = "DatasetValid"

	// ConditionDatasetFitsSandbox says whether the sandbox gets the memory that the
	// dataset asks for.
	ConditionDatasetFitsSandbox = "DatasetFitsSandbox"

	// ConditionPartsHeldBack says whether a part waits for another before it is made
	// for the first time.
	ConditionPartsHeldBack = "PartsHeldBack"

	// ConditionNamesFree says whether every name that is needed is free or the XR's own. It
	// is written when a name is taken, and once more when none is any longer. A budget
	// has it, too.
	ConditionNamesFree = "NamesFree"

	// ConditionOrderAllowed says whether the platform allows what an order reaches for.
	ConditionOrderAllowed = "OrderAllowed"

	// ConditionCredentialsPresent says whether the agent's key is where its sandbox
	// looks for it.
	ConditionCredentialsPresent = "CredentialsPresent"
)

// Condition types of an XAgentBudget.
const (
	// ConditionSpendMeasured says whether what the agent spends can be measured.
	ConditionSpendMeasured = "SpendMeasured"

	// ConditionPricingComplete says whether every model that the agent uses has a price.
	ConditionPricingComplete = "PricingComplete"

	// ConditionWithinBudget says whether there is money left.
	ConditionWithinBudget = "WithinBudget"

	// ConditionOrderFollowed says whether a change of the order's budgetUsd waits, because
	// the order can't be carried out. It is written when one does, and once more when none
	// does any longer.
	ConditionOrderFollowed = "OrderFollowed"

	// ConditionSoleBudget says whether the agent has no other budget, likewise.
	ConditionSoleBudget = "SoleBudget"
)

// Condition types of an XDataset.
const (
	// ConditionDatasetReady repeats status.ready and says why: reason Available, or
	// what is wrong with the object.
	ConditionDatasetReady = ConditionReady

	// ConditionDatasetVerified says whether the last complete listing of the bucket
	// held the object.
	ConditionDatasetVerified = "Verified"

	// ConditionDatasetNameUnique says whether another object of the bucket would
	// have got the same name.
	ConditionDatasetNameUnique = "NameUnique"
)

// Reasons of DatasetValid.
const (
	ReasonDatasetFound    = "DatasetFound"
	ReasonDatasetNotFound = "DatasetNotFound"
	ReasonDatasetNotReady = "DatasetNotReady"
	ReasonDatasetInvalid  = "DatasetInvalid"
	ReasonBucketChanged   = "BucketChanged"
	ReasonUnresolved      = "Unresolved"
)

// Reasons of DatasetFitsSandbox.
const (
	ReasonDatasetFits   = "DatasetFits"
	ReasonSandboxCapped = "SandboxCapped"
	ReasonNoDataset     = "NoDataset"
)

// Reasons of PartsHeldBack.
const (
	ReasonNothingHeldBack  = "NothingHeldBack"
	ReasonWaitingForOthers = "WaitingForOthers"
)

// ReasonNoNameTaken is the reason of NamesFree, beside ReasonNameTaken.
const ReasonNoNameTaken = "NoNameTaken"

// Reasons of OrderAllowed.
const (
	ReasonAllowed           = "Allowed"
	ReasonNoAllowList       = "NoAllowList"
	ReasonDomainNotAllowed  = "DomainNotAllowed"
	ReasonProjectNotAllowed = "ProjectNotAllowed"
	ReasonBucketNotAllowed  = "BucketNotAllowed"
)

// Reasons of CredentialsPresent.
const (
	ReasonKeyPresent     = "KeyPresent"
	ReasonKeyless        = "WorkloadIdentity"
	ReasonKeyExpiresSoon = "KeyExpiresSoon"
	ReasonKeyExpired     = "KeyExpired"
	ReasonKeyLost        = "KeyLost"
	ReasonNoKeyYet       = "NoKeyYet"
)

// Reasons of SpendMeasured. Those from ReasonPrometheusUnreachable on are words of
// fetch-spend (context key spend_problem); the rest decide adds by itself.
const (
	ReasonMeasured         = "Measured"
	ReasonNeverSeen        = "NeverSeen"
	ReasonSeriesDistrusted = "SeriesDistrusted"
	ReasonSpendDoubtful    = "SpendDoubtful"
	ReasonNotMeasured      = "NotMeasured" // of PricingComplete too
	ReasonNoFigure         = "NoFigure"
	ReasonInvalidFigure    = "InvalidFigure"
	ReasonInvalidLedger    = "InvalidLedger"
	ReasonOtherPeriod      = "OtherPeriod"

	ReasonPrometheusUnreachable = "PrometheusUnreachable"
	ReasonQueryFailed           = "QueryFailed"
	ReasonQueryTimedOut         = "QueryTimedOut"
	ReasonUnauthorized          = "Unauthorized"
	ReasonPartialAnswer         = "PartialAnswer"
	ReasonBadAnswer             = "BadAnswer"
	ReasonTooManySamples        = "TooManySamples"
	ReasonPricingNotFound       = "PricingNotFound"
	ReasonPricingInvalid        = "PricingInvalid"
	ReasonPricingNotAllowed     = "PricingNotAllowed"
	ReasonNamespaceRefused      = "NamespaceRefused"
	ReasonCredentialsMissing    = "CredentialsMissing"
	ReasonInvalidURL            = "InvalidURL"
	ReasonInvalidCA             = "InvalidCA"
	ReasonClockAhead            = "ClockAhead"
	ReasonClockBehind           = "ClockBehind"
	ReasonSamplesVanished       = "SamplesVanished"
	ReasonCatchingUp            = "CatchingUp"
	ReasonNamesRefused          = "NamesRefused"
	ReasonNoBeginning           = "NoBeginning"
	ReasonMeterSilent           = "MeterSilent"
)

// Reasons of PricingComplete.
const (
	ReasonAllModelsPriced    = "AllModelsPriced"
	ReasonModelsWithoutPrice = "ModelsWithoutPrice"
	ReasonPriceRowsInvalid   = "PriceRowsInvalid"
	ReasonPricesStale        = "PricesStale"
)

// Reasons of WithinBudget.
const (
	ReasonWithinBudget      = "WithinBudget"
	ReasonNearlySpent       = "NearlySpent"
	ReasonBudgetExhausted   = "BudgetExhausted"
	ReasonGuardBand         = "GuardBand"
	ReasonPausedUntilRaised = "PausedUntilRaised"
	ReasonPausedForLater    = "PausedForLater"
	ReasonSpendUnknown      = "SpendUnknown"
)

// Reasons of OrderFollowed and SoleBudget.
const (
	ReasonInStep        = "InStep"
	ReasonOrderStuck    = "OrderStuck"
	ReasonNoOtherBudget = "NoOtherBudget"
	ReasonAnotherBudget = "AnotherBudget"
)

// Reasons of an XDataset's Ready that judge the content of a generation. What they
// say holds until another generation is uploaded.
const (
	ReasonAvailable = "Available" // it looks like a CSV
	ReasonEmpty     = "Empty"     // no bytes
	ReasonBlank     = "Blank"     // blanks and line ends only
	ReasonBinary    = "Binary"    // a program's own format, or no text
	ReasonMarkup    = "Markup"    // a web page or XML: an error page, most of the time
	ReasonNotCSV    = "NotCSV"    // text of another kind

	ReasonColumnsDiffer = "ColumnsDiffer" // files of one folder begin with other first lines
)

// Reasons of an XDataset's conditions, beside those verdicts on content.
const (
	ReasonNotReadYet     = "NotReadYet"     // Ready=False: no first bytes could be read so far
	ReasonObjectMissing  = "ObjectMissing"  // Ready=False and Verified=False: complete listings lack the object
	ReasonFolderUnusable = "FolderUnusable" // Ready=False: a folder holds what can't be read with the rest, or too much
	ReasonDuplicate      = "Duplicate"      // Ready=False: another XDataset records the same object
	ReasonListed         = "Listed"         // Verified=True
	ReasonRegistryFell   = "RegistryFell"   // Verified=Unknown: too much was missing at once to be believed
	ReasonUnique         = "Unique"         // NameUnique=True
	ReasonNameTaken      = "NameTaken"      // NameUnique=False; NamesFree=False of an order or a budget
)

// A Cure is what a person does about a condition: docs/troubleshooting.md shows all
// of them.
type Cure struct {
	Kind    string // of the object that has the condition
	Type    string
	Status  metav1.ConditionStatus
	Reasons []string // one cure may be that of several

	// Cure is a sentence, or several. Empty: all is well, there is nothing to do.
	Cure string
}

// Cures lists every condition with every reason, in the order in which people meet
// them: those of the order, of its budget, of a dataset.
func Cures() []Cure { //nolint:funlen // a table
	const t, f, u = metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	agent := func(typ string, s metav1.ConditionStatus, cure string, reasons ...string) Cure {
		return Cure{KindXDatasetAgent, typ, s, reasons, cure}
	}
	budget := func(typ string, s metav1.ConditionStatus, cure string, reasons ...string) Cure {
		return Cure{KindXAgentBudget, typ, s, reasons, cure}
	}
	dataset := func(typ string, s metav1.ConditionStatus, cure string, reasons ...string) Cure {
		return Cure{KindXDataset, typ, s, reasons, cure}
	}
	return []Cure{
		agent(ConditionDatasetValid, t, "", ReasonDatasetFound),
		agent(ConditionDatasetValid, f, "Upload the CSV, or name one that `kubectl get xds` lists. The order heals by itself.", ReasonDatasetNotFound),
		agent(ConditionDatasetValid, f, "`kubectl describe xds <name>` says why the dataset is not ready.", ReasonDatasetNotReady),
		agent(ConditionDatasetValid, f, "The XDataset's path or size can't be used; the message says which.", ReasonDatasetInvalid),
		agent(ConditionDatasetValid, f, "A living agent's grants open one bucket and can't be edited. Set `datasetRef` back, or order another agent.", ReasonBucketChanged),
		agent(ConditionDatasetValid, u, "Usually seconds. If it stays so, Crossplane may not list and watch XDatasets: see `package/install/rbac.yaml`.", ReasonUnresolved),
		agent(ConditionDatasetFitsSandbox, t, "", ReasonDatasetFits),
		agent(ConditionDatasetFitsSandbox, f, "The dataset asks for more memory than the cap. Raise `maxSandboxGi` (compute-tuning), or order less data.", ReasonSandboxCapped),
		agent(ConditionDatasetFitsSandbox, u, "See DatasetValid: there is no dataset to judge.", ReasonNoDataset),
		agent(ConditionPartsHeldBack, f, "", ReasonNothingHeldBack),
		agent(ConditionPartsHeldBack, t, "The message says what waits for what. Usually over a minute after the order; if not, look at the part that is waited for.", ReasonWaitingForOthers),
		agent(ConditionCredentialsPresent, t, "", ReasonKeyPresent, ReasonKeyless),
		agent(ConditionCredentialsPresent, t, "Run the command in the message before the date in it: your organization lets keys expire.", ReasonKeyExpiresSoon),
		agent(ConditionCredentialsPresent, f, "Google refuses the key: your organization lets keys expire. Run the command in the message; Crossplane makes a new key.", ReasonKeyExpired),
		agent(ConditionCredentialsPresent, u, "Usually seconds. If it stays so, the message names the object to describe: many organizations refuse keys (`iam.disableServiceAccountKeyCreation`).", ReasonNoKeyYet),
		agent(ConditionCredentialsPresent, f, "The key's private half is gone for good. Run the command in the message; Crossplane makes a new key.", ReasonKeyLost),
		agent(ConditionNamesFree, t, "", ReasonNoNameTaken),
		agent(ConditionNamesFree, f, "The message names the object that has a name the order needs. Nothing of it is changed. Order under another name, or have it removed: the order goes on by itself. After a restore see docs/backup.md.", ReasonNameTaken),
		agent(ConditionOrderAllowed, t, "", ReasonAllowed),
		agent(ConditionOrderAllowed, t, "The platform set no list for what the message names: any domain, project or bucket goes. See docs/tenancy.md.", ReasonNoAllowList),
		agent(ConditionOrderAllowed, f, "Name something that the list in the message allows, or have the platform team add to it (input of validate-dataset, ConfigMap whisperops-allow).",
			ReasonDomainNotAllowed, ReasonProjectNotAllowed, ReasonBucketNotAllowed),

		budget(ConditionSpendMeasured, t, "", ReasonMeasured),
		budget(ConditionSpendMeasured, u, "No token was ever counted. That is right until the first request; after it, check the names of metrics and labels in the input of fetch-spend.", ReasonNeverSeen),
		budget(ConditionSpendMeasured, f, "The metrics server, or the way to it; the message says which server and what it answered. The last decision stands meanwhile.",
			ReasonPrometheusUnreachable, ReasonQueryFailed, ReasonQueryTimedOut, ReasonUnauthorized, ReasonPartialAnswer, ReasonBadAnswer, ReasonTooManySamples),
		budget(ConditionSpendMeasured, f, "The server takes no regular expression on the names of metrics, and refuses exact ones too: check `prometheus.url`, and the names in `metrics`.", ReasonNamesRefused),
		budget(ConditionSpendMeasured, f, "Nobody counts what the agent uses: the figure stands, and may be too low. See that a token-meter runs, that it is scraped, and that it lists this budget (docs/token-meter.md).", ReasonMeterSilent),
		budget(ConditionSpendMeasured, t, "Counters fell, and nothing says whether they were reset: the lower figure counts, and the message says what the other would be. Export `process_start_time_seconds` beside them, and it is known.", ReasonSpendDoubtful),
		budget(ConditionSpendMeasured, f, "The price table. The message names the ConfigMap and the line.", ReasonPricingNotFound, ReasonPricingInvalid),
		budget(ConditionSpendMeasured, f, "`pricingRef` names a namespace where price tables may not lie; the message lists where they may (`pricingNamespaces`, fetch-spend).", ReasonPricingNotAllowed),
		budget(ConditionSpendMeasured, f, "This budget lies outside its agent's namespace: delete it. The one that counts is XAgentBudget agent-<name>/<name>.", ReasonNamespaceRefused),
		budget(ConditionNamesFree, t, "", ReasonNoNameTaken),
		budget(ConditionNamesFree, f, "Somebody else's Object has the name of one with which the budget stops its agent. Delete it: until then only the meter stops the agent.", ReasonNameTaken),
		budget(ConditionSpendMeasured, f, "The input of fetch-spend, or the credentials of its step in the Composition.", ReasonCredentialsMissing, ReasonInvalidURL, ReasonInvalidCA),
		budget(ConditionSpendMeasured, f, "Two clocks disagree: that of fetch-spend's pod, and the server's. Set the one that is wrong.", ReasonClockAhead, ReasonClockBehind),
		budget(ConditionSpendMeasured, f, "A step in fetch-spend's place, or one that drops the context, left something decide can't use. OtherPeriod: compare the clocks of both functions.",
			ReasonNoFigure, ReasonInvalidFigure, ReasonInvalidLedger, ReasonOtherPeriod, ReasonNotMeasured),
		budget(ConditionSpendMeasured, f, "The named series are reset all the time (two processes write one), or hold rubbish. All others are counted in full.", ReasonSeriesDistrusted),
		budget(ConditionSpendMeasured, f, "The server lost its data, or `prometheus.tenant` names another tenant. What was counted before stays counted.", ReasonSamplesVanished),
		budget(ConditionSpendMeasured, f, "Nothing says from when tokens are this budget's: it was rendered by hand, without `metadata.creationTimestamp`. Add one, or a `spec.opening`. In a cluster this can't be.", ReasonNoBeginning),
		budget(ConditionSpendMeasured, f, "Many hours are counted page by page. It passes by itself.", ReasonCatchingUp),
		budget(ConditionPricingComplete, t, "", ReasonAllModelsPriced),
		budget(ConditionPricingComplete, f, "Add the named models to the price table. `\"\"` are tokens without a model: see `metrics.modelLabel`.", ReasonModelsWithoutPrice),
		budget(ConditionPricingComplete, f, "The message names model, field and line. All other rows count.", ReasonPriceRowsInvalid),
		budget(ConditionPricingComplete, f, "The price table can't be read; the message says why and since when the last good one counts. Repair it.", ReasonPricesStale),
		budget(ConditionPricingComplete, u, "See SpendMeasured: without a measurement nothing is known of models.", ReasonNotMeasured),
		budget(ConditionWithinBudget, t, "", ReasonWithinBudget),
		budget(ConditionWithinBudget, t, "A threshold of `warnAtPercent` is reached. Raise `budgetUsd` in time, or let it end.", ReasonNearlySpent),
		budget(ConditionWithinBudget, f, "Raise `budgetUsd` in the order, wait for the next period, or set `enforcement: monitor-only`.", ReasonBudgetExhausted, ReasonGuardBand),
		budget(ConditionWithinBudget, f, "Less is known to be spent than when the agent was stopped, and a figure that falls starts nobody. Raise `budgetUsd` by however little.", ReasonPausedUntilRaised),
		budget(ConditionWithinBudget, f, "A clock that was wrong stopped the agent for a period that has not begun. The next period ends it; `enforcement: monitor-only` does now.", ReasonPausedForLater),
		budget(ConditionWithinBudget, u, "See SpendMeasured: nothing is known yet of what was spent. The agent keeps running.", ReasonSpendUnknown),
		budget(ConditionOrderFollowed, t, "", ReasonInStep),
		budget(ConditionOrderFollowed, f, "The order was changed and can't be carried out: its condition Synced says why, XDatasets that can't be looked up for example. The lower amount of the two counts meanwhile.", ReasonOrderStuck),
		budget(ConditionSoleBudget, t, "", ReasonNoOtherBudget),
		budget(ConditionSoleBudget, f, "The message names other budgets of this agent. They measure and stop nobody: delete those outside its namespace.", ReasonAnotherBudget),

		dataset(ConditionDatasetReady, t, "", ReasonAvailable),
		dataset(ConditionDatasetReady, f, "The file is no CSV that can be used; the message says what it is. Upload it again as CSV in UTF-8.", ReasonEmpty, ReasonBlank, ReasonBinary, ReasonMarkup, ReasonNotCSV),
		dataset(ConditionDatasetReady, f, "A folder that is one dataset: the message names the file that is unlike the others, or can't be read with them. Export it again, or take it out of the folder.", ReasonColumnsDiffer, ReasonFolderUnusable),
		dataset(ConditionDatasetReady, f, "The watcher could not read the file yet; its log says why. It tries again.", ReasonNotReadYet),
		dataset(ConditionDatasetReady, f, "The object is gone from the bucket. Upload it again, or let the dataset go with it.", ReasonObjectMissing),
		dataset(ConditionDatasetReady, f, "Another XDataset records the same object, or the folder that holds it. Delete one of them.", ReasonDuplicate),
		dataset(ConditionDatasetVerified, t, "", ReasonListed),
		dataset(ConditionDatasetVerified, f, "As Ready: the object is gone from the bucket.", ReasonObjectMissing),
		dataset(ConditionDatasetVerified, u, "Too much was missing at once to be believed. If it is meant, declare it: see the watcher's page.", ReasonRegistryFell),
		dataset(ConditionDatasetNameUnique, t, "", ReasonUnique),
		dataset(ConditionDatasetNameUnique, f, "Two objects would have the same name. Rename one of them in the bucket.", ReasonNameTaken),
	}
}
