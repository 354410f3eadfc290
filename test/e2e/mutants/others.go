package mutants

// others take out one proof each of whose a thing is.
var others = []Mutant{
	{
		Name: "a-label-proves", Rule: 9,
		Why: "Who writes a label on a namespace has it taken over, and deleted with the order.",
		Edits: []Edit{{
			File: "fn/internal/edge/ownership.go",
			Old:  `return proof != "" && (proof == o.uid || proof == o.restored)`,
			New:  `return proof != "" && (proof == o.uid || proof == o.restored) || p.String("metadata", "labels", v1alpha1.LabelAgent) == o.agent`,
		}},
		Scenario: "Strangers", Says: "waiting for taken-bot to be refused",
		Package: "./fn/internal/edge", Test: "TestOwns",
	},
	{
		Name: "nobody-looks", Rule: 9,
		Why: "An order takes what already has its names, and deletes it when it goes.",
		Edits: []Edit{{
			File: "fn/internal/edge/ownership.go",
			Old:  "if !xr.owns(p) {\n\t\t\t\ttaken",
			New:  "if !xr.owns(p) && p.Deleting() { // what goes must be gone first\n\t\t\t\ttaken",
		}},
		Scenario: "Strangers", Says: "to be refused",
		Package: "./fn/internal/edge", Test: "TestAddComposedAsksFirst",
	},
	{
		Name: "any-order-was-this-one", Rule: 9,
		Why: "A new order of an old name takes over what the old one left, which somebody kept on purpose.",
		Edits: []Edit{{
			File: "fn/internal/edge/ownership.go",
			Old:  `return proof != "" && (proof == o.uid || proof == o.restored)`,
			New:  `return proof != "" && (proof == o.uid || proof == o.restored || o.restored == "")`,
		}},
		Scenario: "Restored", Says: "waiting for the restored order to be refused",
		Package: "./fn/internal/edge", Test: "TestOwns",
	},
	{
		Name: "buckets-are-imported", Rule: 9,
		Why: "A bucket of another team in Google Cloud is changed, and deleted with the order and all that is in it.",
		Edits: []Edit{{
			File: "fn/xda/renderiam/found.go",
			Old:  "case f.There:\n\t\treturn Theirs",
			New:  "case f.There:\n\t\treturn Ours // nobody else would call a bucket that",
		}},
		Scenario: "Strangers", Says: "waiting for cloudy-bot to be refused",
		Package: "./fn/xda/renderiam", Test: "TestJudge",
	},
	{
		Name: "any-budget-counts", Rule: 9,
		Why: "Whoever may make budgets somewhere stops every agent.",
		Edits: []Edit{{
			File: "apis/v1alpha1/ownership.go",
			Old:  `namespace != "" && namespace != home {`,
			New:  `namespace == agentName && namespace != home { // wherever it lies`,
		}},
		Scenario: "SecondBudget", Says: "waiting for the tenant's budget to say that it counts for nothing",
		Package: "./fn/budget/decide", Test: "TestGolden/outside-its-agents-namespace",
	},
	{
		Name: "money-waits-for-data", Rule: 9,
		Why: "Who breaks the look-up of datasets keeps every cut of a budget from its agent.",
		Edits: []Edit{{
			File: "fn/budget/decide/order.go",
			Old:  "return min(given, o.Budget)",
			New:  "return given // the order's pipeline passes on what is right",
		}},
		Scenario: "CutWithoutDatasets", Says: "waiting for the cut to stop the agent",
		Package: "./fn/budget/decide", Test: "TestGolden/order-cut-and-stuck",
	},
}
