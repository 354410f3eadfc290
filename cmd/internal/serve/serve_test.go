package serve

import (
	"bytes"
	"context"
	"flag"
	"runtime"
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"

	"whisperops.io/functions/internal/errors"
)

func TestParse(t *testing.T) {
	defaults := Flags{Network: "tcp", Address: ":9443", MetricsAddress: ":8080", MaxRecvMessageSize: 16}
	with := func(f func(*Flags)) Flags {
		out := defaults
		f(&out)
		return out
	}
	cases := map[string]struct {
		reason string
		args   []string
		env    map[string]string
		want   Flags
		out    string // must be in what was printed
		fails  bool
	}{
		"Nothing": {
			reason: "Crossplane starts a function without arguments.",
			want:   defaults,
		},
		"Environment": {
			reason: "Crossplane tells the folder of the certificates by this variable.",
			env:    map[string]string{"TLS_SERVER_CERTS_DIR": "/tls"},
			want:   with(func(f *Flags) { f.TLSCertsDir = "/tls" }),
		},
		"FlagBeatsEnvironment": {
			reason: "What is written last, by a person, wins.",
			args:   []string{"--tls-certs-dir=/mine"},
			env:    map[string]string{"TLS_SERVER_CERTS_DIR": "/tls"},
			want:   with(func(f *Flags) { f.TLSCertsDir = "/mine" }),
		},
		"Rendering": {
			reason: "The flags of a function served for crossplane composition render.",
			args:   []string{"--insecure", "--address", "127.0.0.1:9443", "-d", "--metrics-address="},
			want: with(func(f *Flags) {
				f.Insecure, f.Address, f.Debug, f.MetricsAddress = true, "127.0.0.1:9443", true, ""
			}),
		},
		"Typo": {
			reason: "A flag that does nothing is worse than a function that doesn't start.",
			args:   []string{"--adress", "x"},
			out:    "flag provided but not defined: -adress",
			fails:  true,
		},
		"Argument": {
			reason: "As a typo: -d true would silently ignore all that follows.",
			args:   []string{"true", "--insecure"},
			out:    `unexpected argument "true"`,
			fails:  true,
		},
		"NoMessageFits": {
			reason: "Every request would be refused, and Crossplane's message would not say why.",
			args:   []string{"--max-recv-message-size", "0"},
			out:    "--max-recv-message-size: it must be at least 1",
			fails:  true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out := &bytes.Buffer{}
			got, err := Parse("function-x", tc.args, func(k string) string { return tc.env[k] }, out)
			if (err != nil) != tc.fails {
				t.Fatalf("%s\nParse(...): %v", tc.reason, err)
			}
			if !strings.Contains(out.String(), tc.out) {
				t.Errorf("%s\nParse(...) prints %q, want %q in it", tc.reason, out.String(), tc.out)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nParse(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestHelpIsNoError(t *testing.T) {
	out := &bytes.Buffer{}
	_, err := Parse("function-x", []string{"--help"}, func(string) string { return "" }, out)
	if !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "-tls-certs-dir") {
		t.Errorf("Parse(--help): error %v, printed %q", err, out.String())
	}
}

type panicking struct {
	fnv1.UnimplementedFunctionRunnerServiceServer
}

func (panicking) RunFunction(context.Context, *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	panic("private_key")
}

func TestSurviving(t *testing.T) {
	req := &fnv1.RunFunctionRequest{
		Meta:    &fnv1.RequestMeta{Tag: "tag"},
		Desired: &fnv1.State{Resources: map[string]*fnv1.Resource{"bucket": {}}},
	}
	rsp, err := Surviving(logging.NewNopLogger(), panicking{}).RunFunction(context.Background(), req)
	if err != nil {
		t.Fatalf("a gRPC error makes Crossplane drop the response: %v", err)
	}
	if rsp.GetMeta().GetTag() != "tag" || rsp.GetDesired().GetResources()["bucket"] == nil {
		t.Error("what earlier steps desired must survive a panic")
	}
	if len(rsp.GetResults()) != 1 || rsp.GetResults()[0].GetSeverity() != fnv1.Severity_SEVERITY_FATAL {
		t.Fatalf("a panic must be one fatal result, not %v", rsp.GetResults())
	}
	if strings.Contains(rsp.GetResults()[0].GetMessage(), "private_key") {
		t.Error("the value of a panic may be a part of the request, and stays out of the result")
	}
}

// What is 33 KiB must not take a megabyte, which stays with the process.
func TestAResponseTakesItsSize(t *testing.T) {
	rsp := &fnv1.RunFunctionResponse{Results: []*fnv1.Result{{Message: strings.Repeat("x", 33<<10)}}}
	got, err := codec{CodecV2: encoding.GetCodecV2("proto")}.Marshal(rsp)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("%d buffers, want one", len(got))
	}
	b := got[0].ReadOnlyData()
	if cap(b) > 2*proto.Size(rsp) {
		t.Errorf("a response of %d bytes takes %d", proto.Size(rsp), cap(b))
	}
	same := &fnv1.RunFunctionResponse{}
	if err := proto.Unmarshal(b, same); err != nil || !proto.Equal(rsp, same) {
		t.Errorf("the response came out as another: %v", err)
	}
}

// A function uses one processor, unless whoever runs it says how many.
func TestOneProcessor(t *testing.T) {
	was := runtime.GOMAXPROCS(2)
	defer runtime.GOMAXPROCS(was)
	oneProcessor(func(string) string { return "2" })
	if got := runtime.GOMAXPROCS(0); got != 2 {
		t.Errorf("GOMAXPROCS=2 is set, and %d processors are used", got)
	}
	oneProcessor(func(string) string { return "" })
	if got := runtime.GOMAXPROCS(0); got != 1 {
		t.Errorf("%d processors are used, want 1", got)
	}
}
