package renderiam

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

func TestPartsAreWhatIsRendered(t *testing.T) {
	got := manifest.Keys(Render(Agent{Name: "a-1", WithKey: true}))
	want := slices.Sorted(slices.Values(Parts()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-Parts(), +Render():\n%s", diff)
	}
}

// matches evaluates the one form of expression that grants have.
func matches(t *testing.T, expression, resource string) bool {
	t.Helper()
	m := regexp.MustCompile(`^resource\.name == "([^"]*)" \|\| resource\.name\.startsWith\("([^"]*)"\)$`).FindStringSubmatch(expression)
	if m == nil {
		t.Fatalf("not the form that is known to be right: %q", expression)
	}
	return resource == m[1] || strings.HasPrefix(resource, m[2])
}

func TestExpressionOpensOneBucket(t *testing.T) {
	cases := map[string]struct {
		reason   string
		resource string
		want     bool
	}{
		"Bucket":         {reason: "Listing is checked against the bucket's own name.", resource: "projects/_/buckets/acme-agent-a", want: true},
		"Object":         {reason: "What is in it is open.", resource: "projects/_/buckets/acme-agent-a/objects/x.png", want: true},
		"LongerName":     {reason: "Another agent's bucket may begin the same way.", resource: "projects/_/buckets/acme-agent-a-2", want: false},
		"LongerNamesObj": {reason: "And so may what is in it.", resource: "projects/_/buckets/acme-agent-a-2/objects/x.png", want: false},
		"Domain":         {reason: "A dot is a character like any other.", resource: "projects/_/buckets/acme-agent-a.example.org", want: false},
		"ShorterName":    {reason: "The other way round as well.", resource: "projects/_/buckets/acme-agent-", want: false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := matches(t, manifest.BucketExpression("acme-agent-a"), tc.resource); got != tc.want {
				t.Errorf("%s\n%s opens %s: %t", tc.reason, manifest.BucketExpression("acme-agent-a"), tc.resource, got)
			}
		})
	}
}

// GCP's limits hold for every legal order.
func TestNamesAreWithinLimits(t *testing.T) {
	accountID := regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])$`)
	bucketName := regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$`)
	label := regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)
	rapid.Check(t, func(t *rapid.T) {
		a := Agent{
			Name:           rapid.StringMatching(`[a-z][a-z0-9-]{1,22}[a-z0-9]`).Draw(t, "name"),
			Project:        rapid.StringMatching(`[a-z][a-z0-9-]{4,28}[a-z0-9]`).Draw(t, "project"),
			Description:    rapid.String().Draw(t, "description"),
			DatasetsBucket: rapid.StringMatching(`[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]`).Draw(t, "bucket"),
			ViewerGrant:    rapid.SampledFrom([]input.GrantKind{input.GrantProjectIAMMember, input.GrantBucketIAMMember}).Draw(t, "viewer"),
			AdminGrant:     input.GrantProjectIAMMember,
			WithKey:        true,
		}
		parts := Render(a)
		bucketMR, sa := parts[v1alpha1.PartBucket], parts[v1alpha1.PartServiceAccount]
		if n := externalName(bucketMR); !bucketName.MatchString(n) {
			t.Fatalf("bucket name %q", n)
		}
		if n := externalName(sa); len(n) > 30 || !accountID.MatchString(n) {
			t.Fatalf("account id %q", n)
		}
		for k, v := range forProvider(bucketMR)["labels"].(manifest.Object) {
			if !label.MatchString(k) || !label.MatchString(v.(string)) {
				t.Fatalf("label %s=%s", k, v)
			}
		}
		if n := forProvider(sa)["displayName"].(string); len(n) > 100 {
			t.Fatalf("display name of %d bytes", len(n))
		}
		d := forProvider(sa)["description"].(string)
		if d == "" || len(d) > 256 || !utf8.ValidString(d) || strings.ContainsAny(d, "\n\r\t\x00\u2028") {
			t.Fatalf("description %q", d)
		}
		for _, part := range []string{v1alpha1.PartServiceAccountKey, v1alpha1.PartIAMDatasetsViewer, v1alpha1.PartIAMBucketAdmin} {
			// An external name would be an import of something that isn't there.
			if n := externalName(parts[part]); n != "" {
				t.Fatalf("%s has external name %q", part, n)
			}
		}
		if got := opens(parts[v1alpha1.PartIAMDatasetsViewer]); got != a.DatasetsBucket {
			t.Fatalf("viewer grant opens %q, want %q", got, a.DatasetsBucket)
		}
		if got := opens(parts[v1alpha1.PartIAMBucketAdmin]); got != externalName(bucketMR) {
			t.Fatalf("admin grant opens %q, want %q", got, externalName(bucketMR))
		}
	})
}

func forProvider(o manifest.Object) manifest.Object {
	return o["spec"].(manifest.Object)["forProvider"].(manifest.Object)
}

func externalName(o manifest.Object) string {
	annotations, _ := o["metadata"].(manifest.Object)["annotations"].(manifest.Object)
	n, _ := annotations["crossplane.io/external-name"].(string)
	return n
}

