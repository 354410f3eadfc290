package count

import (
	"maps"
	"testing"

	"whisperops.io/functions/apis/v1alpha1"
)

// A series whose labels change while its process lives on counts once; another process
// counts from zero, whatever its labels are.
func TestUnite(t *testing.T) {
	type labels = map[string]string
	type part struct {
		labels labels
		run    run
	}
	const every = 30
	first := run{every, every, growing(1000, 100, 20)} // up to 2,900, ten minutes after noon
	next := run{630, every, growing(3000, 100, 20)}    // and on from there: 4,900
	anew := run{630, every, growing(100, 100, 20)}     // 2,000
	for name, tc := range map[string]struct {
		reason string
		parts  []part
		want   uint64
	}{
		"PodNamed":          {"A relabelling that names the pod: the address is the same.", []part{{labels{"instance": "10.0.0.1:80"}, first}, {labels{"instance": "10.0.0.1:80", "pod": "a"}, next}}, 4900},
		"PodLeftOut":        {"As above, taken back.", []part{{labels{"instance": "10.0.0.1:80", "pod": "a"}, first}, {labels{"instance": "10.0.0.1:80"}, next}}, 4900},
		"PodNamedElsewhere": {"Another address is another process.", []part{{labels{"instance": "10.0.0.1:80"}, first}, {labels{"instance": "10.0.0.2:80", "pod": "a"}, next}}, 2900 + 4900},
		"PodNamedLater":     {"What begins lower is another process at the same address.", []part{{labels{"instance": "10.0.0.1:80"}, first}, {labels{"instance": "10.0.0.1:80", "pod": "a"}, anew}}, 2900 + 2000},
		"OfACollector": {"Two pods share its address: nothing says that what has no pod is one of them.", []part{
			{labels{"instance": "otel:8889"}, first}, {labels{"instance": "otel:8889", "pod": "a"}, next}, {labels{"instance": "otel:8889", "pod": "b"}, anew},
		}, 2900 + 4900 + 2000},
		"InstanceID":       {"OpenTelemetry's name of a process, and nothing beside it; an external label is added.", []part{{labels{"service_instance_id": "1f"}, first}, {labels{"service_instance_id": "1f", "cluster": "eu"}, next}}, 4900},
		"InstanceIDMoved":  {"As above, where the address changes.", []part{{labels{"service_instance_id": "1f", "instance": "a:1"}, first}, {labels{"service_instance_id": "1f", "instance": "b:1"}, next}}, 4900},
		"OtherInstanceID":  {"Another process at the same address.", []part{{labels{"service_instance_id": "1f", "instance": "a:1"}, first}, {labels{"service_instance_id": "2e", "instance": "a:1"}, next}}, 2900 + 4900},
		"JobChanged":       {"The way to a pod is not the pod.", []part{{labels{"pod": "a", "job": "x"}, first}, {labels{"pod": "a", "job": "y", "instance": "10.0.0.1:80"}, next}}, 4900},
		"JobChangedBehind": {"As above, in a failover to a server that is a token behind.", []part{{labels{"pod": "a", "job": "x"}, first}, {labels{"pod": "a", "job": "y"}, run{630, every, append([]float64{2899}, growing(3000, 100, 20)...)}}}, 4900},
		"JobChangedAnew":   {"As above, and its process began anew.", []part{{labels{"pod": "a", "job": "x"}, first}, {labels{"pod": "a", "job": "y"}, anew}}, 2900 + 2000},
		"SplitAndJob": {"Both of two that split what a process counts change with it: each goes on where it was.", []part{
			{labels{"pod": "a", "tool": "x"}, first}, {labels{"pod": "a", "tool": "y"}, run{every, every, growing(100, 10, 20)}},
			{labels{"pod": "a", "tool": "x", "job": "y"}, next}, {labels{"pod": "a", "tool": "y", "job": "y"}, run{630, every, growing(300, 10, 20)}},
		}, 4900 + 490},
		"SplitNear": {"Just begun, near each other, and collected at the same time with other values: what differs then is two.", []part{
			{labels{"pod": "a", "tool": "x"}, run{every, every, []float64{9393, 9494, 9494, 9595}}}, {labels{"pod": "a", "tool": "y"}, run{every, every, []float64{9006, 9006, 17462, 17562}}},
		}, 9595 + 17562},
		"JobThrice": {"There and back, and on to a third.", []part{
			{labels{"pod": "a", "job": "x"}, first}, {labels{"pod": "a", "job": "y"}, run{630, every, growing(3000, 100, 10)}}, {labels{"pod": "a", "job": "z"}, run{930, every, growing(4000, 100, 10)}},
		}, 4900},
		"PartNamed":   {"A label that splits is added to what is there.", []part{{labels{"pod": "a"}, first}, {labels{"pod": "a", "part": "1"}, next}}, 4900},
		"PartLeftOut": {"As above, taken back, after a while.", []part{{labels{"pod": "a", "part": "1"}, first}, {labels{"pod": "a"}, run{900, every, growing(3900, 100, 11)}}}, 4900},
		"PartsNamed": {"As above, of two of which another label tells which is which.", []part{
			{labels{"pod": "a", "part": "1"}, first}, {labels{"pod": "a", "part": "2"}, run{every, every, growing(100, 10, 20)}},
			{labels{"pod": "a", "part": "1", "more": "1"}, next}, {labels{"pod": "a", "part": "2", "more": "1"}, run{630, every, growing(300, 10, 20)}},
		}, 4900 + 490},
		"PartAnew":    {"A part that begins later is another one.", []part{{labels{"pod": "a", "part": "1"}, first}, {labels{"pod": "a", "part": "2"}, next}}, 2900 + 4900},
		"PartBesides": {"As above, beside one that goes on.", []part{{labels{"pod": "a"}, run{every, every, growing(1000, 100, 60)}}, {labels{"pod": "a", "part": "2"}, next}}, 6900 + 4900},
		"PartLater":   {"As above, hours later.", []part{{labels{"pod": "a", "part": "1"}, run{every, every, growing(100, 0, 300)}}, {labels{"pod": "a", "part": "2"}, run{7230, every, growing(1000, 100, 20)}}}, 100 + 2900},
		"OtherPod":    {"It counts from zero, however much it begins with.", []part{{labels{"pod": "a"}, first}, {labels{"pod": "b"}, next}}, 2900 + 4900},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			var s server
			for _, p := range tc.parts {
				sr := seriesOf(v1alpha1.TokenOutput)
				delete(sr.Labels, "pod")
				maps.Copy(sr.Labels, p.labels)
				for i, v := range p.run.values {
					sr.Samples = append(sr.Samples, Sample{At: noon + (p.run.from+int64(i)*p.run.every)*1000, Value: v})
				}
				s.series = append(s.series, sr)
			}
			r := usual
			r.Metrics.PartLabels = []string{"part", "more"}
			l := New("lifetime", "0123456789abcdef", noon)
			if n := s.look(t, l, r, noon+3*3600_000).counted(v1alpha1.TokenOutput); n != tc.want {
				t.Errorf("one look counts %d, want %d", n, tc.want)
			}
			var got Tally
			for at := int64(300); at <= 3*3600; at += 300 {
				got = s.look(t, l, r, noon+at*1000)
				l = got.Ledger
			}
			if n := got.counted(v1alpha1.TokenOutput); n != tc.want {
				t.Errorf("looks on from one another count %d, want %d", n, tc.want)
			}
		})
	}
}
