package v1alpha1

import (
	"fmt"
	"regexp"
	"time"
	_ "time/tzdata" // the functions' images hold no time zones
)

// notIANA are names that some machines know and others don't, or that mean another zone
// on each. Those below right/ count leap seconds, too.
var notIANA = regexp.MustCompile(`(?i)^((posix|right)/.*|local|localtime|posixrules|factory)$`)

// Zone returns the time zone of a name in the IANA database; "" is UTC. "Local" is
// refused: it would be wherever a function happens to run.
func Zone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil || notIANA.MatchString(name) {
		return nil, fmt.Errorf("%q is unknown: it must be a name of the IANA time zone database, such as Europe/Berlin", name)
	}
	return loc, nil
}

// In returns t in the budget's time zone, by which PeriodKey and PeriodStart judge
// it. A zone that can't be read is UTC; Validate refuses it before.
func (s XAgentBudgetSpec) In(t time.Time) time.Time {
	loc, err := Zone(s.TimeZone)
	if err != nil {
		loc = time.UTC
	}
	return t.In(loc)
}

// PeriodKey names the period that t lies in, by the calendar of t's location:
// "lifetime", a day "2026-11-23", an ISO 8601 week "2026-W48" (the year is the week's,
// not the day's) or a month "2026-11". It is a function of time alone, so no reset can
// be missed or done half. An unknown or empty period is a lifetime.
func PeriodKey(p Period, t time.Time) string {
	switch p {
	case PeriodDaily:
		return t.Format("2006-01-02")
	case PeriodWeekly:
		y, w := t.ISOWeek()
		return fmt.Sprintf("%04d-W%02d", y, w)
	case PeriodMonthly:
		return t.Format("2006-01")
	case PeriodLifetime:
	}
	return string(PeriodLifetime)
}

// PeriodStart returns the instant at which the period that t lies in began, by the
// calendar of t's location: midnight, for weekly that of Monday, and where clocks were
// put forward at midnight the first instant of that day. A lifetime began at no time:
// it is the zero time.
func PeriodStart(p Period, t time.Time) time.Time {
	start, _ := periodAround(p, t)
	return start
}

// PeriodEnd returns the instant at which the period after t's begins, by the same
// calendar. A lifetime ends at no time: it is the zero time.
func PeriodEnd(p Period, t time.Time) time.Time {
	_, end := periodAround(p, t)
	return end
}

func periodAround(p Period, t time.Time) (start, end time.Time) {
	y, m, d := t.Date()
	day := func(m time.Month, d int) time.Time { return dayStart(y, m, d, t.Location()) }
	switch p {
	case PeriodDaily:
		return day(m, d), day(m, d+1)
	case PeriodWeekly:
		d -= (int(t.Weekday()) + 6) % 7
		return day(m, d), day(m, d+7)
	case PeriodMonthly:
		return day(m, 1), day(m+1, 1)
	case PeriodLifetime:
	}
	return time.Time{}, time.Time{}
}

// dayStart returns the first instant of a day. Midnight alone won't do: it is missing
// where clocks go forward at it (Beirut, Cairo), and comes twice where they go back at
// one o'clock (Havana).
func dayStart(y int, m time.Month, d int, loc *time.Location) time.Time {
	noon := time.Date(y, m, d, 12, 0, 0, 0, loc)
	y, m, d = noon.Date() // 30 February is 2 March
	before, in := int64(-26*3600), int64(0)
	for in-before > 1 { // seconds from noon: before is another day, in is this one
		half := before + (in-before)/2
		if hy, hm, hd := noon.Add(time.Duration(half) * time.Second).Date(); hy == y && hm == m && hd == d {
			in = half
		} else {
			before = half
		}
	}
	return noon.Add(time.Duration(in) * time.Second)
}
