package v1alpha1

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
)

// What the schemas refuse at admission is refused here once more, with the same
// rules: an order that is rendered by hand has passed no admission.
var (
	agentNamePattern  = regexp.MustCompile(`^[a-z][a-z0-9-]*[a-z0-9]$`)
	projectIDPattern  = regexp.MustCompile(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
	baseDomainPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	// looksLikeGoogle is "google" and its close misspellings, which Google refuses in
	// the names of buckets: what looks like its letters in their place, letters once too often.
	looksLikeGoogle = regexp.MustCompile(`[g9q6]+[o0][o0]+[g9q6]+[l1i]+[e3]`)

	digits        = regexp.MustCompile(`^[0-9]+$`)
	bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)
)

// An OrderField is a field of an order that a station uses, and that must be good then.
type OrderField int

// The fields of an order, in the order in which they are looked at.
const (
	UsesAgentName OrderField = iota
	UsesDatasetRef
	UsesProjectID
	UsesBaseDomain
	UsesBudgetUSD

	// UsesStatus asks for no more than that it is read.
	UsesStatus
)

// OrderFields are all of them.
func OrderFields() []OrderField {
	return []OrderField{UsesAgentName, UsesDatasetRef, UsesProjectID, UsesBaseDomain, UsesBudgetUSD}
}

// Check says what of an order can't be used, or nil. An XDatasetAgent must be good as a
// whole. Of somebody else's kind only the named fields must be there: those that a
// station uses.
func (x *XDatasetAgent) Check(uses ...OrderField) error {
	ours := x.Kind == KindXDatasetAgent
	if ours {
		uses = OrderFields()
	}
	for _, f := range uses {
		if err := x.Spec.check(f); err != nil {
			return err
		}
	}
	// Two orders of one agent would fight over every part. Other kinds have rules of
	// their own for it.
	if ours && x.GetName() != x.Spec.AgentName {
		return fmt.Errorf("metadata.name %q and spec.agentName %q must be equal: the agent's name is its identity and never changes", x.GetName(), x.Spec.AgentName)
	}
	return nil
}

func (s XDatasetAgentSpec) check(f OrderField) error {
	switch f {
	case UsesAgentName:
		if err := validateAgentName(s.AgentName); err != nil {
			return err
		}
		if looksLikeGoogle.MatchString(s.AgentName) {
			return fmt.Errorf("spec.agentName %q must not contain \"google\" or what looks like it: Google refuses a bucket with that name", s.AgentName)
		}
	case UsesDatasetRef:
		if s.DatasetRef.Name == "" {
			return fmt.Errorf("spec.datasetRef.name is empty: it names an XDataset (kubectl get xds lists them)")
		}
	case UsesProjectID:
		if !projectIDPattern.MatchString(s.ProjectID) {
			return fmt.Errorf("spec.projectId %q must be 6 to 30 lower-case letters, digits and dashes, starting with a letter and not ending with a dash", s.ProjectID)
		}
		if looksLikeGoogle.MatchString(s.ProjectID) || strings.HasPrefix(s.ProjectID, "goog") {
			return fmt.Errorf("spec.projectId %q must not contain \"google\" or what looks like it, or start with \"goog\": Google refuses a bucket with that name", s.ProjectID)
		}
	case UsesBaseDomain:
		if len(s.BaseDomain) > 220 || !baseDomainPattern.MatchString(s.BaseDomain) {
			return fmt.Errorf("spec.baseDomain %q must be a DNS name in lower case of at most 220 characters", s.BaseDomain)
		}
	case UsesStatus:
	case UsesBudgetUSD:
		return validateMoney(s.BudgetUSD, s.Enforcement, s.Period)
	}
	return nil
}

// Validate says what of a budget can't be used, or nil.
func (s XAgentBudgetSpec) Validate() error {
	if err := validateAgentName(s.AgentName); err != nil {
		return err
	}
	if _, err := Zone(s.TimeZone); err != nil {
		return fmt.Errorf("spec.timeZone %w", err)
	}
	return validateMoney(s.BudgetUSD, s.Enforcement, s.Period)
}

