package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWhy(t *testing.T) {
	cases := map[string]struct {
		reason, log string
		how         error
		want        string
	}{
		"Said":    {"What serve says is the reason.", "error: port 6443 is taken\n", errors.New("exit status 1"), "port 6443 is taken"},
		"Killed":  {"A process that is killed has no time for words.", "", errors.New("signal: killed"), "signal: killed"},
		"Nothing": {"Never an empty reason.", "\n", nil, "said nothing"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := why(tc.log, tc.how); !strings.Contains(got, tc.want) {
				t.Errorf("%s\nwant %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

// The first screen of make up shows a dataset that was made just now.
func TestOfNow(t *testing.T) {
	to := filepath.Join(t.TempDir(), "dataset.yaml")
	if err := ofNow("../../../../examples/agent-first-order/required.yaml", to); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(b), `lastSeen: "`)
	text, _, _ := strings.Cut(after, `"`)
	at, err := time.Parse(time.RFC3339, text)
	if !found || err != nil || time.Since(at) > time.Minute {
		t.Errorf("lastSeen is %q: %v", text, err)
	}
}
