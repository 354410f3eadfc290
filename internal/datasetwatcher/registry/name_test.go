package registry

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("long ", 20) + ".csv"
	cases := map[string]struct {
		reason        string
		object        string
		plain, unique string
		display       string
	}{
		"Underscore":   {"The example of the contract.", "Athlete_Recovery.csv", "athlete-recovery", "athlete-recovery-70bb9154", "Athlete Recovery"},
		"Words":        {"The example of the contract.", "california_housing.csv", "california-housing", "california-housing-c76fe6b9", "California Housing"},
		"Folder":       {"Two years' files of one name are two datasets.", "2024/sales.csv", "2024-sales", "2024-sales-57da9ba3", "2024 / Sales"},
		"Accent":       {"A name people recognise is better than one with holes.", "Températures à Zürich.csv", "temperatures-a-zurich", "temperatures-a-zurich-35e69eb6", "Températures À Zürich"},
		"Foreign":      {"Nothing of it can stand in a label.", "日本.csv", "", "dataset-386f81cc", "日本"},
		"Nothing":      {"An object may be called just that.", ".csv", "", "dataset-b9ce43c2", ".csv"},
		"Dots":         {"Dots separate words as well.", "a.b..csv", "a-b", "a-b-fec13e67", "A B"},
		"Dashes":       {"A label neither starts nor ends with a dash.", "--x--.csv", "x", "x-70d870be", "X"},
		"Long":         {"A label has 63 characters.", long, "", "long-long-long-long-long-long-long-long-long-long-long-5a2e0366", strings.TrimSpace(strings.Repeat("Long ", 20))},
		"OnlyTheEnd":   {"Only one extension is taken off.", "a.csv.csv", "a-csv", "a-csv-1fd60bdb", "A Csv"},
		"KeepsCapital": {"Acronyms stay what they are.", "US_GDP.csv", "us-gdp", "us-gdp-2a8fb676", "US GDP"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := plainName(tc.object); got != tc.plain {
				t.Errorf("%s\nplain name: want %q, got %q", tc.reason, tc.plain, got)
			}
			if got := uniqueName(tc.object, 0); got != tc.unique {
				t.Errorf("%s\nunique name: want %q, got %q", tc.reason, tc.unique, got)
			}
			if got := displayName(Object{Name: tc.object}); got != tc.display {
				t.Errorf("%s\ndisplay name: want %q, got %q", tc.reason, tc.display, got)
			}
		})
	}
}

func TestDisplayNameFromMetadata(t *testing.T) {
	cases := map[string]struct {
		reason   string
		metadata map[string]string
		want     string
	}{
		"Dashes":     {"Metadata win over the file's name.", map[string]string{"display-name": "Houses of California"}, "Houses of California"},
		"Camel":      {"People spell keys in their own way.", map[string]string{"displayName": "Houses"}, "Houses"},
		"Underscore": {"People spell keys in their own way.", map[string]string{"Display_Name": "Houses"}, "Houses"},
		"Both":       {"The same two keys must not take turns.", map[string]string{"displayname": "B", "display-name": "A"}, "A"},
		"Blank":      {"A blank name is none.", map[string]string{"display-name": " \t "}, "Housing"},
		"Lines":      {"A display name is one line.", map[string]string{"display-name": "a\nb\x00c"}, "a b c"},
		"Dots":       {"What a person wrote is not taken apart.", map[string]string{"display-name": "v1.2_final"}, "v1.2_final"},
		"Long":       {"The schema allows 200 characters.", map[string]string{"display-name": strings.Repeat("ä", 300)}, strings.Repeat("ä", 199) + "…"},
		"Other":      {"Other metadata is none of our business.", map[string]string{"owner": "me"}, "Housing"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := displayName(Object{Name: "housing.csv", Metadata: tc.metadata}); got != tc.want {
				t.Errorf("%s\nwant %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

func TestNamesAreLabels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		object := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-cA-C_./ -]{0,80}`)).Draw(t, "object") + ".csv"
		if n := plainName(object); n != "" && len(validation.IsDNS1123Label(n)) > 0 {
			t.Fatalf("plain name %q of %q is no RFC 1123 label", n, object)
		}
		for round := range 2 {
			if n := uniqueName(object, round); len(validation.IsDNS1123Label(n)) > 0 {
				t.Fatalf("unique name %q of %q is no RFC 1123 label", n, object)
			}
		}
		d := displayName(Object{Name: object})
		if n := len([]rune(d)); n < 1 || n > maxDisplayName {
			t.Fatalf("display name %q of %q has %d characters", d, object, n)
		}
	})
}

func TestSizeHuman(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB",
		1_048_575: "1.0 MiB", 2_000_000: "1.9 MiB", 1 << 20: "1.0 MiB", 5 << 40: "5.0 TiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := sizeHuman(bytes); got != want {
			t.Errorf("%d bytes: want %q, got %q", bytes, want, got)
		}
	}
}

func TestSeenGrid(t *testing.T) {
	offsets := map[time.Duration]bool{}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "name")
		now := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "now"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		seen := seenAt(name, now)
		if age := now.Sub(seen); age < 0 || age >= seenGrid {
			t.Fatalf("%s: at %s it was seen at %s, which is not within the last hour", name, now, seen)
		}
		if again := seenAt(name, seen); !again.Equal(seen) {
			t.Fatalf("%s: %s is not on its own grid: %s", name, seen, again)
		}
		if next := seenAt(name, now.Add(seenGrid)); next.Sub(seen) != seenGrid {
			t.Fatalf("%s: the grid moves from %s to %s", name, seen, next)
		}
		offsets[seen.Sub(seen.Truncate(seenGrid))] = true
	})
	if len(offsets) < 20 {
		t.Errorf("100 datasets share %d instants of the hour: they are written at once", len(offsets))
	}
}
