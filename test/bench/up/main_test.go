package main

import (
	"testing"
	"time"
)

func TestTookToReady(t *testing.T) {
	order := func(ready string) string {
		return `{"metadata": {"name": "a", "creationTimestamp": "2026-11-28T06:00:00Z"}, "status": {"conditions": [
		{"type": "Synced", "status": "True", "lastTransitionTime": "2026-11-28T06:00:01Z"},
		{"type": "Ready", "status": "` + ready + `", "lastTransitionTime": "2026-11-28T06:00:18Z"}]}}`
	}
	for name, tc := range map[string]struct {
		reason, list string
		want         time.Duration
		fails        bool
	}{
		"Ready":    {"Ready's last change is when it became so.", `{"items": [` + order("True") + `]}`, 18 * time.Second, false},
		"NotReady": {"What isn't Ready took no time that is known.", `{"items": [` + order("False") + `]}`, 0, true},
		"None":     {"A stack without its order is none that was meant.", `{"items": []}`, 0, true},
		"Two":      {"Nor is one with orders of somebody's own.", `{"items": [` + order("True") + `,` + order("True") + `]}`, 0, true},
		"NoJSON":   {"What kubectl says else is no answer.", `error: the server`, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tookToReady([]byte(tc.list))
			if (err != nil) != tc.fails || got != tc.want {
				t.Errorf("%s\nwant %s, got %s, %v", tc.reason, tc.want, got, err)
			}
		})
	}
}
