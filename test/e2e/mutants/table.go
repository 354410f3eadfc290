package mutants

// Rules that keep data safe, in the words of their headings; a rule's number is
// its place, from 1.
var Rules = []string{
	"Leaving out is deleting",
	"Gate only first creation",
	"An order that cannot be filled says why, in words, where its owner looks",
	"A measuring system's failure never punishes the measured, and never pardons it either",
	"Nothing moves, nothing is written",
	"Never count a token twice",
	"Deleting a meter is not paying the bill",
	"No key material in logs, errors, events, results or recorded fixtures",
	"Nobody else's",
}

// An Edit replaces a text that occurs exactly once in a file.
type Edit struct{ File, Old, New string } // File is relative to the checkout

// A Mutant is a mistake that breaks a rule.
type Mutant struct {
	Name string
	Rule int
	Why  string // what would happen to a user

	// Edits make the mistake. Two of them where a second station refuses what the
	// first does wrong.
	Edits []Edit

	// Scenario of TestSuite that must be red, the cheapest that is.
	Scenario string
	// Says is a part of its failure's message: it is red for this reason.
	Says string

	// Package and Test of the root module that must be red, too, if one is: make
	// mutants-quick runs it.
	Package, Test string
}

// Mutants of every rule. What a rule is broken by is what somebody could mean well.
var Mutants = append([]Mutant{
	{
		Name: "null-renders-nothing", Rule: 1,
		Why: "Who deletes a dataset deletes every agent that works on it, with its bucket and all that is in it.",
		Edits: []Edit{
			forgetsDataset,
			{
				File: "fn/internal/edge/out.go",
				Old:  "if len(lost) == 0 {",
				New:  "if len(lost) == 0 || len(c.Rsp.GetDesired().GetResources()) == 0 { // without a dataset there is nothing to render",
			},
		},
		Scenario: "DatasetDeleted",
		Says:     "of left-bot was lost or made anew",
	},
	{
		Name: "null-is-no-loss", Rule: 1,
		Why: "A registry of datasets that is down for a moment deletes every agent, with its bucket and all that is in it.",
		Edits: []Edit{{
			File: "fn/internal/edge/out.go",
			Old:  "if len(lost) == 0 {",
			New:  "if len(lost) == 0 || len(c.Rsp.GetDesired().GetResources()) == 0 { // without a dataset there is nothing to render",
		}},
		Scenario: "ForeignStations",
		Says:     "of f-registry was lost or made anew",
	},
	{
		Name: "dataset-forgotten", Rule: 3,
		Why:      "Who deletes a dataset stops every change of the agents that work on it: their orders can't be reconciled any more.",
		Edits:    []Edit{forgetsDataset},
		Scenario: "DatasetDeleted",
		Says:     "Synced is False",
	},
	{
		Name: "budget-without-namespace", Rule: 2,
		Why: "A new order fails at a namespace that does not exist yet, again and again, and its owner reads of errors where nothing is wrong.",
		Edits: []Edit{{
			File: "fn/xda/emitbudget/fn.go",
			Old:  "case budget.Exists() || c.NamespaceActive():",
			New:  "case dataset != nil:",
		}},
		Scenario: "OrderToReady",
		Says:     "want sa-key, agent-planner and xagentbudget held back at first, got",
	},
	{
		Name: "key-lost-in-silence", Rule: 2,
		Why: "An agent whose key is lost reads no data, and everything about it says that it is well.",
		Edits: []Edit{{
			File: "fn/xda/renderiam/fn.go",
			Old:  "key.HasConnectionDetail(v1alpha1.SecretKeyPrivateKey),",
			New:  "key.Ready(), // a key that is ready is handed over",
		}},
		Scenario: "KeyLost",
		Says:     "CredentialsPresent is True, KeyPresent",
	},
	{
		Name: "nothing-is-ready", Rule: 3,
		Why: "An order for a dataset that does not exist is shown as Ready, and its owner waits for an agent that never comes.",
		Edits: []Edit{{
			File: "fn/xda/validatedataset/fn.go",
			Old:  "if v.Dataset == nil {",
			New:  "if v.Phase == v1alpha1.PhaseValidating {",
		}},
		Scenario: "DatasetAppears",
		Says:     "Ready is True",
	},
	{
		Name: "missing-dataset-is-fatal", Rule: 3,
		Why: "An order that came before its dataset has an error and no phase, and nobody watches for the dataset to appear.",
		Edits: []Edit{{
			File: "fn/xda/validatedataset/validate.go",
			Old:  "case answer == NotFound:\n\t\tv.Waits = true",
			New:  "case answer == NotFound:\n\t\tv.Stop = v.Dataset == nil",
		}},
		Scenario: "DatasetAppears",
		Says:     "Synced is False",
	},
	{
		Name: "blind-means-stop", Rule: 4,
		Why: "A restart of Prometheus stops every agent of the platform.",
		Edits: []Edit{{
			File: "fn/budget/decide/rules.go",
			Old:  "return exhausted(s.Facts, s.spent) }, pauses: true",
			New:  "return exhausted(s.Facts, s.spent) || s.Spend == nil }, pauses: true", // nobody spends unseen
		}},
		Scenario: "PrometheusKilled",
		Says:     "waiting for the running agent's figures to stand: status.paused is true",
	},
	{
		Name: "blind-means-go", Rule: 4,
		Why: "A restart of Prometheus starts every agent that was stopped, with nobody to see what they spend.",
		Edits: []Edit{{
			File: "fn/budget/decide/rules.go",
			Old:  "return s.MonitorOnly }",
			New:  "return s.MonitorOnly || s.Spend == nil }", // nobody is stopped for what can't be shown
		}},
		Scenario: "PrometheusKilled",
		Says:     "waiting for the stopped agent's figures to stand: status.paused is false",
	},
	{
		Name: "clock-in-status", Rule: 5,
		Why: "Every look at an idle budget writes its status, and with it its order's: a thousand idle agents keep the API server busy for ever.",
		Edits: []Edit{{
			File: "fn/budget/fetchspend/count/fold.go",
			Old:  "Ceil(f.lastGain, r.Grid))",
			New:  "at)",
		}},
		Scenario: "Quiet",
		Says:     "quiet-bot does not settle",
	},
	{
		Name: "overlap-counts", Rule: 6,
		Why: "A budget that is made again charges what its opening holds once more, and stops its agent for tokens that were not used.",
		Edits: []Edit{{
			File: "fn/budget/fetchspend/count/fold.go",
			Old:  "counts := max(l.From, l.SettledAt) // samples up to it count nothing",
			New:  "counts := l.SettledAt - r.Overlap().Milliseconds() // samples that come late count too",
		}},
		Scenario: "BudgetDeleted",
		Says:     "status.spentUsd is 11.25, want 6.25",
	},
	{
		Name: "unpaid-bill", Rule: 7,
		Why: "Who may delete an XAgentBudget gives an agent its whole budget again, as often as he likes.",
		Edits: []Edit{{
			File: "fn/xda/emitbudget/emit.go",
			Old:  `if spent == nil || spent.AsOf == "" || spent.Period == "" {`,
			New:  `if spent == nil || spent.AsOf == "" || spent.Period == "" || spent.Period == string(v1alpha1.PeriodLifetime) { // which begins with the first token anyhow`,
		}},
		Scenario: "BudgetDeleted",
		Says:     "spec.opening.usd is 0, want 1.25",
	},
	{
		Name: "unknown-beginning", Rule: 7,
		Why: "A budget that is deleted while its order looks at it starts an agent that has spent everything.",
		Edits: []Edit{{
			File: "fn/xda/emitbudget/emit.go",
			Old:  "if o == nil && b.Opened == nil {",
			New:  "if o == nil && b.Opened == nil && b.Spent != nil { // a first budget has nothing to remember",
		}},
		Scenario: "BudgetMadeAgain",
		Says:     "status.spentUsd is 0, want 6.25",
	},
	{
		Name: "unmeasured-bill", Rule: 7,
		Why: "Who deletes the budget of an agent that has spent everything starts it, if the meter is down.",
		Edits: []Edit{{
			File: "fn/budget/decide/decide.go",
			Old:  "case f.Opening != nil && f.Opening.Period == now:",
			New:  "case f.Spend != nil && f.Opening != nil && f.Opening.Period == now: // fetch-spend adds the opening",
		}},
		Scenario: "PrometheusKilled",
		Says:     "status.spentUsd is <nil>, want 6.25",
	},
	{
		Name: "key-in-the-log", Rule: 8,
		Why: "Whoever may read logs reads every agent's private key.",
		Edits: []Edit{{
			File: "fn/xda/renderiam/fn.go",
			Old:  `"with-key", agent.WithKey)`,
			New:  `"with-key", agent.WithKey, "observed", c.Req.GetObserved())`,
		}},
		Scenario: "NoKeyMaterial",
		Says:     "holds the agent's private key",
	},
}, others...)

// forgetsDataset is a validate-dataset that knows of no dataset but the ordered one.
var forgetsDataset = Edit{
	File: "fn/xda/validatedataset/validate.go",
	Old:  "if f.Live {\n\t\tv.Dataset = last",
	New:  "if f.Live && f.Answer == Unresolved {\n\t\tv.Dataset = last",
}
