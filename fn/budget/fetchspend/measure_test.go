package fetchspend

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/query"
)

// A glance is one look of a story, and what it is to find.
type glance struct {
	now    string
	change func(*Facts, *store)

	want       int64  // tokens counted so far; -1: not measured
	problem    string // its reason
	distrusted string // in the only sentence, "" when there is none
}

// TestMeasure looks at an agent again and again, each time with the ledger of the
// time before. The budget is made at ten; looks are at :20, and see what is at the
// full half minute before.
func TestMeasure(t *testing.T) {
	const (
		out         = "output pod=a"
		notSeen     = "fell and was not seen to start anew"
		steppedBack = "stepped back and came back"
	)
	empty := func(_ *Facts, s *store) { s.series = nil }
	noPrices := func(f *Facts, _ *store) {
		f.Prices, f.PriceProblem = nil, &v1alpha1.SpendProblem{Reason: "PricingNotFound"}
	}
	cheapCache := func(f *Facts, _ *store) {
		f.Prices = table(`models: {m: {input: "0.00001", output: "0.00001", cachedInput: "0.000001", unchecked: true}}`)
	}
	// The last sample came 5 ms after the one before, and has an earlier value.
	swapped := func(_ *Facts, s *store) {
		p := s.series[0].samples
		p[len(p)-1].At, p[len(p)-1].Value = p[len(p)-2].At+5, p[0].Value
	}
	daily := func(f *Facts, _ *store) { f.Budget.Period = v1alpha1.PeriodDaily }
	opened := func(asOf, period string, usd float64) func(*Facts, *store) {
		return func(f *Facts, _ *store) {
			f.Budget.Opening = &v1alpha1.Opening{USD: usd, AsOf: asOf, Period: period}
		}
	}
	cases := map[string]struct {
		reason string
		series map[string]string
		looks  []glance
	}{
		"BornAboveZero": {
			reason: "A counter is first exported with what its first request used: increase() would lose that.",
			series: map[string]string{out: "10:05:00=500 10:05:30=700"},
			looks:  []glance{{now: "10:06:20", want: 700}},
		},
		"OneSample": {
			reason: "A job of one request leaves one sample.",
			series: map[string]string{out: "10:05:00=500"},
			looks:  []glance{{now: "10:06:20", want: 500}, {now: "13:06:20", want: 500}},
		},
		"OlderThanTheBudget": {
			reason: "What a pod used before its budget existed is not charged to it.",
			series: map[string]string{out: "09:59:00=500 10:00:30=700"},
			looks:  []glance{{now: "10:06:20", want: 200}},
		},
		"OlderAndSilentSinceHours": {
			reason: "Its last value lies before the samples that are read: a second query finds it.",
			series: map[string]string{out: "07:00:00=500 10:00:30=700"},
			looks:  []glance{{now: "10:06:20", want: 200}},
		},
		"OnTheLastMoment": {
			reason: "The sample at the very time at which a budget was made is of before.",
			series: map[string]string{out: "10:00:00=500 10:00:30=700"},
			looks:  []glance{{now: "10:06:20", want: 200}},
		},
		"NotYetSeen": {
			reason: "What is newer than the ingest delay may be there in part only.",
			series: map[string]string{out: "10:05:00=500 10:06:10=700"},
			looks:  []glance{{now: "10:06:20", want: 500}, {now: "10:06:50", want: 700}},
		},
		"Restarted": {
			reason: "A fall counts the new value.",
			series: map[string]string{out: "10:05:00=500 10:05:30=700 10:06:00=30 10:06:30=60"},
			looks:  []glance{{now: "10:05:50", want: 700}, {now: "10:07:20", want: 760}, {now: "13:07:20", want: 760}},
		},
		"RestartedAndBusy": {
			reason: "A counter that fell and is back in one step may have come from a server that is behind: nothing says that it is a restart, so it counts once, and is named.",
			series: map[string]string{out: "10:05:00=500 10:05:30=700 10:06:00=30 10:06:30=900"},
			looks: []glance{
				{now: "10:06:20", want: 700},
				{now: "10:06:50", want: 900, distrusted: notSeen}, {now: "10:09:20", want: 900, distrusted: notSeen}, {now: "13:07:20", want: 900, distrusted: notSeen},
				{now: "13:07:50", want: 900},
			},
		},
		"RestartedAndSaysSo": {
			reason: "As above, but its process says when it started: a restart counts in full.",
			series: map[string]string{out: "10:05:00=500 10:05:30=700 10:06:00=30 10:06:30=900", "start pod=a": "10:05:00=1000 10:05:30=1000 10:06:00=2000 10:06:30=2000"},
			looks:  []glance{{now: "10:06:20", want: 730}, {now: "10:06:50", want: 1600}, {now: "13:07:20", want: 1600}},
		},
		"SteppedBackAndSaysSo": {
			reason: "As above: the process never stopped.",
			series: map[string]string{out: "10:05:00=500 10:05:30=700 10:06:00=30 10:06:30=900", "start pod=a": "10:05:00=1000 10:05:30=1000 10:06:00=1000 10:06:30=1000"},
			looks:  []glance{{now: "10:06:20", want: 700, distrusted: steppedBack}, {now: "10:06:50", want: 900, distrusted: steppedBack}},
		},
		"StoodStillAndDipped": {
			reason: "A ghost of an idle counter: it is back where it stood.",
			series: map[string]string{out: "10:00:30=10 .. 10:05:00=100 10:05:30=100 .. 10:20:00=100 10:20:30=0 10:21:00=100 .. 10:30:00=100"},
			looks:  []glance{{now: "10:20:50", want: 100}, {now: "10:21:20", want: 100, distrusted: notSeen}, {now: "10:30:20", want: 100, distrusted: notSeen}},
		},
		"SteppedBackByOne": {
			reason: "However little: it is no process that begins anew.",
			series: map[string]string{out: "10:00:30=1000 .. 10:20:00=40000 10:20:30=39999 10:21:00=42000 .. 10:30:00=60000"},
			looks:  []glance{{now: "10:20:50", want: 40000}, {now: "10:21:20", want: 42000, distrusted: steppedBack}, {now: "10:30:20", want: 60000, distrusted: steppedBack}, {now: "13:30:20", want: 60000, distrusted: steppedBack}},
		},
		"SteppedBackWhenYoung": {
			reason: "A process that just began may begin anew with as much; until that is known the lower figure counts.",
			series: map[string]string{out: "10:00:30=3000 .. 10:02:30=15000 10:03:00=4500 10:03:30=6000 10:04:00=24000"},
			looks:  []glance{{now: "10:03:20", want: 15000}, {now: "10:03:50", want: 15000}, {now: "10:04:20", want: 24000, distrusted: steppedBack}, {now: "13:30:20", want: 24000, distrusted: steppedBack}},
		},
		"RestartedWhenYoung": {
			reason: "As above, and it does not come back.",
			series: map[string]string{out: "10:00:30=3000 .. 10:02:30=15000 10:03:00=4500 10:03:30=6000"},
			looks:  []glance{{now: "10:03:50", want: 15000}, {now: "10:14:20", want: 21000}},
		},
		"SteppedBackForTen": {
			reason: "Ten scrapes at nothing, and on it goes.",
			series: map[string]string{out: "10:00:30=1000 .. 10:20:00=40000 10:20:30=0 .. 10:25:00=0 10:25:30=51000 .. 10:30:00=60000"},
			looks:  []glance{{now: "10:20:50", want: 40000}, {now: "10:24:20", want: 40000}, {now: "10:25:50", want: 51000, distrusted: steppedBack}, {now: "13:30:20", want: 60000, distrusted: steppedBack}},
		},
		"SwappedAtItsEnd": {
			reason: "Two servers write it, and its last two samples came in the wrong order, the first of which is a young pod's whole work: no process ends and begins within a second.",
			series: map[string]string{out: "10:05:00=900 10:05:30=36000 10:05:31=36000"},
			looks:  []glance{{now: "10:06:20", change: swapped, want: 36000, distrusted: steppedBack}, {now: "10:20:20", want: 36000, distrusted: steppedBack}, {now: "13:30:20", want: 36000, distrusted: steppedBack}},
		},
		"SteppedBackAndGrowsOn": {
			reason: "Half of what stood still for a quarter of an hour, and used meanwhile: who is behind grows step by step, too, but no process begins anew with half.",
			series: map[string]string{out: "10:00:30=1000 .. 10:02:00=10900 10:02:30=10900 .. 10:15:00=10900 10:15:30=5450 10:16:00=5450 .. 10:19:30=10910 10:20:00=21820 .. 10:30:00=21820"},
			looks:  []glance{{now: "10:15:50", want: 10900}, {now: "10:19:50", want: 10910, distrusted: notSeen}, {now: "10:20:50", want: 21820, distrusted: notSeen}, {now: "13:30:20", want: 21820, distrusted: notSeen}},
		},
		"SteppedBackAndStays": {
			reason: "It never comes back: what it grows counts, what it fell to does not, and is named.",
			series: map[string]string{out: "10:00:30=1000 .. 10:20:00=40000 10:20:30=20000 .. 10:40:30=24000"},
			looks:  []glance{{now: "10:20:50", want: 40000}, {now: "10:28:20", want: 40000}, {now: "10:40:20", want: 43900, distrusted: notSeen}},
		},
		"TwinsStepBackAndStay": {
			reason: "Both replicas see it, one after the other, with a settled sample between them: the second one must not take it for a reset.",
			series: map[string]string{
				"output pod=a prometheus_replica=0": "10:19:30=7203 10:20:00=7205 10:21:00=7000 10:21:30=7001",
				"output pod=a prometheus_replica=1": "10:19:37=7203 10:20:07=7205 10:21:07=7000 10:21:37=7001",
			},
			looks: []glance{{now: "10:20:50", want: 7205}, {now: "10:35:20", want: 7206, distrusted: notSeen}, {now: "13:20:20", want: 7206, distrusted: notSeen}, {now: "13:20:50", want: 7206}},
		},
		"RestartedWithAllItCounts": {
			reason: "One counter is back in one step, but another of the same process grew from nothing: it was a restart.",
			series: map[string]string{
				"output pod=a": "10:00:30=10 .. 10:20:00=400 10:20:30=0 10:21:00=5 10:21:30=15 10:22:00=20",
				"input pod=a":  "10:00:10=0 10:19:00=50 10:19:30=100 10:20:00=100 10:20:30=0 10:21:00=105",
			},
			looks: []glance{{now: "10:35:20", want: 420 + 205}, {now: "13:35:20", want: 420 + 205}},
		},
		"CountedByTwoMonitors": {
			reason: "One pod, scraped by two jobs: once, and named.",
			series: map[string]string{
				"output pod=a job=x": "10:00:30=1000 .. 10:20:00=40000",
				"output pod=a job=y": "10:00:35=1100 .. 10:20:05=40100",
			},
			looks: []glance{{now: "10:20:50", want: 40100, distrusted: "by way of job"}, {now: "13:20:30", want: 40100, distrusted: "by way of job"}},
		},
		"CountedByTwoMonitorsInAShortLife": {
			reason: "All samples are near one another, and none is the same: they fit between one another, at times that differ.",
			series: map[string]string{
				"output pod=a job=x": "10:05:00=1000 10:05:30=3000 10:06:00=5000",
				"output pod=a job=y": "10:05:13=2000 10:05:43=4000 10:06:13=6000",
			},
			looks: []glance{{now: "10:05:50", want: 3000, distrusted: "by way of job"}, {now: "10:06:20", want: 5000, distrusted: "by way of job"}, {now: "13:20:30", want: 6000, distrusted: "by way of job"}},
		},
		"OfAnotherAgentsPod": {
			reason: "Who scrapes says in which namespace a pod is; what another agent's pod says under this one's name is its own matter.",
			series: map[string]string{
				"output pod=a namespace=agent-bot":   "10:05:00=500",
				"output pod=b namespace=agent-other": "10:05:00=70000",
				"output pod=c":                       "10:05:00=3",
			},
			looks: []glance{{now: "10:06:20", want: 503, distrusted: `namespace="agent-other": a pod there counts under this agent's name`}},
		},
		"OfAnotherTeamsPod": {
			reason: "Agents that report by themselves do so from their own namespace.",
			series: map[string]string{
				"output pod=a namespace=agent-bot": "10:05:00=500",
				"output pod=b namespace=team-x":    "10:05:00=70000",
			},
			looks: []glance{{now: "10:06:20", want: 500, distrusted: `namespace="team-x": a pod there counts under this agent's name`}},
		},
		"OfAnotherTeamsPodAlone": {
			reason: "The agent's own are not there yet: nobody else takes their place.",
			series: map[string]string{"output pod=b namespace=team-x": "10:05:00=70000"},
			looks:  []glance{{now: "10:06:20", want: 0, distrusted: `namespace="team-x"`}},
		},
		"OfANamedCollector": {
			reason: "An input that names who else counts for agents lets that in, and nobody else.",
			series: map[string]string{
				"output pod=a namespace=agent-bot":  "10:05:00=500",
				"output pod=b namespace=team-x":     "10:05:00=70000",
				"output pod=c namespace=collectors": "10:05:00=3",
			},
			looks: []glance{{now: "10:06:20", want: 503, distrusted: `namespace="team-x"`, change: func(f *Facts, _ *store) {
				s, err := ReadSettings(&input.FetchSpendInput{Metrics: input.TokenMetrics{Namespaces: []string{"collect*"}}})
				if err != nil {
					panic(err)
				}
				f.Settings = s
			}}},
		},
		"TwoPartsOfOneProcess": {
			reason: "One pod, two tools: each has its own count, and both count.",
			series: map[string]string{
				"output pod=a tool=x": "10:00:30=1000 .. 10:20:00=40000",
				"output pod=a tool=y": "10:00:30=300 .. 10:20:00=12000",
			},
			looks: []glance{{now: "10:20:20", want: 52000}, {now: "13:20:30", want: 52000}},
		},
		"TwoPartsOfAShortLife": {
			reason: "What is collected at the same time is not the same counter, however well it fits.",
			series: map[string]string{
				"output pod=a tool=x": "10:05:00=1000 10:05:30=3000",
				"output pod=a tool=y": "10:05:00=1500 10:05:30=3500",
			},
			looks: []glance{{now: "10:05:50", want: 6500}, {now: "10:20:50", want: 6500}, {now: "13:20:30", want: 6500}},
		},
		"Relabelled": {
			reason: "A living series gets a label: the process is the same, and so is what it counts.",
			series: map[string]string{
				"output pod=a":              "10:00:30=1000 .. 10:20:00=40000",
				"output pod=a cluster=prod": "10:20:30=41000 .. 10:30:00=60000",
				"output pod=b cluster=prod": "10:20:30=50000 .. 10:30:00=59500",
			},
			looks: []glance{{now: "10:20:50", want: 41000 + 50000}, {now: "10:30:20", want: 119500}, {now: "13:30:20", want: 119500}},
		},
		"RelabelledAfterAGap": {
			reason: "As above, hours later: what the server remembers of the process says so.",
			series: map[string]string{
				"output pod=a":              "10:00:30=1000 .. 10:20:00=40000",
				"output pod=c":              "10:00:30=1 .. 15:30:00=1",
				"output pod=a cluster=prod": "15:00:30=41000 .. 15:10:00=60000",
			},
			looks: []glance{{now: "10:20:50", want: 40001}, {now: "13:20:50", want: 40001}, {now: "15:10:20", want: 60001}, {now: "15:11:20", want: 60001}},
		},
		"RelabelledAtARestartAndBack": {
			reason: "Under the labels that it had before it goes on from where it came under others, however far the process before had come.",
			series: map[string]string{
				"output pod=a":              "10:00:30=1000 .. 10:20:00=40000 10:30:30=21000 .. 10:40:00=40000",
				"output pod=a cluster=prod": "10:20:30=1000 .. 10:30:00=20000",
				"start pod=a":               "10:00:30=1795427000 .. 10:20:00=1795427000 10:30:30=1795429210 .. 10:40:00=1795429210",
				"start pod=a cluster=prod":  "10:20:30=1795429210 .. 10:30:00=1795429210",
			},
			looks: []glance{{now: "10:20:50", want: 41000}, {now: "10:25:20", want: 50000}, {now: "10:30:50", want: 61000}, {now: "10:40:20", want: 80000}, {now: "13:40:20", want: 80000}},
		},
		"RelabelledTwiceAndRestarted": {
			reason: "As above, of one that says nothing of its start, there and back twice, with gaps, and looked at once.",
			series: map[string]string{
				"output pod=a job=x": "10:00:30=1000 .. 10:20:00=40000 10:32:00=21000 .. 10:40:00=37000 10:51:00=56000 .. 10:55:00=64000",
				"output pod=a job=y": "10:20:30=1000 .. 10:30:00=20000 10:42:00=38000 .. 10:50:00=54000",
			},
			looks: []glance{{now: "10:56:20", want: 104000}, {now: "13:40:20", want: 104000}},
		},
		"TwoMonitorsOfARestart": {
			reason: "Just begun and begun anew, and one of the two sees it first: it is one process all the same.",
			series: map[string]string{
				"output pod=a job=x": "10:07:00=100 10:07:30=200 10:08:00=300 10:08:30=300 10:09:00=0 10:09:30=100 10:10:00=100 10:10:30=100 10:11:00=100 10:11:30=100",
				"output pod=a job=y": "10:07:07=100 10:07:37=200 10:08:07=300 10:08:37=300 10:09:07=0 10:09:37=100 10:10:07=100 10:10:37=100 10:11:07=100 10:11:37=100",
			},
			looks: []glance{{now: "10:09:20", want: 300, distrusted: "collected more than once"}, {now: "10:10:50", want: 400, distrusted: "collected more than once"}, {now: "10:12:20", want: 400, distrusted: "collected more than once"}},
		},
		"MovedToAnotherAddress": {
			reason: "Nothing but the address names the process, and that changes; it says that it started when the other did.",
			series: map[string]string{
				"output instance=10.0.0.1:8080": "10:00:30=1000 .. 10:20:00=40000",
				"output instance=bot-0:8080":    "10:20:30=41000 .. 10:30:00=60000",
				"start instance=10.0.0.1:8080":  "10:00:30=1795427000.25 .. 10:20:00=1795427000.25",
				"start instance=bot-0:8080":     "10:20:30=1795427000.25 .. 10:30:00=1795427000.25",
			},
			looks: []glance{{now: "10:20:50", want: 41000}, {now: "10:30:20", want: 60000}, {now: "13:30:20", want: 60000}},
		},
		"AnotherAtAnotherAddress": {
			reason: "As above, but it started later: it is another process, and counts from zero.",
			series: map[string]string{
				"output instance=10.0.0.1:8080": "10:00:30=1000 .. 10:20:00=40000",
				"output instance=10.0.0.2:8080": "10:20:30=41000 .. 10:30:00=60000",
				"start instance=10.0.0.1:8080":  "10:00:30=1795427000.25 .. 10:20:00=1795427000.25",
				"start instance=10.0.0.2:8080":  "10:20:30=1795429220.31 .. 10:30:00=1795429220.31",
			},
			looks: []glance{{now: "10:20:50", want: 81000}, {now: "10:30:20", want: 100000}, {now: "13:30:20", want: 100000}},
		},
		"CollectedAtTwoPorts": {
			reason: "One process, and no label names it but its address; it says at both that it started at once.",
			series: map[string]string{
				"output instance=10.0.0.1:8080": "10:00:30=1000 .. 10:20:00=40000",
				"output instance=10.0.0.1:9090": "10:10:30=21000 .. 10:20:00=40000",
				"start instance=10.0.0.1:8080":  "10:00:30=1795427000.25 .. 10:20:00=1795427000.25",
				"start instance=10.0.0.1:9090":  "10:10:30=1795427000.25 .. 10:20:00=1795427000.25",
			},
			looks: []glance{{now: "10:10:50", want: 21000, distrusted: "collected more than once"}, {now: "10:20:20", want: 40000, distrusted: "collected more than once"}, {now: "13:20:20", want: 40000, distrusted: "collected more than once"}},
		},
		"RestartedInASilence": {
			reason: "Nobody saw it fall, but it is lower than it was.",
			series: map[string]string{out: "10:05:00=500 11:30:00=30"},
			looks:  []glance{{now: "10:06:20", want: 500}, {now: "11:31:20", want: 530}},
		},
		"FailedOverAfterASilence": {
			reason: "As long as a failover takes nobody answers, and who answers then is a token behind: that is no process that begins anew.",
			series: map[string]string{out: "10:00:30=1000 .. 10:20:00=40000 10:21:30=39999 10:22:00=41000 .. 10:30:00=57000"},
			looks:  []glance{{now: "10:21:50", want: 40000, distrusted: notSeen}, {now: "10:22:20", want: 41000, distrusted: notSeen}, {now: "13:30:20", want: 57000, distrusted: notSeen}, {now: "13:30:50", want: 57000}},
		},
		"FailedOverToHalfAfterASilence": {
			reason: "As above, far behind, and longer than what is read again of settled samples: the cursor knows how far it had come.",
			series: map[string]string{out: "10:00:30=1000 .. 10:20:00=40000 11:45:00=20000 11:45:30=41000 .. 11:50:00=50000"},
			looks:  []glance{{now: "11:44:20", want: 40000}, {now: "11:45:20", want: 40000, distrusted: notSeen}, {now: "11:50:20", want: 50000, distrusted: notSeen}, {now: "14:30:20", want: 50000, distrusted: notSeen}, {now: "14:30:50", want: 50000}},
		},
		"FailedOverToNothingAfterASilence": {
			reason: "As above; a process begins with nothing, but none uses as much in half a minute as this one did in twenty.",
			series: map[string]string{out: "10:00:30=1000 .. 10:20:00=40000 10:21:30=0 10:22:00=41000 .. 10:30:00=57000"},
			looks:  []glance{{now: "10:21:50", want: 40000}, {now: "10:22:20", want: 41000, distrusted: notSeen}, {now: "13:30:20", want: 57000, distrusted: notSeen}, {now: "13:30:50", want: 57000}},
		},
		"RestartedInASilenceAndSaysSo": {
			reason: "Its process says that it began after it was heard last: whatever it counts was used since.",
			series: map[string]string{out: "10:00:30=1000 .. 10:20:00=40000 10:25:00=20000 .. 10:30:00=30000", "start pod=a": "10:20:00=1795420000 10:25:00=1795429440 10:25:30=1795429440"},
			looks:  []glance{{now: "10:25:20", want: 60000}, {now: "10:30:20", want: 70000}, {now: "13:30:20", want: 70000}},
		},
		"FellToLessThanAnEighthAndCameBack": {
			reason: "A process may begin so, and a server that is behind may show it: as that is more than was used in half a minute before, only what is used from then on counts, until it is known to be anew.",
			series: map[string]string{out: "10:00:30=2000 .. 10:20:00=80000 10:20:30=9000 10:21:00=11000 10:21:30=86000 .. 10:30:00=120000"},
			looks:  []glance{{now: "10:20:50", want: 80000}, {now: "10:21:20", want: 82000}, {now: "10:21:50", want: 86000, distrusted: steppedBack}, {now: "10:30:20", want: 120000, distrusted: steppedBack}},
		},
		"FellToLessThanAnEighthAndBeganAnew": {
			reason: "As above, and anew it is.",
			series: map[string]string{out: "10:00:30=2000 .. 10:20:00=80000 10:20:30=9000 10:21:00=9500 .. 10:40:00=28500"},
			looks:  []glance{{now: "10:20:50", want: 80000}, {now: "10:21:20", want: 80500}, {now: "10:30:50", want: 99000}, {now: "10:40:20", want: 108500}, {now: "13:40:20", want: 108500}},
		},
		"RestartedWhileItsServerFailedOver": {
			reason: "As above, where another replica answers from then on: it is asked when the process started, too.",
			series: map[string]string{
				"output pod=a prometheus_replica=a": "10:00:30=1000 .. 10:20:00=40000",
				"output pod=a prometheus_replica=b": "10:25:00=20000 .. 10:30:00=30000",
				"start pod=a prometheus_replica=a":  "10:20:00=1795420000",
				"start pod=a prometheus_replica=b":  "10:25:00=1795429440 10:25:30=1795429440",
			},
			looks: []glance{{now: "10:25:20", want: 60000}, {now: "10:30:20", want: 70000}, {now: "13:30:20", want: 70000}},
		},
		"CachedFallsInASilenceWithInput": {
			reason: "Input is behind and counts once; so does what of it was cached, which fell to nothing: else more would be charged than was used.",
			series: map[string]string{
				"input pod=a":  "10:00:30=1000 .. 10:20:00=40000 10:21:30=20000 10:22:00=41000 .. 10:30:00=57000",
				"cached pod=a": "10:00:30=100 .. 10:20:00=4000 10:21:30=0 10:22:00=4100 .. 10:30:00=5700",
			},
			looks: []glance{{now: "10:31:20", change: cheapCache, want: 10*51300 + 5700, distrusted: notSeen}, {now: "13:30:20", change: cheapCache, want: 10*51300 + 5700, distrusted: notSeen}},
		},
		"CachedFallsToNothingInASilenceWithInput": {
			reason: "Input is behind and grows on from there, and so does what of it was cached, though a process could begin as that does: of one process both began anew or neither.",
			series: map[string]string{
				"input pod=a":  "10:00:30=1000 .. 10:20:00=40000 10:21:30=20000 10:22:00=20500 .. 10:25:00=23500",
				"cached pod=a": "10:00:30=100 .. 10:20:00=4000 10:21:30=0 10:22:00=50 .. 10:25:00=350",
			},
			looks: []glance{{now: "10:26:20", change: cheapCache, want: 10*36000 + 4000, distrusted: notSeen}, {now: "13:30:20", change: cheapCache, want: 10*36000 + 4000, distrusted: notSeen}},
		},
		"BeginsWithNothingAfterALongSilence": {
			reason: "Nobody is behind for longer than ten minutes: it began anew, however much its first call takes.",
			series: map[string]string{out: "10:00:30=1000 .. 10:20:00=40000 10:35:00=0 10:35:30=41000 .. 10:40:00=50000"},
			looks:  []glance{{now: "10:35:20", want: 40000}, {now: "10:35:50", want: 81000}, {now: "13:45:20", want: 90000}},
		},
		"SilentForHours": {
			reason: "A quiet agent's counter is exported all the same, or it isn't: either way it goes on.",
			series: map[string]string{out: "10:05:00=500 15:00:00=700"},
			looks:  []glance{{now: "10:06:20", want: 500}, {now: "12:06:20", want: 500}, {now: "15:06:20", want: 700}},
		},
		"Late": {
			reason: "A remote-write's backlog is counted when it comes, up to SettleAfter late.",
			series: map[string]string{out: "10:05:00=500 10:05:30=700@10:50:00 10:06:00=800@10:50:00"},
			looks:  []glance{{now: "10:07:20", want: 500}, {now: "10:51:20", want: 800}, {now: "13:00:20", want: 800}},
		},
		"LateAndInBetween": {
			reason: "A late sample may say that there was a restart between two that look like growth.",
			series: map[string]string{out: "10:05:00=500 10:05:30=30@10:50:00 10:10:00=800", "start pod=a": "10:05:00=1000 10:05:30=2000@10:50:00 10:10:00=2000"},
			looks:  []glance{{now: "10:11:20", want: 800}, {now: "10:51:20", want: 1300}, {now: "13:00:20", want: 1300}},
		},
		"LateBirth": {
			reason: "A whole job that is told of forty minutes later.",
			series: map[string]string{out: "10:05:00=500", "output pod=b": "10:06:00=5@10:46:00 10:06:30=9@10:46:00"},
			looks:  []glance{{now: "10:07:20", want: 500}, {now: "10:47:20", want: 509}, {now: "13:00:20", want: 509}},
		},
		"ForgottenByTheServer": {
			reason: "A server keeps less than an agent lives: what was settled stays.",
			series: map[string]string{out: "10:00:30=10 .. 14:00:00=4800"},
			looks: []glance{
				{now: "12:00:20", want: 2400},
				{now: "14:00:50", want: 4800, change: func(f *Facts, s *store) { s.forget(f.Now.Add(-2 * time.Hour)) }},
			},
		},
		"AwayUntilItsCursorIsGone": {
			reason: "A cursor is dropped ten minutes after its series fell silent; should it come back, its last value is its baseline.",
			series: map[string]string{out: "10:00:30=10 .. 15:00:00=6000", "output pod=b": "10:30:00=500 14:30:00=600"},
			looks:  []glance{{now: "10:31:20", want: 600 + 520}, {now: "13:00:20", want: 3600 + 500}, {now: "14:31:20", want: 5420 + 600}},
		},
		"ServerDownForHours": {
			reason: "The next look covers the gap.",
			series: map[string]string{out: "10:00:30=10 .. 18:00:00=9600"},
			looks: []glance{
				{now: "10:30:20", want: 600},
				{now: "11:30:20", want: -1, problem: "QueryTimedOut", change: func(_ *Facts, s *store) { s.failure = query.Problem{Reason: "QueryTimedOut"} }},
				{now: "18:00:20", want: 9600, change: func(_ *Facts, s *store) { s.failure = nil }},
			},
		},
		"BehindByMoreThanADay": {
			reason: "A backlog is read in pages, some at every look; no figure is better than half of one.",
			series: map[string]string{out: "10:00:30=10 .. 25T10:00:00=57600"},
			looks: []glance{
				{now: "10:30:20", want: 600},
				{now: "25T10:00:20", want: -1, problem: "CatchingUp"},
				{now: "25T10:00:30", want: 57600},
			},
		},
		"BehindAndRestartedAtTheEndOfAPage": {
			reason: "What a page settles is what would have been settled at its time: with what came after it.",
			series: map[string]string{out: "10:05:00=500 15:58:30=700 15:59:00=30 15:59:30=900 24T09:00:00=1000", "start pod=a": "15:58:30=1000 15:59:00=2000 15:59:30=2000"},
			looks:  []glance{{now: "10:30:20", want: 500}, {now: "24T10:00:20", want: 700 + 1000}},
		},
		"BehindAndABadSampleInTheFirstPage": {
			reason: "A look that leaves samples out says so, in whichever of its pages they were, and says it once.",
			series: map[string]string{out: "10:05:00=500 10:05:30=-7 15:59:00=600 15:59:30=-7 24T09:00:00=1000"},
			looks: []glance{
				{now: "24T10:00:20", want: 1000, distrusted: `whisperops_tokens_output_total{model="m",pod="a"}: negative samples`},
				{now: "24T10:00:50", want: 1000},
			},
		},
		"EmptyAnswer": {
			reason: "An answer without the samples that were counted leaves the figures as they are: the server may have lost its memory, and zero is no measurement.",
			series: map[string]string{out: "10:05:00=500 10:05:30=700"},
			looks:  []glance{{now: "10:06:20", want: 700}, {now: "10:07:20", want: -1, problem: "SamplesVanished", change: empty}},
		},
		"EmptyAnswerFromTheStart": {
			reason: "An agent without a request has used nothing, and that is no problem.",
			looks:  []glance{{now: "10:06:20", want: 0}, {now: "12:06:20", want: 0}},
		},
		"NoPrices": {
			reason: "Without a price table the last good prices go on counting, and no token is lost when it comes back hours later.",
			series: map[string]string{out: "10:05:00=500 14:00:00=700"},
			looks: []glance{
				{now: "10:06:20", want: 500},
				{now: "13:06:20", want: 500, change: noPrices},
				{now: "14:06:20", want: 700, change: func(f *Facts, _ *store) { f.Prices, f.PriceProblem = pennies, nil }},
			},
		},
		"NoPricesAndNoRequest": {
			reason: "A new agent whose price table isn't there yet has lost no samples: it never had any.",
			looks: []glance{
				{now: "10:06:20", want: -1, problem: "PricingNotFound", change: noPrices},
				{now: "10:07:20", want: -1, problem: "PricingNotFound"},
				{now: "10:08:20", want: 0, change: func(f *Facts, _ *store) { f.Prices, f.PriceProblem = pennies, nil }},
			},
		},
		"NoPricesAndLedgerLost": {
			reason: "Restored without status and before the price table, a paused agent has no newer samples: what is counted again has not vanished.",
			series: map[string]string{out: "10:05:00=500 10:10:00=700"},
			looks: []glance{
				{now: "14:06:20", want: -1, problem: "PricingNotFound", change: noPrices},
				{now: "14:07:20", want: -1, problem: "PricingNotFound"},
				{now: "14:08:20", want: 700, change: func(f *Facts, _ *store) { f.Prices, f.PriceProblem = pennies, nil }},
			},
		},
		"LedgerLost": {
			reason: "A status that was wiped is counted again from the samples.",
			series: map[string]string{out: "10:05:00=500 10:10:00=700 12:00:00=900"},
			looks:  []glance{{now: "12:06:20", want: 900}, {now: "12:07:20", want: 900, change: func(f *Facts, _ *store) { f.Ledger = nil }}},
		},
		"LedgerBroken": {
			reason: "A ledger that can't be read is one that was lost.",
			series: map[string]string{out: "10:05:00=500 12:00:00=900"},
			looks:  []glance{{now: "12:06:20", want: 900}, {now: "12:07:20", want: 900, change: func(f *Facts, _ *store) { f.Ledger.SettledAt = "yesterday" }}},
		},
		"LedgerOfTheFuture": {
			reason: "A clock that was years ahead for a moment left a ledger that would never be touched again.",
			series: map[string]string{out: "10:05:00=500 12:00:00=900"},
			looks:  []glance{{now: "12:06:20", want: 900}, {now: "12:07:20", want: 900, change: func(f *Facts, _ *store) { f.Ledger.SettledAt = "2031-01-01T00:00:00Z" }}},
		},
		"LedgerAsOfTheFuture": {
			reason: "As above: it would settle a day of the future at every look.",
			series: map[string]string{out: "10:05:00=500 12:00:00=900 12:08:00=950"},
			looks:  []glance{{now: "12:06:20", want: 900}, {now: "12:07:20", want: 900, change: func(f *Facts, _ *store) { f.Ledger.AsOf = "2031-01-01T00:00:00Z" }}, {now: "12:08:20", want: 950}},
		},
		"LedgerFromTheFuture": {
			reason: "As above.",
			series: map[string]string{out: "10:05:00=500 12:00:00=900"},
			looks:  []glance{{now: "12:06:20", want: 900}, {now: "12:07:20", want: 900, change: func(f *Facts, _ *store) { f.Ledger.From = "2031-01-01T00:00:00Z" }}},
		},
		"LedgerRebasedInTheFuture": {
			reason: "Until then no new series would count from its birth.",
			series: map[string]string{out: "10:05:00=500 12:00:00=900", "output pod=b": "12:07:00=50"},
			looks:  []glance{{now: "12:06:20", want: 900}, {now: "12:07:20", want: 950, change: func(f *Facts, _ *store) { f.Ledger.Rebased = "2031-01-01T00:00:00Z" }}},
		},
		"ClockSetBack": {
			reason: "It sees what it saw before, and forgets nothing.",
			series: map[string]string{out: "10:05:00=500 12:00:00=900"},
			looks:  []glance{{now: "12:06:20", want: 900}, {now: "10:30:20", want: 900, change: func(_ *Facts, s *store) { s.now = when(t, "12:06:20") }}, {now: "12:07:20", want: 900}},
		},
		"NewDay": {
			reason: "A new period counts what was used after its midnight, and cursors are its baselines.",
			series: map[string]string{out: "10:00:30=10 .. 24T02:00:00=19200"},
			looks:  []glance{{now: "23:59:50", want: 16790, change: daily}, {now: "24T00:00:50", want: 10}, {now: "24T02:00:20", want: 2400}},
		},
		"NewDayMissed": {
			reason: "Nobody looked at midnight, nor on the day after: the boundary lies in the samples, not in the look.",
			series: map[string]string{out: "10:00:30=10 .. 25T08:00:00=55200"},
			looks:  []glance{{now: "20:00:20", want: 12000, change: daily}, {now: "25T08:00:20", want: -1, problem: "CatchingUp"}, {now: "25T08:00:30", want: 9600}},
		},
		"PeriodChanged": {
			reason: "A lifetime that becomes a day counts the day's samples, settled ones too.",
			series: map[string]string{out: "22T22:00:00=100 22T23:59:30=300 10:05:00=500 16:00:00=900"},
			looks: []glance{
				{now: "16:01:20", want: 900, change: func(f *Facts, _ *store) { f.Created = f.Created.Add(-24 * time.Hour) }},
				{now: "16:02:20", want: 600, change: daily},
			},
		},
		"Opened": {
			reason: "A budget that is made again owes what was spent, and what was used while there was none.",
			series: map[string]string{out: "09:00:00=100 09:30:00=200 10:05:00=500"},
			looks:  []glance{{now: "10:06:20", want: 400 + 1000, change: opened("2026-11-23T09:00:00Z", "lifetime", 1e-9)}},
		},
		"MadeAgainAsItWas": {
			reason: "A reconcile that had not heard that a budget was deleted makes it again with the opening of its beginning: its first look sees what the first budget saw.",
			series: map[string]string{out: "09:00:00=100 09:30:00=200"},
			looks:  []glance{{now: "10:00:20", want: 200, change: opened("2026-11-23T08:59:00Z", "lifetime", 0)}},
		},
		"OpenedLaterThanTheLedger": {
			reason: "A budget that counted before its order had opened it counts again from where the opening ends: the tokens in between are owed, and none is in both.",
			series: map[string]string{out: "09:00:00=100 09:30:00=200 10:05:00=500 14:00:00=600"},
			looks: []glance{
				{now: "10:06:20", want: 300}, {now: "12:06:20", want: 300},
				{now: "14:06:20", want: 500 + 1000, change: opened("2026-11-23T09:00:00Z", "lifetime", 1e-9)},
			},
		},
		"OpenedUpToLater": {
			reason: "What the opening's USD already holds is not counted once more.",
			series: map[string]string{out: "10:05:00=500 10:20:00=600 10:40:00=650"},
			looks: []glance{
				{now: "10:21:20", want: 600},
				{now: "10:41:20", want: 50 + 1000, change: opened("2026-11-23T10:20:00Z", "lifetime", 1e-9)},
			},
		},
		"OpenedJustNow": {
			reason: "What is measured lags behind, but an order that took this budget over owes nothing for the last one from the first look on.",
			series: map[string]string{out: "10:05:00=500 10:05:30=700"},
			looks: []glance{
				{now: "10:06:20", want: 700},
				{now: "10:08:20", want: 0, change: opened("2026-11-23T10:08:19Z", "lifetime", 0)},
			},
		},
		"OpenedInAnotherPeriod": {
			reason: "Yesterday's debts are yesterday's.",
			series: map[string]string{out: "10:05:00=500"},
			looks: []glance{{now: "10:06:20", want: 500, change: func(f *Facts, s *store) {
				daily(f, s)
				opened("2026-11-22T20:00:00Z", "2026-11-22", 1e-9)(f, s)
			}}},
		},
		"OpenedInTheFuture": {
			reason: "An asOf to come would let everything until then go free.",
			series: map[string]string{out: "10:05:00=500"},
			looks:  []glance{{now: "10:06:20", want: 500, change: opened("2027-01-01T00:00:00Z", "2027", 1)}},
		},
		"MappedAnew": {
			reason: "Another server or another label makes other series of the same tokens: they start where they are, and what was counted stays.",
			series: map[string]string{
				out:                         "10:05:00=500 .. 12:58:30=847",
				"output cluster=west pod=a": "12:59:00=848 13:00:00=850 13:10:00=900",
			},
			looks: []glance{
				{now: "12:58:50", want: 847},
				{now: "13:00:50", want: 847 + 3, change: func(f *Facts, _ *store) { f.Settings.Tenant = "acme" }},
				{now: "13:11:20", want: 847 + 3 + 50},
				{now: "14:31:20", want: 847 + 3 + 50},
			},
		},
		"NotANumber": {
			reason: "VictoriaMetrics marks the end of a series so, and every scrape that failed: no counter has it, and nobody has to know.",
			series: map[string]string{out: "10:05:00=500 10:05:30=NaN 10:06:00=700", "output pod=b": "10:06:00=5"},
			looks:  []glance{{now: "10:06:20", want: 705}},
		},
		"Negative": {
			reason: "A sample that no counter has is named and left out, and the rest is counted: it is no reset either.",
			series: map[string]string{out: "10:05:00=500 10:05:30=-7 10:06:00=700", "output pod=b": "10:06:00=5"},
			looks:  []glance{{now: "10:06:20", want: 705, distrusted: `{model="m",pod="a"}: negative samples`}},
		},
		"Infinite": {
			reason: "One such sample would exhaust every budget.",
			series: map[string]string{out: "10:05:00=500 10:05:30=+Inf 10:06:00=700"},
			looks:  []glance{{now: "10:06:20", want: 700, distrusted: "samples too large to be exact"}},
		},
		"Fraction": {
			reason: "Tokens are whole: this is another metric's series.",
			series: map[string]string{out: "10:05:00=500 10:05:30=0.5 10:06:00=700"},
			looks:  []glance{{now: "10:06:20", want: 700, distrusted: "samples that are not whole numbers"}},
		},
		"NothingButRubbish": {
			reason: "It is named, and it isn't charged.",
			series: map[string]string{out: "10:05:00=-1", "output pod=b": "10:06:00=5"},
			looks:  []glance{{now: "10:06:20", want: 5, distrusted: "negative samples"}},
		},
		"ThousandResets": {
			reason: "Nobody restarts a thousand times an hour: the series counts as far as it ever came, it is named, and the other is counted.",
			series: map[string]string{out: sawtooth(1000, time.Second), "output pod=b": "10:06:00=5"},
			looks:  []glance{{now: "11:01:20", want: 1005, distrusted: "resets all the time"}, {now: "13:01:20", want: 1005, distrusted: "resets all the time"}},
		},
		"ThirtyResetsSeldomExported": {
			reason: "Exported so seldom that no fall is seen to be made good, it is too many resets for an hour all the same.",
			series: map[string]string{out: sawtooth(30, 61*time.Second), "output pod=b": "10:06:00=5"},
			looks:  []glance{{now: "11:07:20", want: 1005, distrusted: "resets all the time"}},
		},
		"TwoProcessesOneSeries": {
			reason: "The second one is charged when it has taken over; never is more charged than both have used, also not while nobody can know yet.",
			series: map[string]string{out: "10:05:00=500 10:05:30=1 10:06:00=510 10:06:30=2 10:07:00=520 10:07:30=3 10:08:00=10 10:12:00=20"},
			looks: []glance{
				{now: "10:05:20", want: 500},
				{now: "10:05:50", want: 500},
				{now: "10:06:20", want: 510, distrusted: notSeen},
				{now: "10:06:50", want: 510, distrusted: "resets all the time"},
				{now: "10:07:20", want: 520, distrusted: "resets all the time"},
				{now: "10:12:20", want: 540, distrusted: "resets all the time"},
				{now: "14:12:20", want: 540, distrusted: "resets all the time"},
				{now: "14:12:50", want: 540},
			},
		},
		"Replicas": {
			reason: "Two replicas of Prometheus see one counter.",
			series: map[string]string{
				"output pod=a prometheus_replica=0": "10:05:00=500 10:05:30=700 10:06:00=900",
				"output pod=a prometheus_replica=1": "10:05:10=520 10:05:40=710 10:06:10=910",
			},
			looks: []glance{{now: "10:05:50", want: 700}, {now: "10:06:50", want: 910}, {now: "13:06:50", want: 910}},
		},
		"ReplicasWithOtherClocks": {
			reason: "The one whose clock is behind shows less at the same time: that is no reset.",
			series: map[string]string{
				"output pod=a prometheus_replica=0": "10:05:00=500 10:05:30=700 10:06:00=900",
				"output pod=a prometheus_replica=1": "10:05:10=400 10:05:40=600 10:06:10=800 10:06:40=900",
			},
			looks: []glance{{now: "10:05:20", want: 500}, {now: "10:06:20", want: 900}, {now: "10:07:20", want: 900}},
		},
		"ReplicaFails": {
			reason: "The other one goes on from where it is; when the first comes back, nothing is new.",
			series: map[string]string{
				"output pod=a prometheus_replica=0": "10:05:00=500 10:05:30=700 10:20:00=1900",
				"output pod=a prometheus_replica=1": "10:05:10=500 .. 10:20:10=2000",
			},
			looks: []glance{{now: "10:20:20", want: 1950}, {now: "10:20:50", want: 2000}, {now: "13:20:20", want: 2000}},
		},
		"ReplicasOfARestart": {
			reason: "Both see the fall, one after the other: one restart.",
			series: map[string]string{
				"output pod=a prometheus_replica=0": "10:05:00=500 10:05:30=10 10:06:00=30",
				"output pod=a prometheus_replica=1": "10:05:10=505 10:05:40=20 10:06:10=40",
			},
			looks: []glance{{now: "10:06:20", want: 505 + 30}, {now: "10:06:50", want: 505 + 40}, {now: "13:06:20", want: 505 + 40}},
		},
		"CachedInputComesLater": {
			reason: "Input is charged when it is known how much of it was cached: a full price would be too much, if only for a moment.",
			series: map[string]string{
				"input pod=a":  "10:05:00=1000 10:05:30=3000",
				"cached pod=a": "10:05:00=500 10:05:30=2500@10:06:00",
			},
			looks: []glance{{now: "10:05:50", want: 1000}, {now: "10:06:20", want: 3000}},
		},
		"CachedInputIsNoMore": {
			reason: "It isn't waited for more than two exports: nobody runs for free.",
			series: map[string]string{
				"input pod=a":  "10:05:00=1000 10:05:30=3000 10:06:00=4000",
				"cached pod=a": "10:05:00=500",
			},
			looks: []glance{{now: "10:05:50", want: 1000}, {now: "10:06:50", want: 3000}, {now: "10:07:20", want: 4000}},
		},
		"CachedInputComesFirst": {
			reason: "Nearly all of a first request may be cached, and its input a moment late: that says nothing about the input counter.",
			series: map[string]string{
				"input pod=a":  "10:05:00=1000@10:05:40",
				"cached pod=a": "10:05:00=900",
			},
			looks: []glance{{now: "10:05:20", want: 900}, {now: "10:05:50", want: 1000}},
		},
		"CachedInputRestartedAndBusy": {
			reason: "Nothing says that it is a restart: input counts once, and so does its cached input, or it would be charged in full.",
			series: map[string]string{
				"input pod=a":  "10:05:00=1000 10:05:30=1 10:06:00=900 10:06:30=1900 10:10:00=2000",
				"cached pod=a": "10:05:00=900 10:05:30=0 10:06:00=800 10:06:30=1800 10:10:00=1850",
			},
			looks: []glance{{now: "10:06:20", want: 1900}, {now: "10:06:50", want: 1900, distrusted: notSeen}, {now: "10:10:20", want: 2000, distrusted: notSeen}},
		},
		"CachedInputRestartedAndSaysSo": {
			reason: "As above, but the process says that it started: both count in full.",
			series: map[string]string{
				"input pod=a":  "10:05:00=1000 10:05:30=1 10:06:00=900 10:06:30=1900 10:10:00=2000",
				"cached pod=a": "10:05:00=900 10:05:30=0 10:06:00=800 10:06:30=1800 10:10:00=1850",
				"start pod=a":  "10:05:00=1000 10:05:30=2000 10:06:00=2000 10:06:30=2000 10:10:00=2000",
			},
			looks: []glance{{now: "10:06:20", want: 1900}, {now: "10:06:50", want: 2900}, {now: "10:10:20", want: 3000}},
		},
		"CachedInputBeginsAnewHigher": {
			reason: "A process that begins anew counts cached input from nothing, also where that is more than before: else it would be charged in full.",
			series: map[string]string{
				"input pod=a":  "10:05:00=1000 10:05:30=30 10:06:00=90",
				"cached pod=a": "10:05:00=10 10:05:30=30 10:06:00=80",
			},
			// Input 1090, of which 90 were cached; a cached token costs a tenth here.
			looks: []glance{{now: "10:06:20", want: 10*(1090-90) + 90, change: cheapCache}},
		},
		"MoreCachedInputThanInput": {
			reason: "An input counter that leaves out the cached input is named when nothing can come in between any more.",
			series: map[string]string{
				"input pod=a":  "10:05:00=100",
				"cached pod=a": "10:05:00=500",
			},
			looks: []glance{{now: "10:06:20", want: 500}, {now: "11:15:20", want: 500, distrusted: "inputContainsCached is wrong"}, {now: "15:15:20", want: 500, distrusted: "inputContainsCached is wrong"}},
		},
		"CachedInputOfAnother": {
			reason: "Another pod's silence is no reason to wait.",
			series: map[string]string{
				"input pod=a":  "10:05:00=1000 10:05:30=3000",
				"cached pod=b": "10:05:00=500",
				"input pod=b":  "10:05:00=500",
			},
			looks: []glance{{now: "10:05:50", want: 3500}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			s := storeOf(t, tc.series)
			f := facts(t, "10:00:20", nil)
			for i, g := range tc.looks {
				f.Now, s.now = when(t, g.now), when(t, g.now)
				if g.change != nil {
					g.change(&f, s)
				}
				o := Measure(t.Context(), s, f)
				named := strings.Join(o.Measurement.Distrusted, "; ")
				if got := fmt.Sprint(tokens(o), " ", reason(o)); got != fmt.Sprint(g.want, " ", g.problem) {
					t.Errorf("look %d at %s: counted %s, want %d %s", i+1, g.now, got, g.want, g.problem)
				}
				if (named == "") != (g.distrusted == "") || !strings.Contains(named, g.distrusted) || strings.Contains(named, ";") {
					t.Errorf("look %d at %s: distrusts %q, want %q", i+1, g.now, named, g.distrusted)
				}
				if o.Ledger != nil {
					f.Ledger = o.Ledger
				}
			}
		})
	}
}

