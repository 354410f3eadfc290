package datasetwatcher

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestParse(t *testing.T) {
	env := func(name string) string { return map[string]string{"POD_NAMESPACE": "whisperops-system"}[name] }
	cases := map[string]struct {
		args []string
		want string // part of the refusal; empty: accepted
	}{
		"TheLeast":        {[]string{"--bucket=data"}, ""},
		"NoBucket":        {nil, "flag --bucket"},
		"BucketAsURL":     {[]string{"--bucket=gs://data"}, "without gs://"},
		"TooOften":        {[]string{"--bucket=data", "--interval=10ms"}, "flag --interval: it must be at least 1s"},
		"NoTime":          {[]string{"--bucket=data", "--listing-timeout=0s"}, "flag --listing-timeout"},
		"RemoveAtOnce":    {[]string{"--bucket=data", "--remove-after=0"}, "flag --remove-after"},
		"FallTooLarge":    {[]string{"--bucket=data", "--max-fall-percent=101"}, "flag --max-fall-percent"},
		"FallIsNoNumber":  {[]string{"--bucket=data", "--max-fall-percent=NaN"}, "flag --max-fall-percent"},
		"Name":            {[]string{"--bucket=data", "--name=Dataset_Watcher"}, "RFC 1123"},
		"NoNamespace":     {[]string{"--bucket=data", "--namespace="}, "flag --namespace is empty"},
		"NoRequests":      {[]string{"--bucket=data", "--git-requests-per-second=0"}, "must be more than 0"},
		"GitWithoutToken": {[]string{"--bucket=data", "--git-url=https://git.example.org", "--git-token-file="}, "flag --git-token-file is empty"},
		"Folders":         {[]string{"--bucket=data", "--folders=/sales/, daily/*"}, ""},
		"FolderUnnamed":   {[]string{"--bucket=data", "--folders=sales,/"}, "the whole bucket can't be one dataset"},
		"FolderIsFile":    {[]string{"--bucket=data", "--folders=sales.csv"}, "is a CSV and no folder"},
		"FolderPattern":   {[]string{"--bucket=data", "--folders=[a"}, "is no pattern"},
		"FolderElsewhere": {[]string{"--bucket=data", "--prefix=team-a/", "--folders=team-b/sales"}, "flag --prefix"},
		"FolderBelow":     {[]string{"--bucket=data", "--prefix=team-a/", "--folders=team-a/*,*/sales"}, ""},
		"ForgottenDashes": {[]string{"--bucket=data", "debug"}, `unexpected argument "debug"`},
		"Unknown":         {[]string{"--bukket=data"}, "flag provided but not defined: -bukket"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out := bytes.Buffer{}
			f, err := Parse(tc.args, env, &out)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(out.String(), tc.want)):
				t.Errorf("want a refusal that tells %q, got %v:\n%s", tc.want, err, out.String())
			case tc.want == "" && (f.Namespace != "whisperops-system" || f.settings().MaxFall != 0.5 || f.settings().RemoveAfter != 2):
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestEncryptionKeyFile(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		content string
		want    string // part of the refusal; empty: accepted
	}{
		"Key":   {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", ""},
		"Empty": {"", "flag --encryption-key-file: the file is empty"},
		"Hex":   {"000102", "flag --encryption-key-file: the encryption key must be 32 bytes in base64"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			if err := os.WriteFile(file, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := Flags{KeyFile: file}.access()
			switch {
			case tc.want == "" && (err != nil || len(a.Key) != 32):
				t.Errorf("got a key of %d bytes, %v", len(a.Key), err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("want %q, got %v", tc.want, err)
			}
		})
	}
	if _, err := (Flags{KeyFile: filepath.Join(dir, "none")}).access(); err == nil {
		t.Error("a file that isn't there is no key")
	}
}

// TestReadme holds the tables of flags and metrics to what there is.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(b)
	usage := bytes.Buffer{}
	if _, err := Parse([]string{"--help"}, os.Getenv, &usage); err != flag.ErrHelp { //nolint:errorlint // it is returned bare
		t.Fatal(err)
	}
	there := found(regexp.MustCompile(`(?m)^  -([a-z-]+)`), usage.String())
	if told := found(regexp.MustCompile("`--([a-z-]+)`"), readme); !slices.Equal(told, there) {
		t.Errorf("README.md tells of flags\n%v, there are\n%v", told, there)
	}

	r := prometheus.NewRegistry()
	m := newMetrics(r)
	m.objects.WithLabelValues("csv")
	m.reads.WithLabelValues("ok")
	m.writes.WithLabelValues("git", "commit", "ok")
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	there = nil
	for _, f := range families {
		there = append(there, strings.TrimPrefix(f.GetName(), "dataset_watcher_"))
	}
	slices.Sort(there)
	if told := found(regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|"), readme); !slices.Equal(told, there) {
		t.Errorf("README.md tells of metrics\n%v, there are\n%v", told, there)
	}
}

// found returns what a pattern finds in a text, in order, each once.
func found(pattern *regexp.Regexp, text string) []string {
	all := []string{}
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}
