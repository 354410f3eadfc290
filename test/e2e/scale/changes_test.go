package scale

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestChanges proves that changes are counted, and that what is so already is none:
// a figure of 0 must be able to be another.
func TestChanges(t *testing.T) {
	at := func(version string) any {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}}
	}
	c := &changes{n: map[string]int{}}
	h := c.of("things")
	h.OnAdd(at("1"), false)
	h.OnUpdate(at("1"), at("1"))
	h.OnUpdate(at("1"), at("2"))
	h.OnUpdate(at("2"), at("2"))
	h.OnDelete(at("2"))
	if diff := cmp.Diff(map[string]int{"things": 3}, c.count()); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}
