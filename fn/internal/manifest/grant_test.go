package manifest

import "testing"

func TestBucketOpenedBy(t *testing.T) {
	cases := map[string]struct {
		reason     string
		expression string
		want       string
	}{
		"Ours":       {reason: "What BucketExpression wrote.", expression: BucketExpression("acme.data_sets-1"), want: "acme.data_sets-1"},
		"Wide":       {reason: "A wide grant of others opens this bucket too, and more.", expression: `resource.name.startsWith("projects/_/buckets/acme")`, want: "acme"},
		"OtherThing": {reason: "No bucket is named.", expression: `request.time < timestamp("2027-01-01T00:00:00Z")`},
		"Unfinished": {reason: "The end of the name is missing.", expression: `resource.name == "projects/_/buckets/acme`},
		"Empty":      {reason: "There is no condition."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := BucketOpenedBy(tc.expression); got != tc.want {
				t.Errorf("%s\nwant %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}
