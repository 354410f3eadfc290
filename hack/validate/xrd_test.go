package main

import (
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const pkg = "../../package"

// ours returns a kind of ours, as Crossplane v2.4 derives it from the XRD.
func ours(t *testing.T, kindName string) *kind {
	t.Helper()
	ks := newChecker(t, "testdata/crds").kinds
	k, err := ks.find(schema.GroupVersionKind{Group: "whisperops.io", Version: "v1alpha1", Kind: kindName})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// object returns a valid object of a kind, changed by spec: a nil value removes
// a field.
func object(kindName, name string, spec map[string]any) map[string]any {
	s := runtime.DeepCopyJSON(sampleSpecs[kindName])
	for k, v := range spec {
		if v == nil {
			delete(s, k)
			continue
		}
		s[k] = v
	}
	meta := map[string]any{"name": name}
	if kindName == kindBudget {
		meta["namespace"] = sampleNamespace
	}
	return map[string]any{"apiVersion": ourAPIVersion, "kind": kindName, "metadata": meta, "spec": s}
}

// TestAdmission proves on the CRDs that Crossplane derives from our XRDs what is
// accepted, and that what is refused is refused with a sentence.
func TestAdmission(t *testing.T) {
	const digitsAndDashes = "spec.agentName in body should match"
	cases := map[string]struct {
		kind string
		name string // metadata.name; empty is the sample's
		spec map[string]any
		old  map[string]any // spec before, for an update
		want string         // part of the refusal; empty means accepted
	}{
		"TheDesignsOrder": {kind: kindAgent, spec: map[string]any{"description": "Answers questions about California house prices", "baseDomain": "34.61.7.12.sslip.io"}},
		"NoMoneyAtAll":    {kind: kindAgent, spec: map[string]any{"budgetUsd": int64(0)}},
		"Cents":           {kind: kindAgent, spec: map[string]any{"budgetUsd": 0.25}},
		"LongestName":     {kind: kindAgent, name: "a23456789012345678901234", spec: map[string]any{"agentName": "a23456789012345678901234"}},
		"ShortestName":    {kind: kindAgent, name: "abc", spec: map[string]any{"agentName": "abc"}},

		"NameTooShort":     {kind: kindAgent, name: "ab", spec: map[string]any{"agentName": "ab"}, want: "spec.agentName in body should be at least 3 chars long"},
		"NameTooLong":      {kind: kindAgent, name: "a234567890123456789012345", spec: map[string]any{"agentName": "a234567890123456789012345"}, want: "spec.agentName: Too long: may not be more than 24"},
		"NameWithDigit1st": {kind: kindAgent, name: "1bot", spec: map[string]any{"agentName": "1bot"}, want: digitsAndDashes},
		"NameEndsInDash":   {kind: kindAgent, name: "bot-", spec: map[string]any{"agentName": "bot-"}, want: digitsAndDashes},
		"NameWithDot":      {kind: kindAgent, name: "bot.eu", spec: map[string]any{"agentName": "bot.eu"}, want: digitsAndDashes},
		"NameUpperCase":    {kind: kindAgent, name: "Bot", spec: map[string]any{"agentName": "Bot"}, want: digitsAndDashes},
		"NameSaysGoogle":   {kind: kindAgent, name: "my-google-bot", spec: map[string]any{"agentName": "my-google-bot"}, want: `agentName must not contain "google" or what looks like it: the agent's bucket carries its name, and Google refuses such buckets`},
		"NameLooksLike":    {kind: kindAgent, name: "g00gle-bot", spec: map[string]any{"agentName": "g00gle-bot"}, want: `agentName must not contain "google" or what looks like it`},
		"NameGoggles":      {kind: kindAgent, name: "goggles", spec: map[string]any{"agentName": "goggles"}},
		"NameDiffers":      {kind: kindAgent, name: "other", want: "metadata.name and spec.agentName must be equal: the agent's name is its identity and never changes"},
		"NoName":           {kind: kindAgent, spec: map[string]any{"agentName": nil}, want: "spec.agentName: Required value"},
		"NoDataset":        {kind: kindAgent, spec: map[string]any{"datasetRef": nil}, want: "spec.datasetRef: Required value"},
		"EmptyDatasetName": {kind: kindAgent, spec: map[string]any{"datasetRef": map[string]any{"name": ""}}, want: "spec.datasetRef.name in body should be at least 1 chars long"},
		"NoBudget":         {kind: kindAgent, spec: map[string]any{"budgetUsd": nil}, want: "spec.budgetUsd: Required value"},
		"NegativeBudget":   {kind: kindAgent, spec: map[string]any{"budgetUsd": int64(-1)}, want: "spec.budgetUsd in body should be greater than or equal to 0"},
		"HugeBudget":       {kind: kindAgent, spec: map[string]any{"budgetUsd": 10000.01}, want: "spec.budgetUsd in body should be less than or equal to 10000"},
		"BudgetAsText":     {kind: kindAgent, spec: map[string]any{"budgetUsd": "5"}, want: "spec.budgetUsd in body must be of type number"},
		"LongDescription":  {kind: kindAgent, spec: map[string]any{"description": strings.Repeat("ä", 501)}, want: "spec.description: Too long: may not be more than 500"},
		"NoDomain":         {kind: kindAgent, spec: map[string]any{"baseDomain": nil}, want: "spec.baseDomain: Required value"},
		"DomainWithScheme": {kind: kindAgent, spec: map[string]any{"baseDomain": "https://example.org"}, want: "spec.baseDomain in body should match"},
		"DomainWithDot1st": {kind: kindAgent, spec: map[string]any{"baseDomain": ".example.org"}, want: "spec.baseDomain in body should match"},
		"NoProject":        {kind: kindAgent, spec: map[string]any{"projectId": nil}, want: "spec.projectId: Required value"},
		"ProjectTooShort":  {kind: kindAgent, spec: map[string]any{"projectId": "acme"}, want: "spec.projectId in body should match"},
		"ProjectTooLong":   {kind: kindAgent, spec: map[string]any{"projectId": "a" + strings.Repeat("b", 30)}, want: "spec.projectId in body should match"},
		"ProjectByNumber":  {kind: kindAgent, spec: map[string]any{"projectId": "1234567890"}, want: "spec.projectId in body should match"},
		"ProjectGoogle":    {kind: kindAgent, spec: map[string]any{"projectId": "my-google-data"}, want: `projectId must not contain "google" or what looks like it, or start with "goog"`},
		"ProjectGoog":      {kind: kindAgent, spec: map[string]any{"projectId": "goog-data"}, want: `projectId must not contain "google" or what looks like it, or start with "goog"`},
		"ProjectChanged":   {kind: kindAgent, old: map[string]any{}, spec: map[string]any{"projectId": "other-data"}, want: "projectId never changes: delete the order and make a new one for another project"},
		"ProjectKept":      {kind: kindAgent, old: map[string]any{"budgetUsd": int64(1)}},
		"NameChanged":      {kind: kindAgent, old: map[string]any{}, spec: map[string]any{"agentName": "other"}, want: "metadata.name and spec.agentName must be equal"},
		"Typo":             {kind: kindAgent, spec: map[string]any{"budgetUSD": int64(5)}, want: "spec.budgetUSD: Forbidden"},

		"StandAloneBudget":   {kind: kindBudget, spec: map[string]any{"enforcement": "monitor-only", "period": "daily", "warnAtPercent": []any{int64(50), int64(100)}}},
		"BudgetWithOpening":  {kind: kindBudget, spec: map[string]any{"opening": map[string]any{"usd": 1.5, "asOf": "2026-11-23T08:00:00Z", "period": "lifetime"}}},
		"BudgetOfComposite":  {kind: kindBudget, spec: map[string]any{"crossplane": map[string]any{"compositionRef": map[string]any{"name": "xagentbudget-default"}}}},
		"BudgetNameDiffers":  {kind: kindBudget, name: "other", want: "metadata.name and spec.agentName must be equal: the chat page finds an agent's budget by the agent's name"},
		"BudgetBadName":      {kind: kindBudget, name: "bot-", spec: map[string]any{"agentName": "bot-"}, want: digitsAndDashes},
		"BudgetNegative":     {kind: kindBudget, spec: map[string]any{"budgetUsd": -0.5}, want: "spec.budgetUsd in body should be greater than or equal to 0"},
		"BudgetHuge":         {kind: kindBudget, spec: map[string]any{"budgetUsd": int64(10001)}, want: "spec.budgetUsd in body should be less than or equal to 10000"},
		"UnknownEnforcement": {kind: kindBudget, spec: map[string]any{"enforcement": "off"}, want: `spec.enforcement: Unsupported value: "off": supported values: "enabled", "monitor-only"`},
		"UnknownPeriod":      {kind: kindBudget, spec: map[string]any{"period": "yearly"}, want: `spec.period: Unsupported value: "yearly"`},
		"WarnAtNothing":      {kind: kindBudget, spec: map[string]any{"warnAtPercent": []any{int64(0)}}, want: "should be greater than or equal to 1"},
		"WarnPastAll":        {kind: kindBudget, spec: map[string]any{"warnAtPercent": []any{int64(101)}}, want: "should be less than or equal to 100"},
		"WarnTooOften":       {kind: kindBudget, spec: map[string]any{"warnAtPercent": []any{int64(1), int64(2), int64(3), int64(4), int64(5), int64(6), int64(7), int64(8), int64(9), int64(10), int64(11)}}, want: "Too many: 11: must have at most 10 items"},
		"OpeningWithoutTime": {kind: kindBudget, spec: map[string]any{"opening": map[string]any{"usd": 1.5, "asOf": "yesterday", "period": "lifetime"}}, want: "spec.opening.asOf in body must be of type date-time"},
		"OpeningNegative":    {kind: kindBudget, spec: map[string]any{"opening": map[string]any{"usd": -1.5, "asOf": "2026-11-23T08:00:00Z", "period": "lifetime"}}, want: "spec.opening.usd in body should be greater than or equal to 0"},
		"PricingNameless":    {kind: kindBudget, spec: map[string]any{"pricingRef": map[string]any{"name": ""}}, want: "spec.pricingRef.name in body should be at least 1 chars long"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			meta := tc.name
			if meta == "" {
				meta = sampleName
			}
			var old map[string]any
			o := object(tc.kind, meta, tc.spec)
			if tc.old != nil {
				old = object(tc.kind, meta, tc.old)
				old["metadata"].(map[string]any)["resourceVersion"] = "1"
				o["metadata"].(map[string]any)["resourceVersion"] = "1"
			}
			errs := ours(t, tc.kind).check(o, old)
			switch {
			case tc.want == "" && len(errs) > 0:
				t.Errorf("refused: %v", errs.ToAggregate())
			case tc.want != "" && len(errs) == 0:
				t.Errorf("accepted; want a refusal with %q", tc.want)
			case tc.want != "" && !strings.Contains(errs.ToAggregate().Error(), tc.want):
				t.Errorf("refused with\n%v\nwant\n%s", errs.ToAggregate(), tc.want)
			}
		})
	}
}

// TestBudgetDefaults proves that the defaults of the nested budget come from the
// XRD: the order renders none of them, so that an operator's edit survives.
func TestBudgetDefaults(t *testing.T) {
	o := object(kindBudget, sampleName, nil)
	if errs := ours(t, kindBudget).check(o, nil); len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	spec := o["spec"].(map[string]any)
	want := map[string]any{
		"enforcement":   "enabled",
		"period":        "lifetime",
		"warnAtPercent": []any{int64(80)},
		"pricingRef":    map[string]any{"name": "whisperops-pricing", "namespace": "crossplane-system"},
	}
	maps.Copy(want, sampleSpecs[kindBudget])
	delete(spec, "crossplane")
	if diff := diff(want, spec); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

// TestStatusIsTyped proves that a status field nobody declared is refused: it
// would stop the whole order.
func TestStatusIsTyped(t *testing.T) {
	for _, k := range []string{kindAgent, kindBudget} {
		o := object(k, sampleName, nil)
		o["status"] = map[string]any{"moood": "good"}
		errs := ours(t, k).check(o, nil)
		if len(errs) == 0 || !strings.Contains(errs.ToAggregate().Error(), "status.moood: Forbidden: field not declared in schema") {
			t.Errorf("%s: got %v", k, errs.ToAggregate())
		}
	}
}

// TestStatusOfCrossplane proves that Crossplane's own conditions have a place in
// the CRD, though our XRDs do not declare them.
func TestStatusOfCrossplane(t *testing.T) {
	for _, k := range []string{kindAgent, kindBudget} {
		o := object(k, sampleName, nil)
		o["status"] = map[string]any{"conditions": []any{map[string]any{
			"type": "Ready", "status": "True", "reason": "Available", "lastTransitionTime": "2026-11-23T08:00:00Z",
		}}}
		if errs := ours(t, k).check(o, nil); len(errs) > 0 {
			t.Errorf("%s: %v", k, errs.ToAggregate())
		}
	}
}

// TestColumns holds what people see in kubectl get: ours, then Crossplane's.
func TestColumns(t *testing.T) {
	ks, err := loadOurs(pkg)
	if err != nil {
		t.Fatal(err)
	}
	for kindName, want := range map[string]struct{ short, columns string }{
		kindAgent:  {"xda", "DATASET PHASE BUDGET SPENT PAUSED URL SYNCED READY COMPOSITION AGE"},
		kindBudget: {"xab budget", "BUDGET SPENT RATIO PAUSED CAUSE SYNCED READY COMPOSITION AGE"},
		"XDataset": {"xds datasets", "SIZE READY LAST_SEEN AGE"},
	} {
		crd := ks[schema.GroupKind{Group: "whisperops.io", Kind: kindName}].crd
		var columns []string
		all := crd.Spec.AdditionalPrinterColumns
		if len(all) == 0 {
			all = crd.Spec.Versions[0].AdditionalPrinterColumns
		}
		for _, c := range all {
			if c.Priority == 0 { // the others are for -o wide
				columns = append(columns, c.Name)
			}
		}
		if got := strings.Join(columns, " "); got != want.columns {
			t.Errorf("%s: columns are %q, want %q", kindName, got, want.columns)
		}
		if got := strings.Join(crd.Spec.Names.ShortNames, " "); got != want.short {
			t.Errorf("%s: short names are %q, want %q", kindName, got, want.short)
		}
	}
}

// TestEveryFieldIsExplained keeps kubectl explain useful.
func TestEveryFieldIsExplained(t *testing.T) {
	ks, err := loadOurs(pkg)
	if err != nil {
		t.Fatal(err)
	}
	for gk, v := range ks {
		for version := range v.served {
			k, err := ks.find(gk.WithVersion(version))
			if err != nil {
				t.Fatal(err)
			}
			explained(t, gk.Kind, k)
		}
	}
}
