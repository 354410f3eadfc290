package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// An XAgentBudget measures what one agent spends on LLM tokens and scales the
// agent to zero when its budget is gone.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,path=xagentbudgets,shortName=xab;budget
// +kubebuilder:printcolumn:name="BUDGET",type=number,JSONPath=`.spec.budgetUsd`
// +kubebuilder:printcolumn:name="SPENT",type=number,JSONPath=`.status.spentUsd`
// +kubebuilder:printcolumn:name="RATIO",type=string,JSONPath=`.status.ratioPct`
// +kubebuilder:printcolumn:name="PAUSED",type=boolean,JSONPath=`.status.paused`
// +kubebuilder:printcolumn:name="CAUSE",type=string,JSONPath=`.status.cause`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == self.spec.agentName",message="metadata.name and spec.agentName must be equal: the chat page finds an agent's budget by the agent's name"
type XAgentBudget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   XAgentBudgetSpec   `json:"spec"`
	Status XAgentBudgetStatus `json:"status,omitempty"`
}

// XAgentBudgetSpec is what a budget allows. For an ordered agent the order
// writes agentName, budgetUsd and pricingRef; the rest is its operator's.
type XAgentBudgetSpec struct {
	// AgentName is the agent whose tokens are counted: the value of the label
	// agent_name on its token series. It equals metadata.name.
	//
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=24
	// +kubebuilder:validation:Pattern=`^[a-z][a-z0-9-]*[a-z0-9]$`
	AgentName string `json:"agentName"`

	// BudgetUSD is what the agent may spend per period, in US dollars. 0 means no
	// money at all: the agent is paused. For an ordered agent, change it in the
	// order.
	//
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	BudgetUSD float64 `json:"budgetUsd"`

	// PricingRef names the ConfigMap that holds the price table, under the key
	// prices.yaml. A change of the table works at the next look.
	//
	// +kubebuilder:default={}
	PricingRef PricingReference `json:"pricingRef,omitempty"`

	// Enforcement says what happens when the money is gone: "enabled" scales the
	// agent to zero, "monitor-only" measures and never cuts.
	//
	// +kubebuilder:default=enabled
	Enforcement Enforcement `json:"enforcement,omitempty"`

	// Period after which spending starts again from zero: "lifetime" (never),
	// "daily", "weekly" (from Monday) or "monthly". They begin at midnight in
	// timeZone.
	//
	// +kubebuilder:default=lifetime
	Period Period `json:"period,omitempty"`

	// TimeZone in which periods begin: a name of the IANA time zone database, such
	// as Europe/Berlin. Unset: UTC. Changed in the middle of a period, the period
	// that is current by the new zone counts from its own beginning.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$`
	TimeZone string `json:"timeZone,omitempty"`

	// WarnAtPercent lists the percentages of the budget at whose crossing one
	// warning event is written.
	//
	// +kubebuilder:default={80}
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=100
	// +listType=atomic
	WarnAtPercent []int32 `json:"warnAtPercent,omitempty"`

	// Opening is what had been spent before this budget existed, and since when it
	// counts. The order writes it when it makes a budget: nothing, since there was a
	// namespace, in an agent's first, and what was spent so far in one that is made
	// again: deleting a meter does not pay the bill.
	//
	// +optional
	Opening *Opening `json:"opening,omitempty"`
}

