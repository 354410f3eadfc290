//go:build linux

package sandbox

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"google.golang.org/api/option"
)

const (
	testBucket = "acme-data-datasets"
	testOutput = "acme-data-agent-housing-bot"
)

// startEmulator runs fake-gcs-server, which make test-sandbox hands in.
func startEmulator(t testing.TB) (*storage.Client, string) {
	t.Helper()
	path := os.Getenv("FAKE_GCS_SERVER")
	if path == "" {
		t.Skip("no storage emulator: FAKE_GCS_SERVER is not set; run make test-sandbox")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", port, "-data", "", "-public-host", address, "-log-level", "warn")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, 30*time.Second, func() error {
		rsp, err := http.Get("http://" + address + "/_internal/healthcheck")
		if err == nil {
			err = rsp.Body.Close()
		}
		return err
	})
	c, err := storage.NewClient(context.Background(), option.WithoutAuthentication(), option.WithEndpoint("http://"+address+"/storage/v1/"), storage.WithJSONReads())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, b := range []string{testBucket, testOutput} {
		if err := c.Bucket(b).Create(context.Background(), "acme-data", nil); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("STORAGE_EMULATOR_HOST", "http://"+address)
	return c, address
}

func upload(t testing.TB, c *storage.Client, key string, content []byte, encoding string) int64 {
	t.Helper()
	w := c.Bucket(testBucket).Object(key).NewWriter(context.Background())
	w.ContentEncoding = encoding
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.Attrs().Generation
}

// eventually tries until it works: at once again while that takes time by itself, as
// asking a server does, and every 20 ms otherwise.
func eventually(t testing.TB, limit time.Duration, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %v", limit, err)
		}
	}
}

// startServer runs a whole sandbox and returns its address.
func startServer(t testing.TB, change func(*settings)) string {
	t.Helper()
	needPandas(t)
	set, err := parse(nil, func(name string) string {
		return map[string]string{
			"HOST": "127.0.0.1", "PORT": "0", "PYTHON": python(), "MEMORY_LIMIT_MI": "1024", "EXECUTION_TIMEOUT_SECONDS": "30",
			"DATASET_GCS_PATH": "gs://" + testBucket + "/housing.csv", "DATASET_NAME": "california-housing", "OUTPUT_BUCKET": testOutput,
		}[name]
	}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	set.tmp = t.TempDir()
	if change != nil {
		change(&set)
	}
	base, release, err := newBase(testLog(t), set.tmp)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := newServer(ctx, testLog(t), set, base, memoryBudget{Limit: set.memoryMi * mebibyte, Source: "test"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		release()
		if _, err := os.Stat(base); err == nil {
			t.Errorf("%s is still there after the end", base)
		}
	})
	return l.Addr().String()
}

func ready(t testing.TB, address string) {
	t.Helper()
	eventually(t, 2*time.Minute, func() error {
		rsp, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return err
		}
		defer rsp.Body.Close() //nolint:errcheck // it was only read
		var text bytes.Buffer
		_, _ = text.ReadFrom(rsp.Body)
		if rsp.StatusCode != http.StatusOK {
			return fmt.Errorf("%d %s", rsp.StatusCode, text.String())
		}
		return nil
	})
}

// call calls a tool as kagent's worker does, and returns its text.
func call(t testing.TB, address, tool string, args map[string]any) (string, *mcp.CallToolResult) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := c.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: "http://" + address + "/mcp"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close() //nolint:errcheck // DELETE; a stateless server refuses it
	r, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, c := range r.Content {
		if x, ok := c.(*mcp.TextContent); ok {
			text.WriteString(x.Text)
		}
	}
	return text.String(), r
}

func execute(t testing.TB, address, code string) (string, *mcp.CallToolResult) {
	t.Helper()
	return call(t, address, "execute_python", map[string]any{"code": code})
}

// housing is a CSV like the one of the story.
func housing(rows int) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"longitude", "latitude", "housing_median_age", "total_rooms", "median_house_value", "ocean_proximity"})
	for i := range rows {
		_ = w.Write([]string{
			fmt.Sprintf("-%.2f", 114+float64(i%100)/10), fmt.Sprintf("%.2f", 32+float64(i%90)/10), strconv.Itoa(1 + i%52), strconv.Itoa(2 + i*7%39000),
			strconv.Itoa(14999 + i*131%485000), []string{"NEAR BAY", "INLAND", "<1H OCEAN"}[i%3],
		})
	}
	w.Flush()
	return b.Bytes()
}

func TestServerAnswers(t *testing.T) {
	c, _ := startEmulator(t)
	first := upload(t, c, "housing.csv", housing(1000), "")
	address := startServer(t, nil)
	ready(t, address)
	text, r := execute(t, address, "import os, pandas as pd\ndf = pd.read_csv(os.environ['DATASET_PATH'])\nprint(len(df), int(df.median_house_value.sum()))")
	want := 0
	for i := range 1000 {
		want += 14999 + i*131%485000
	}
	if r.IsError || !strings.Contains(text, fmt.Sprintf("1000 %d\n", want)) || !strings.Contains(text, fmt.Sprintf("generation %d]", first)) {
		t.Errorf("want 1000 rows with the sum %d of generation %d, got %q", want, first, text)
	}
	text, r = call(t, address, "describe_dataset", nil)
	if r.IsError || !strings.Contains(text, "ocean_proximity") {
		t.Errorf("describe_dataset: %q", text)
	}
	t.Log(text)
}
