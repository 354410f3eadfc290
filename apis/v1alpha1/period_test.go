package v1alpha1

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPeriodStart(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		zone   string
		period Period
		at     string
		want   string // in UTC
		key    string
	}{
		"UTC":        {"Nobody named a zone.", "", PeriodDaily, "2026-11-23T10:00:00Z", "2026-11-23T00:00:00Z", "2026-11-23"},
		"Winter":     {"Midnight in Berlin is an hour earlier.", "Europe/Berlin", PeriodDaily, "2026-11-23T10:00:00Z", "2026-11-22T23:00:00Z", "2026-11-23"},
		"Summer":     {"In summer it is two.", "Europe/Berlin", PeriodDaily, "2026-07-23T10:00:00Z", "2026-07-22T22:00:00Z", "2026-07-23"},
		"LateUTC":    {"Half past eleven UTC is tomorrow in Berlin.", "Europe/Berlin", PeriodDaily, "2026-11-22T23:30:00Z", "2026-11-22T23:00:00Z", "2026-11-23"},
		"LongDay":    {"The day on which clocks go back has 25 hours.", "Europe/Berlin", PeriodDaily, "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25"},
		"ShortDay":   {"The day on which clocks go forward has 23.", "Europe/Berlin", PeriodDaily, "2026-03-29T21:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29"},
		"NoMidnight": {"In Cairo clocks go forward at midnight: the day begins at one.", "Africa/Cairo", PeriodDaily, "2026-04-24T10:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24"},
		"Twice":      {"In Havana midnight comes twice: the day begins with the first.", "America/Havana", PeriodDaily, "2026-11-01T10:00:00Z", "2026-11-01T04:00:00Z", "2026-11-01"},
		"Half":       {"Zones may be off by half an hour.", "Asia/Kolkata", PeriodDaily, "2026-11-23T18:29:00Z", "2026-11-22T18:30:00Z", "2026-11-23"},
		"Week":       {"Weeks begin on Monday, there.", "Pacific/Auckland", PeriodWeekly, "2026-11-22T12:00:00Z", "2026-11-22T11:00:00Z", "2026-W48"},
		"Month":      {"The last evening of October UTC is November in Tokyo.", "Asia/Tokyo", PeriodMonthly, "2026-10-31T16:00:00Z", "2026-10-31T15:00:00Z", "2026-11"},
		"MonthDST":   {"A month may begin in summer time and end in winter time.", "Europe/Berlin", PeriodMonthly, "2026-10-31T22:00:00Z", "2026-09-30T22:00:00Z", "2026-10"},
		"WeekDST":    {"So may a week.", "Europe/Berlin", PeriodWeekly, "2026-10-25T22:00:00Z", "2026-10-18T22:00:00Z", "2026-W43"},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, tc.at)
			if err != nil {
				t.Fatal(err)
			}
			at = XAgentBudgetSpec{TimeZone: tc.zone}.In(at)
			if got := PeriodStart(tc.period, at).UTC().Format(time.RFC3339); got != tc.want {
				t.Errorf("%s\nPeriodStart is %s, want %s", tc.reason, got, tc.want)
			}
			if got := PeriodKey(tc.period, at); got != tc.key {
				t.Errorf("%s\nPeriodKey is %s, want %s", tc.reason, got, tc.key)
			}
		})
	}
}

// Whatever the zone and the time: a period's start lies in it, and the second before it
// doesn't; its end doesn't, and the second before that does.
func TestPeriodStartAndEnd(t *testing.T) {
	zones := []string{
		"", "Europe/Berlin", "Africa/Cairo", "America/Havana", "Asia/Beirut", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo",
		"Pacific/Apia", "Pacific/Chatham", "America/Asuncion", "Asia/Tehran", "Antarctica/Troll", "Pacific/Kiritimati", "America/Scoresbysund",
	}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		period := rapid.SampledFrom([]Period{PeriodDaily, PeriodWeekly, PeriodMonthly}).Draw(t, "period")
		at := XAgentBudgetSpec{TimeZone: zone}.In(time.Unix(rapid.Int64Range(1_000_000_000, 2_500_000_000).Draw(t, "at"), 0))
		start := PeriodStart(period, at)
		if start.After(at) || PeriodKey(period, start) != PeriodKey(period, at) {
			t.Fatalf("%s in %q: the period of %s begins at %s, outside of it", period, zone, at, start)
		}
		if before := start.Add(-time.Second); PeriodKey(period, before) == PeriodKey(period, at) {
			t.Fatalf("%s in %q: %s already lies in the period that begins at %s", period, zone, before, start)
		}
		end := PeriodEnd(period, at)
		if last := end.Add(-time.Second); !end.After(at) || PeriodKey(period, end) == PeriodKey(period, at) || PeriodKey(period, last) != PeriodKey(period, at) {
			t.Fatalf("%s in %q: the period of %s doesn't end at %s", period, zone, at, end)
		}
	})
}

func TestLifetimeNeverEnds(t *testing.T) {
	if end := PeriodEnd(PeriodLifetime, time.Unix(1_800_000_000, 0)); !end.IsZero() {
		t.Errorf("it ends at %s", end)
	}
}

func TestZone(t *testing.T) {
	for name, ok := range map[string]bool{
		"": true, "UTC": true, "Europe/Berlin": true, "America/Argentina/Ushuaia": true, "Etc/GMT+8": true,
		"Berlin": false, "europe/berlin ": false, //nolint:gocritic // the space is the case
		"Local": false, "local": false, "+02:00": false, "../../etc/passwd": false, "CEST": false,
		"Etc/GMT-14": true, "Etc/GMT+13": false, "US/Pacific": true, "Europe/Kyiv": true, "America/Ciudad_Juarez": true, "GMT0": true,
		"utc": false, "EUROPE/BERLIN": false, "Europe": false, "/Europe/Berlin": false, "Europe/Berlin\n": false, "Z": false, "UTC+2": false,
		// Debian's machines know these, the functions' images don't.
		"right/Europe/Berlin": false, "posix/Europe/Berlin": false, "localtime": false, "posixrules": false, "Factory": false, "leapseconds": false,
	} {
		if _, err := Zone(name); (err == nil) != ok {
			t.Errorf("Zone(%q): %v, want it known: %v", name, err, ok)
		}
	}
}

func TestNamesThatGoogleRefuses(t *testing.T) {
	for name, ok := range map[string]bool{
		"google": false, "my-google-bot": false, "g00gle": false, "g00gle-bot": false, "go0gle": false, "goog1e": false, "googl3": false, "gooogle": false, "9oogle": false,
		"a-6oogle": false, "g006le": false, "googie-bot": false, "g00qle": false, "qoogle": false, "my-googlee": false, "ggooggllee": false, "go-0gle": true, "g0gle": true,
		"googol": true, "goggles": true, "boogie-bot": true, "boggle": true, "goose": true, "housing-bot": true, "go-ogle": true, "giggle": true,
	} {
		if looksLikeGoogle.MatchString(name) == ok {
			t.Errorf("%q is allowed: %v, want %v", name, !ok, ok)
		}
	}
}