// A PricingReference names the ConfigMap that holds a price table.
type PricingReference struct {
	// Name of the ConfigMap.
	//
	// +kubebuilder:default=whisperops-pricing
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// Namespace of the ConfigMap.
	//
	// +kubebuilder:default=crossplane-system
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// An Enforcement says what a budget does when its money is gone.
//
// +kubebuilder:validation:Enum=enabled;monitor-only
type Enforcement string

// The enforcements.
const (
	EnforcementEnabled     Enforcement = "enabled"
	EnforcementMonitorOnly Enforcement = "monitor-only"
)

// A Period is how long a budget lasts before it starts anew.
//
// +kubebuilder:validation:Enum=lifetime;daily;weekly;monthly
type Period string

// The periods; all begin and end at midnight in their budget's time zone.
const (
	PeriodLifetime Period = "lifetime"
	PeriodDaily    Period = "daily"
	PeriodWeekly   Period = "weekly"
	PeriodMonthly  Period = "monthly"
)

// An Opening is a balance carried into a new budget.
type Opening struct {
	// USD spent before AsOf in the period named by Period, in US dollars.
	//
	// +kubebuilder:validation:Minimum=0
	USD float64 `json:"usd"`

	// AsOf is the time up to which USD counts (RFC 3339); samples after it are
	// counted by this budget.
	//
	// +kubebuilder:validation:Format=date-time
	AsOf string `json:"asOf"`

	// Period that USD belongs to, as status.ledger.period names it. USD counts
	// only while this is the current period.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	Period string `json:"period"`
}

// A Cause is why a budget's decision is what it is.
//
// +kubebuilder:validation:Enum=budget-exhausted;agent-unreachable;unknown;running
type Cause string

// The causes; the first that holds, in this order, is the cause.
const (
	CauseBudgetExhausted  Cause = "budget-exhausted"
	CauseAgentUnreachable Cause = "agent-unreachable"
	CauseUnknown          Cause = "unknown"
	CauseRunning          Cause = "running"
)

// XAgentBudgetStatus is the single place where the truth about an agent's money
// is written. The step "decide" writes it, all of it, on every pass.
type XAgentBudgetStatus struct {
	// SpentUSD is what the agent has spent in the current period, in US dollars,
	// rounded to 4 decimals.
	//
	// +optional
	SpentUSD *float64 `json:"spentUsd,omitempty"`

	// Ratio of spentUsd to the budget, rounded to 4 decimals; 1 is all of it. With
	// a budget of 0 it is 1.
	//
	// +optional
	Ratio *float64 `json:"ratio,omitempty"`

	// RatioPct is the ratio as a person reads it: "29.20%".
	//
	// +optional
	RatioPct string `json:"ratioPct,omitempty"`

	// Paused says whether planner and worker are held at zero. Together with
	// cause budget-exhausted it is the one meaning of "402 Payment Required".
	//
	// +optional
	Paused *bool `json:"paused,omitempty"`

	// Cause of the decision: budget-exhausted, agent-unreachable, unknown or
	// running; the first that holds.
	//
	// +optional
	Cause Cause `json:"cause,omitempty"`

	// Platform is yours: what steps of a platform team's own know about a budget. No
	// step of ours reads or writes it.
	//
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Platform *runtime.RawExtension `json:"platform,omitempty"`

	// Period that the decision belongs to: "lifetime", "2026-11-23", "2026-W48" or
	// "2026-11", in the budget's time zone.
	//
	// +optional
	Period string `json:"period,omitempty"`

	// DecidedBudgetUSD is the budget that the decision was made for, in US dollars.
	// A paused agent runs again when spec.budgetUsd is above it and above what is
	// spent: a figure that falls is no reason.
	//
	// +optional
	DecidedBudgetUSD *float64 `json:"decidedBudgetUsd,omitempty"`

	// Bill is what spentUsd is made of: tokens by model and class, and the price that
	// was applied to them.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Bill []BillLine `json:"bill,omitempty"`

	// Ledger is what was counted and where counting goes on. It belongs to the
	// step "fetch-spend"; the step "decide" writes it.
	//
	// +optional
	Ledger *Ledger `json:"ledger,omitempty"`

	// Conditions of the budget.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// A BillLine is what tokens of one kind cost. Figures are decimal strings, exact to
// the last digit.
type BillLine struct {
	// Model that answered, as its counter names it.
	Model string `json:"model"`

	// Class of the tokens, those of other classes taken out.
	//
	// +optional
	Class TokenClass `json:"class,omitempty"`

	// Context is "long" for requests that are priced as long ones.
	//
	// +optional
	Context string `json:"context,omitempty"`

	// Tier of service; absent: the usual one.
	//
	// +optional
	Tier string `json:"tier,omitempty"`

	// From is when the price began (RFC 3339); absent: it is the first of the model's.
	//
	// +optional
	From string `json:"from,omitempty"`

	// Tokens used.
	//
	// +optional
	Tokens string `json:"tokens,omitempty"`

	// USDPerMillion is the price that was applied, in US dollars per million tokens.
	//
	// +optional
	USDPerMillion string `json:"usdPerMillion,omitempty"`

	// USD is what they cost.
	USD string `json:"usd"`

	// Row of the price table that was applied; absent: that of the model's own name.
	//
	// +optional
	Row string `json:"row,omitempty"`

	// Unpriced: the table has no row for the model, and this is the dearest one.
	//
	// +optional
	Unpriced bool `json:"unpriced,omitempty"`

	// Doubtful are tokens that may have been used beside these, and are not charged.
	//
	// +optional
	Doubtful string `json:"doubtful,omitempty"`
}

// A Ledger holds the tokens an agent has used and a cursor for each of its
// series, so that every sample is counted once. All figures are decimal
// strings: a protobuf Struct carries numbers as doubles. It is a function of
// the samples alone: an older copy, met with the same samples, becomes the same.
type Ledger struct {
	// Period that the totals belong to: "lifetime", "2026-11-23", "2026-W48" or
	// "2026-11", in the budget's time zone.
	Period string `json:"period"`

	// From is the time after which samples are counted (RFC 3339).
	From string `json:"from"`

	// Mapping identifies the query and metric mapping that the cursors belong to
	// (16 hex digits).
	Mapping string `json:"mapping"`

	// AsOf is the time up to which spentUsd counts, on the time grid (RFC 3339).
	// It moves when money was spent, and with settledAt; never with the clock
	// alone.
	AsOf string `json:"asOf"`

	// SettledAt is the time up to which totals and cursors are final (RFC 3339).
	// What was used later is counted anew at every look.
	SettledAt string `json:"settledAt"`

	// Rebased is when the mapping last changed (RFC 3339). A series that is first
	// seen before it starts at the value it had then. Absent once it is settled.
	//
	// +optional
	Rebased string `json:"rebased,omitempty"`

	// Prices are those that were last applied, as a price table: they go on counting
	// while the one that spec.pricingRef names can't be read.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	Prices string `json:"prices,omitempty"`

	// PricesSince is since when Prices are the last good ones (RFC 3339), because the
	// price table can't be read. Absent: it can.
	//
	// +optional
	PricesSince string `json:"pricesSince,omitempty"`

	// Totals are the settled tokens by what prices them.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Totals []TokenTotal `json:"totals,omitempty"`

	// Cursors are the last settled samples of the series that were alive then.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=512
	Cursors []Cursor `json:"cursors,omitempty"`
}

// A TokenTotal counts the tokens of one model and class.
type TokenTotal struct {
	// Model is the value of the model label; "(other models)" beyond 32 of them
	// or 100 bytes.
	Model string `json:"model"`

	// Class of the tokens, as the agent's counters tell them apart: the input
	// may contain the cached input. Prices are applied to disjoint classes.
	//
	// +kubebuilder:validation:Enum=input;output;cachedInput;cacheWrite;thoughts;toolUse
	Class TokenClass `json:"class"`

	// Context is "long" for requests that are priced as long ones.
	//
	// +optional
	Context string `json:"context,omitempty"`

	// Tier of service; absent: the usual one.
	//
	// +optional
	Tier string `json:"tier,omitempty"`

	// From is when the price span began in which they were used (RFC 3339): a later
	// price changes nothing before it. Absent: the first.
	//
	// +optional
	From string `json:"from,omitempty"`

	// Tokens used, a whole number.
	//
	// +kubebuilder:validation:Pattern=`^[0-9]+$`
	Tokens string `json:"tokens"`

	// Doubtful are tokens that may have been used beside those, where nothing says
	// whether a counter was reset or stepped back. Absent: none.
	//
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9]+$`
	Doubtful string `json:"doubtful,omitempty"`
}

// A TokenClass is a kind of token with a counter and a price of its own.
type TokenClass string

// The token classes.
const (
	TokenInput       TokenClass = "input"
	TokenOutput      TokenClass = "output"
	TokenCachedInput TokenClass = "cachedInput"
	TokenCacheWrite  TokenClass = "cacheWrite" // input that was written to a cache
	TokenThoughts    TokenClass = "thoughts"   // output that a model thought
	TokenToolUse     TokenClass = "toolUse"    // input that a provider's own tools made
)

// A Cursor is the last settled sample of one series.
type Cursor struct {
	// Series is the SHA-256 of the series' identity, first 16 hex digits.
	Series string `json:"series"`

	// At is the time of the sample in Unix milliseconds.
	//
	// +kubebuilder:validation:Pattern=`^[0-9]+$`
	At string `json:"at"`

	// Value of the sample in tokens.
	//
	// +kubebuilder:validation:Pattern=`^[0-9]+$`
	Value string `json:"value"`

	// Resets of the series so far in the hour of At. Absent: none.
	//
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9]+$`
	Resets string `json:"resets,omitempty"`

	// ResetsBefore are the resets of the series in the hour before. Absent: none.
	//
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9]+$`
	ResetsBefore string `json:"resetsBefore,omitempty"`
}

// XAgentBudgetList is a list of budgets.
//
// +kubebuilder:object:root=true
type XAgentBudgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []XAgentBudget `json:"items"`
}
