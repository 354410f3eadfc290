package edge

import (
	"testing"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	"whisperops.io/functions/internal/wire"
)

// A time is read however a provider writes it; what is none is nothing, and not some time.
func TestPartTime(t *testing.T) {
	want := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		reason string
		text   any
		want   time.Time
	}{
		"Usual":      {"As Google writes it.", "2026-11-23T08:00:00Z", want},
		"Fraction":   {"Some write what nobody asked for.", "2026-11-23T08:00:00.000Z", want},
		"Zone":       {"The same moment elsewhere.", "2026-11-23T09:00:00+01:00", want},
		"Small":      {"RFC 3339 allows it, and Go's package doesn't.", "2026-11-23t08:00:00z", want},
		"ZoneBare":   {"ISO 8601 has a zone without a colon, too.", "2026-11-23T09:00:00+0100", want},
		"Minutes":    {"And a time without seconds.", "2026-11-23T08:00Z", want},
		"HTTP":       {"As HTTP's headers say it.", "Mon, 23 Nov 2026 08:00:00 GMT", want},
		"Mail":       {"And mail's.", "Mon, 23 Nov 2026 09:00:00 +0100", want},
		"Blank":      {"A blank in the place of the T.", "2026-11-23 08:00:00Z", want},
		"Go":         {"As Go prints a time.", "2026-11-23 08:00:00 +0000 UTC", want},
		"Words":      {"As people write it.", "2026-11-23 08:00:00 UTC", want},
		"NoZone":     {"Servers mean UTC.", "2026-11-23T08:00:00", want},
		"Day":        {"A day begins at midnight.", "2026-11-23", want.Add(-8 * time.Hour)},
		"Blanks":     {"From a template.", " 2026-11-23T08:00:00Z\n", want},
		"Never":      {"A key that doesn't expire.", "9999-12-31T23:59:59Z", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		"Nothing":    {"It isn't known yet.", "", time.Time{}},
		"Garbage":    {"It isn't known.", "soon", time.Time{}},
		"Impossible": {"Nor is this a time.", "2026-02-30T08:00:00Z", time.Time{}},
		"Number":     {"Nor is a number, whose unit nobody knows.", 1.7e9, time.Time{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := Part{r: wire.Decoded(&fnv1.Resource{Resource: object(t, map[string]any{"status": map[string]any{"at": tc.text}})})}
			if got := p.Time("status", "at"); !got.Equal(tc.want) {
				t.Errorf("%s\nwant %s, got %s", tc.reason, tc.want, got)
			}
		})
	}
}
