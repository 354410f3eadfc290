package renderdashboard

import (
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"

	"whisperops.io/functions/test/golden"
)

func TestGolden(t *testing.T) {
	golden.Run(t, New(logging.NewNopLogger()), "testdata")
}
