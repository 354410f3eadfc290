package renderworkloads

import (
	"bytes"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"whisperops.io/functions/test/golden"
)

// Responses share what is the same for all orders, and a server encodes many at
// once.
func TestResponsesAreEncodedAtOnce(t *testing.T) {
	req, _ := golden.Request(t, "testdata/worker-ready")
	encode := func() ([]byte, error) {
		return proto.MarshalOptions{Deterministic: true}.Marshal(respond(t, proto.CloneOf(req)))
	}
	want, err := encode()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				got, err := encode()
				if err != nil {
					t.Error(err)
				}
				if !bytes.Equal(want, got) {
					t.Error("a response that was encoded beside others differs")
				}
			}
		})
	}
	wg.Wait()
}
