package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func cases() []Case {
	var cs []Case
	for seed := range uint64(50) {
		cs = append(cs,
			Case{Seed: seed, Length: 5 * time.Minute, Agents: 8},
			Case{Seed: seed, Length: 30 * time.Minute, Agents: 20},
			Case{Seed: seed, Length: time.Minute, Agents: 1})
	}
	return cs
}

// A seed that failed must fail again.
func TestPlanIsAFunctionOfItsCase(t *testing.T) {
	seen := map[string]Case{}
	for _, c := range cases() {
		a := Plan(c)
		if diff := cmp.Diff(a, Plan(c)); diff != "" {
			t.Fatalf("%s: two plans:\n%s", c, diff)
		}
		text := fmt.Sprint(a)
		if o, there := seen[text]; there {
			t.Errorf("%s and %s have the same plan", c, o)
		}
		seen[text] = c
	}
}

// The plan of a seed that somebody noted down stays what it was, until somebody
// means to change it.
func TestPlanStays(t *testing.T) {
	got := Plan(Case{Seed: 1, Length: 5 * time.Minute, Agents: 8})[:12]
	want := []string{
		"    0.0s order        bot-00 dataset=houses usd=1.90",
		"    9.4s order        bot-01 dataset=passengers usd=1.50",
		"   15.0s pause        token-meter-1 for=7.4s",
		"   17.2s pause        provider-kubernetes for=18.3s",
		"   18.8s order        bot-02 dataset=wines usd=2.50",
		"   22.3s kill         function-xda-render-dashboard for=11.9s",
		"   28.1s order        bot-03 dataset=passengers usd=1.10",
		"   31.2s kill         kube-controller-manager for=7.4s",
		"   34.1s scale-up     bot-00",
		"   37.5s order        bot-04 dataset=passengers usd=2.40",
		"   39.8s vanish       passengers",
		"   41.5s kill         etcd for=2.2s",
	}
	for i, a := range got {
		if a.String() != want[i] {
			t.Errorf("act %d is %q, was %q", i, a, want[i])
		}
	}
}

// What a plan does must be possible: nobody deletes what is not there, nothing is
// ended twice at once, and the statuses that remember a spend are not both lost.
func TestPlanIsPossible(t *testing.T) {
	for _, c := range cases() {
		var last time.Duration
		ordered := map[string]bool{}
		vanished := map[string]bool{}
		away := map[string]time.Duration{}
		forgetful := map[string]bool{}
		for i := range c.Agents {
			forgetful[AgentName(i)] = forgets(i)
		}
		for _, a := range Plan(c) {
			if a.At < last {
				t.Fatalf("%s: %s: comes after %s", c, a, last)
			}
			last = a.At
			var bad string
			switch a.Verb {
			case Order:
				bad = when(ordered[a.Target], "it is ordered already")
				ordered[a.Target] = true
			case Vanish, Appear:
				bad = when(vanished[a.Target] == (a.Verb == Vanish), "it did so before")
				vanished[a.Target] = a.Verb == Vanish
			case Kill, Pause:
				bad = when(away[a.Target] > a.At, "it is away")
				away[a.Target] = a.At + a.For
			default:
				bad = when(!ordered[a.Target], "it is not ordered")
				ordered[a.Target] = a.Verb != Drop
			}
			switch {
			case a.Verb == WipeOrder && !forgetful[a.Target], a.Part == budgetPart && forgetful[a.Target]:
				bad = "a spend could be forgotten"
			case a.USD < 0 || a.USD > 10_000 || a.For < 0 || a.For > longestAway:
				bad = "an amount or a time is out of bounds"
			}
			if bad != "" {
				t.Errorf("%s: %s: %s", c, a, bad)
			}
		}
	}
}

func when(b bool, what string) string {
	if b {
		return what
	}
	return ""
}

// Five minutes are enough for every process to have its turn, and for every verb
// in most of the seeds.
func TestPlanLeavesNothingOut(t *testing.T) {
	verbs := map[Verb]int{}
	for seed := range uint64(20) {
		hit := map[string]int{}
		of := map[Verb]bool{}
		for _, a := range Plan(Case{Seed: seed, Length: 5 * time.Minute, Agents: 8}) {
			hit[a.Target]++
			of[a.Verb] = true
		}
		for _, p := range Processes {
			if hit[p.Name] == 0 {
				t.Errorf("seed %d leaves %s alone", seed, p.Name)
			}
		}
		for v := range of {
			verbs[v]++
		}
	}
	for _, v := range []Verb{Order, Drop, SetBudget, MonitorOnly, Enforce, Burst, Swap, DeletePart, ScaleUp, WipeOrder, WipeBudget, WipePart, Vanish, Appear, Kill, Pause} {
		if verbs[v] < 15 {
			t.Errorf("%s is in the plans of %d seeds of 20", v, verbs[v])
		}
	}
}
