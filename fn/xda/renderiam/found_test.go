package renderiam

import "testing"

func TestJudge(t *testing.T) {
	const uid, old = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
	ours := map[string]string{"whisperops-agent": "bot", "whisperops-order-uid": uid}
	for name, tc := range map[string]struct {
		reason string
		found  Found
		want   Whose
	}{
		"NothingYet":      {"A new bucket is looked for before it is made.", Found{}, Unknown},
		"NotLookedYet":    {"The provider has not answered.", Found{Exists: true, LooksOnly: true}, Unknown},
		"Absent":          {"Nobody has the name.", Found{Exists: true, LooksOnly: true, Absent: true}, Ours},
		"There":           {"What is there without our mark is somebody else's: the provider would import it and delete it with the order.", Found{Exists: true, LooksOnly: true, There: true}, Theirs},
		"ThereAndNamed":   {"A label that anybody can write proves nothing.", Found{Exists: true, LooksOnly: true, There: true, Labels: map[string]string{"whisperops-agent": "bot"}}, Theirs},
		"ThereAndOurs":    {"Crossplane lost the record, not the bucket.", Found{Exists: true, LooksOnly: true, There: true, Labels: ours}, Ours},
		"ThereAndOld":     {"A bucket of the order that this one was restored from.", Found{Exists: true, LooksOnly: true, There: true, Labels: map[string]string{"whisperops-order-uid": old}}, Ours},
		"AccountOurs":     {"An account has no labels.", Found{Exists: true, LooksOnly: true, There: true, Text: "Answers questions " + textMark(uid)}, Ours},
		"AccountTheirs":   {"As above.", Found{Exists: true, LooksOnly: true, There: true, Text: "CI " + textMark("x")}, Theirs},
		"Made":            {"The provider itself made it.", Found{Exists: true, LooksOnly: true, There: true, Made: true}, Ours},
		"Silent":          {"A provider that can't look makes no order wait for ever.", Found{Exists: true, LooksOnly: true, Silent: true}, Ours},
		"LivingUnmarked":  {"An order of an earlier version has no marks, and its bucket is its own.", Found{Exists: true, There: true, Labels: map[string]string{"whisperops-agent": "bot"}}, Ours},
		"LivingUnlabeled": {"As above, from a provider that says no labels.", Found{Exists: true, There: true}, Ours},
		"LivingMoved":     {"A bucket in another project isn't the one that the order made.", Found{Exists: true, There: true, Project: "other", Labels: ours}, Theirs},
		"LivingOther":     {"Another agent's bucket, adopted by an earlier version: it must not be deleted with this order.", Found{Exists: true, There: true, Labels: map[string]string{"whisperops-agent": "bar"}}, Theirs},
		"LivingOtherUID":  {"As above.", Found{Exists: true, There: true, Made: true, Labels: map[string]string{"whisperops-agent": "bot", "whisperops-order-uid": "x"}}, Theirs},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Judge(tc.found, "bot", "acme-data", uid, old); got != tc.want {
				t.Errorf("%s\nJudge(%+v) = %v, want %v", tc.reason, tc.found, got, tc.want)
			}
		})
	}
	if Judge(Found{Exists: true, LooksOnly: true, There: true}, "bot", "acme-data", "", "") != Theirs {
		t.Error("an order without a uid owns what has no mark")
	}
}
