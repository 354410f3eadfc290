package v1alpha1

import (
	"fmt"
	"time"
)

// PeriodKey names the period that t lies in: "lifetime", a day "2026-11-23", an
// ISO 8601 week "2026-W48" (the year is the week's, not the day's) or a month
// "2026-11". It is a function of time alone, so no reset can be missed or done
// half. An unknown or empty period is a lifetime.
func PeriodKey(p Period, t time.Time) string {
	t = t.UTC()
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

// PeriodStart returns the midnight UTC at which the period that t lies in began;
// for weekly that of Monday. A lifetime began at no time: it is the zero time.
func PeriodStart(p Period, t time.Time) time.Time {
	t = t.UTC()
	switch p {
	case PeriodDaily:
		return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	case PeriodWeekly:
		sinceMonday := (int(t.Weekday()) + 6) % 7
		return time.Date(t.Year(), t.Month(), t.Day()-sinceMonday, 0, 0, 0, 0, time.UTC)
	case PeriodMonthly:
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	case PeriodLifetime:
	}
	return time.Time{}
}