// sawtooth falls n times, every other sample; it never gets further than 1000.
func sawtooth(n int, every time.Duration) string {
	var b strings.Builder
	at := time.Date(2026, 11, 23, 10, 5, 0, 0, time.UTC)
	for range n {
		fmt.Fprintf(&b, "%s=1000 %s=1 ", at.Format("15:04:05"), at.Add(every).Format("15:04:05"))
		at = at.Add(2 * every)
	}
	return b.String()
}

// TestSettling says when a ledger moves: it is a write of status, and wakes the
// order.
func TestSettling(t *testing.T) {
	cases := map[string]struct {
		reason string
		series map[string]string
		now    string
		want   *v1alpha1.Ledger
	}{
		"NothingIsOldEnough": {
			reason: "Late samples may still come: tokens are counted anew at every look, and only asOf says so.",
			series: map[string]string{"output pod=a": "10:05:10=500"},
			now:    "10:59:20",
			want:   &v1alpha1.Ledger{AsOf: "2026-11-23T10:05:30Z", SettledAt: "2026-11-23T10:00:00Z"},
		},
		"OldEnough": {
			reason: "In steps of five minutes, SettleAfter behind.",
			series: map[string]string{"output pod=a": "10:05:10=500 10:30:00=600"},
			now:    "11:12:20",
			want: &v1alpha1.Ledger{
				AsOf: "2026-11-23T10:30:00Z", SettledAt: "2026-11-23T10:10:00Z",
				Totals:  []v1alpha1.TokenTotal{{Model: "m", Class: "output", Tokens: "500"}},
				Cursors: []v1alpha1.Cursor{{Series: "e6", At: "1795428310000", Value: "500"}},
			},
		},
		"NothingWasUsed": {
			reason: "An agent that spends nothing is rewritten only at the heartbeat.",
			series: map[string]string{"output pod=a": "09:50:00=500 .. 11:30:00=500"},
			now:    "11:32:20",
			want:   &v1alpha1.Ledger{AsOf: "2026-11-23T10:00:00Z", SettledAt: "2026-11-23T10:00:00Z"},
		},
		"Heartbeat": {
			reason: "And then it is, so that no look has to read more than two hours.",
			series: map[string]string{"output pod=a": "09:50:00=500 .. 12:00:00=500"},
			now:    "12:01:20",
			want: &v1alpha1.Ledger{
				AsOf: "2026-11-23T11:00:00Z", SettledAt: "2026-11-23T11:00:00Z",
				Totals:  []v1alpha1.TokenTotal{{Model: "m", Class: "output", Tokens: "0"}},
				Cursors: []v1alpha1.Cursor{{Series: "e6", At: "1795431600000", Value: "500"}},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			s := storeOf(t, tc.series)
			f := facts(t, tc.now, nil)
			s.now = f.Now
			l := Measure(t.Context(), s, f).Ledger
			tc.want.Period, tc.want.From, tc.want.Mapping, tc.want.Prices = "lifetime", "2026-11-23T10:00:00Z", f.Settings.Mapping("bot"), l.Prices
			for i := range l.Cursors {
				tc.want.Cursors[i].Series = l.Cursors[i].Series
			}
			if diff := cmp.Diff(tc.want, l); diff != "" {
				t.Error(diff)
			}
		})
	}
}