func opens(grant manifest.Object) string {
	if c, ok := forProvider(grant)["condition"].(manifest.Object); ok {
		return manifest.BucketOpenedBy(c["expression"].(string))
	}
	return forProvider(grant)["bucket"].(string)
}

func TestDescription(t *testing.T) {
	cases := map[string]struct {
		reason string
		text   string
		want   string
	}{
		"Empty":   {reason: "A field that comes and goes is a field that drifts.", want: "Identity of agent bot"},
		"Blank":   {reason: "Nothing but space is nothing.", text: " \n\t", want: "Identity of agent bot"},
		"Control": {reason: "Google's console shows one line.", text: "a\r\n b\x07\u0085c", want: "a b c"},
		"Bytes":   {reason: "The limit is bytes, and no character is cut in half.", text: strings.Repeat("a", 255) + "ä", want: strings.Repeat("a", 255)},
		"Exact":   {reason: "256 bytes are allowed.", text: strings.Repeat("ä", 128), want: strings.Repeat("ä", 128)},
		"Emoji":   {reason: "Four bytes are one character too.", text: strings.Repeat("😀", 65), want: strings.Repeat("😀", 64)},
		"Space":   {reason: "No space at the end, where it can't be seen.", text: strings.Repeat("a", 255) + " b", want: strings.Repeat("a", 255)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, description(Agent{Name: "bot", Description: tc.text})); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	cases := map[string]struct {
		reason string
		key    Key
		status string
		says   string
	}{
		"None":          {reason: "There is no key to judge.", status: "Unknown"},
		"There":         {reason: "The Secret holds it.", key: Key{Ordered: true, Ready: true, Held: true}, status: "True"},
		"ThereNotReady": {reason: "A key that is held is held, whatever the provider thinks at the moment.", key: Key{Ordered: true, Held: true}, status: "True"},
		"Refused": {
			reason: "Organizations made since May 2024 refuse keys; the provider hears of it and the order doesn't.",
			key:    Key{Ordered: true}, status: "Unknown",
			says: "kubectl describe serviceaccountkeys.cloudplatform.gcp.upbound.io agent-bot-sa-key",
		},
		"Lost": {
			reason: "The provider calls a key ready whose private half nobody has; the way out is one command.",
			key:    Key{Ordered: true, Ready: true}, status: "False",
			says: "kubectl delete serviceaccountkeys.cloudplatform.gcp.upbound.io agent-bot-sa-key --wait=false",
		},
		"Expired": {
			reason: "An organization's policy ends keys; provider and Secret show nothing of it.",
			key:    Key{Ordered: true, Ready: true, Held: true, From: at("2026-08-01"), Until: at("2026-11-01")}, status: "False",
			says: "expired at 2026-11-01T00:00:00Z: Google refuses it, and the sandbox reaches no data. Run `kubectl delete serviceaccountkeys.cloudplatform.gcp.upbound.io agent-bot-sa-key --wait=false`",
		},
		"ExpiredNow": {
			reason: "The end is the first instant at which the key is refused.",
			key:    Key{Ordered: true, Ready: true, Held: true, Until: at("2026-11-23")}, status: "False",
			says: "expired at",
		},
		"ExpiredAndLost": {
			reason: "A key that is past its end is not worth finding.",
			key:    Key{Ordered: true, Ready: true, Until: at("2026-11-01")}, status: "False",
			says: "expired at",
		},
		"ExpiresSoon": {
			reason: "Two weeks are enough to replace a key that lives for three months.",
			key:    Key{Ordered: true, Ready: true, Held: true, From: at("2026-09-01"), Until: at("2026-12-01")}, status: "True",
			says: "expires at 2026-12-01T00:00:00Z. Before that, run `kubectl delete",
		},
		"NotYet": {
			reason: "A warning that is always there is none.",
			key:    Key{Ordered: true, Ready: true, Held: true, From: at("2026-11-01"), Until: at("2027-02-01")}, status: "True",
			says: "holds the agent's key",
		},
		"ShortLived": {
			reason: "Of a key that lives for a day the last third is soon; the day before it isn't.",
			key:    Key{Ordered: true, Ready: true, Held: true, From: at("2026-11-22").Add(12 * time.Hour), Until: at("2026-11-23").Add(12 * time.Hour)}, status: "True",
			says: "holds the agent's key",
		},
		"Endless": {
			reason: "Google's keys end in the year 9999 where nobody says otherwise.",
			key:    Key{Ordered: true, Ready: true, Held: true, From: at("2026-11-01"), Until: at("9999-12-31")}, status: "True",
			says: "holds the agent's key",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := Credentials("bot", tc.key, at("2026-11-23"))
			if string(c.Status) != tc.status || !strings.Contains(c.Message, tc.says) {
				t.Errorf("%s\nwant %s with %q, got %s: %s", tc.reason, tc.status, tc.says, c.Status, c.Message)
			}
		})
	}
}

// at is the midnight UTC of a day.
func at(day string) time.Time {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	return t
}
