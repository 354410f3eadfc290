package count

import (
	"testing"
	"time"
)

func TestResetLimit(t *testing.T) {
	for _, tc := range []struct {
		reason      string
		settleAfter time.Duration
		resets      int
		want        int
	}{
		{"As many in an hour as the input says.", 2 * time.Hour, 20, 20},
		{"In half an hour half as many.", 30 * time.Minute, 20, 10},
		{"One is a restart.", 2 * time.Minute, 20, 1},
		{"Who wants no limit writes a large one.", time.Hour, 1<<31 - 1, 1<<31 - 1},
		{"As above, and it is divided.", 30 * time.Minute, 1<<31 - 1, 1<<30 - 1},
	} {
		s := Rules{}
		s.SettleAfter, s.MaxResets = tc.settleAfter, tc.resets
		if _, got := s.resetWindow(); got != tc.want {
			t.Errorf("%s %d resets an hour, settled after %s: the limit is %d, want %d", tc.reason, tc.resets, tc.settleAfter, got, tc.want)
		}
	}
}