// Validate says what of a ledger an API server would refuse, or nil: with it would
// go all of a status. No value is quoted that moves while money is spent.
func (l Ledger) Validate() error {
	if len(l.Prices) > 8192 {
		return fmt.Errorf("its prices are longer than 8192 bytes")
	}
	if len(l.Totals) > 256 || len(l.Cursors) > 512 {
		return fmt.Errorf("it has more than 256 totals or 512 cursors")
	}
	for _, t := range l.Totals {
		switch t.Class {
		case TokenInput, TokenOutput, TokenCachedInput, TokenCacheWrite, TokenThoughts, TokenToolUse:
		default:
			return fmt.Errorf("totals[].class %q must be input, output, cachedInput, cacheWrite, thoughts or toolUse", t.Class)
		}
		if !digits.MatchString(t.Tokens) || !digits.MatchString(cmp.Or(t.Doubtful, "0")) {
			return fmt.Errorf("totals[].tokens and doubtful must be strings of digits")
		}
	}
	for _, c := range l.Cursors {
		for _, n := range []string{c.At, c.Value, cmp.Or(c.Resets, "0"), cmp.Or(c.ResetsBefore, "0")} {
			if !digits.MatchString(n) {
				return fmt.Errorf("cursors[].at, value, resets and resetsBefore must be strings of digits")
			}
		}
	}
	return nil
}

// Validate says why a dataset can't be used, or nil.
func (d Dataset) Validate() error {
	if d.Name == "" {
		return fmt.Errorf("the dataset has no name")
	}
	path, is := strings.CutPrefix(d.GCSPath, "gs://")
	_, object, _ := strings.Cut(path, "/")
	if !is || !strings.HasSuffix(object, ".csv") && (!d.Folder() || strings.Trim(object, "/") == "") {
		return fmt.Errorf("gcsPath %q of dataset %q must be gs://<bucket>/<object>.csv, or gs://<bucket>/<folder>/", d.GCSPath, d.Name)
	}
	if !bucketPattern.MatchString(d.Bucket()) {
		return fmt.Errorf("gcsPath %q of dataset %q names no bucket: 3 to 222 lower-case letters, digits, dots, dashes and underscores", d.GCSPath, d.Name)
	}
	if d.SizeBytes < 0 {
		return fmt.Errorf("sizeBytes %d of dataset %q must not be negative", d.SizeBytes, d.Name)
	}
	return nil
}

// Folder says whether the dataset is a folder of CSVs.
func (d Dataset) Folder() bool { return strings.HasSuffix(d.GCSPath, "/") }

// Bucket returns the name of the bucket that holds the dataset.
func (d Dataset) Bucket() string {
	b, _, _ := strings.Cut(strings.TrimPrefix(d.GCSPath, "gs://"), "/")
	return b
}

func validateAgentName(n string) error {
	if len(n) < 3 || len(n) > 24 || !agentNamePattern.MatchString(n) {
		return fmt.Errorf("spec.agentName %q must be 3 to 24 lower-case letters, digits and dashes, starting with a letter and ending with a letter or digit", n)
	}
	return nil
}

// validateMoney looks at what an order and its budget both say; enforcement and period
// may be empty.
func validateMoney(usd float64, e Enforcement, p Period) error {
	if e != "" {
		if err := e.Validate(); err != nil {
			return fmt.Errorf("spec.enforcement %w", err)
		}
	}
	if p != "" {
		if err := p.Validate(); err != nil {
			return fmt.Errorf("spec.period %w", err)
		}
	}
	return validateBudget(usd)
}

// Validate says what else an enforcement must be, or nil.
func (e Enforcement) Validate() error {
	switch e {
	case EnforcementEnabled, EnforcementMonitorOnly:
		return nil
	}
	return fmt.Errorf("%q must be %s or %s", e, EnforcementEnabled, EnforcementMonitorOnly)
}

// Validate says what else a period must be, or nil.
func (p Period) Validate() error {
	switch p {
	case PeriodLifetime, PeriodDaily, PeriodWeekly, PeriodMonthly:
		return nil
	}
	return fmt.Errorf("%q must be %s, %s, %s or %s", p, PeriodLifetime, PeriodDaily, PeriodWeekly, PeriodMonthly)
}

func validateBudget(usd float64) error {
	if !(usd >= 0 && usd <= 10000) { // so that NaN is refused too
		return fmt.Errorf("spec.budgetUsd %v must be a number from 0 to 10000", usd)
	}
	return nil
}
