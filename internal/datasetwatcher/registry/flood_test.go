package registry

import (
	"fmt"
	"strconv"
	"testing"

	"whisperops.io/functions/apis/v1alpha1"
)

// flooded is a bucket with n names, of which half are recorded.
func flooded(n int) (*cluster, Memory, []Object) {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("flood-%06d.csv", i))
	}
	all := objects(names...)
	c := &cluster{datasets: map[string]v1alpha1.XDataset{}}
	p := Make(settings, Memory{}, World{Objects: all[:n/2], Reads: readAll(all[:n/2]), Usage: Usage{Known: true}}, noon)
	c.carryOut(p, -1)
	return c, p.Memory, all
}

// BenchmarkFloodedPass is what one pass decides in a bucket with n names, a thousand of
// which it read: what one costs has to grow as n does, or who fills a bucket stops its watcher.
func BenchmarkFloodedPass(b *testing.B) {
	for _, n := range []int{2_000, 20_000, 200_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			c, m, all := flooded(n)
			known := c.list()
			for b.Loop() {
				batch, later, _ := Batch(Unread(settings, all, known), "", 1000)
				p := Make(settings, m, World{Objects: all, Datasets: known, Reads: readAll(batch), Later: later, Usage: Usage{Known: true}}, noon)
				if len(p.Creates) != 1000 || p.Fall != nil {
					b.Fatalf("want a thousand more, got %d, %+v", len(p.Creates), p.Fall)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/name")
		})
	}
}
