//go:build linux

package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"pgregory.net/rapid"

	"whisperops.io/functions/internal/csvfile"
)

// A rack is a bucket with a folder. Names that begin with "gone" are listed and are not
// there any more when they are read.
type rack map[string][]byte

func (r rack) object() object {
	folder, files := object{}, []csvfile.File{}
	for _, name := range sorted(r) {
		content := r[name]
		folder.Files = append(folder.Files, object{Name: name, Generation: 1, Size: int64(len(content)), CRC32C: crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))})
		folder.Size += int64(len(content))
		files = append(files, csvfile.File{Name: name, Generation: int64(len(content))})
	}
	folder.Generation = csvfile.Generation(files)
	return folder
}

func (r rack) Look(context.Context) (object, error) { return r.object(), nil }

func (r rack) Open(_ context.Context, o object) (io.ReadCloser, error) {
	if strings.HasPrefix(o.Name, "gone") {
		return nil, storage.ErrObjectNotExist
	}
	return io.NopCloser(bytes.NewReader(r[o.Name])), nil
}

func sorted(r rack) []string {
	names := make([]string, 0, len(r))
	for n := range r {
		names = append(names, n)
	}
	for i := range names {
		for j := i; j > 0 && names[j] < names[j-1]; j-- {
			names[j], names[j-1] = names[j-1], names[j]
		}
	}
	return names
}

// Code finds one CSV, whatever a folder's files are like; what is no table together is
// refused with the file's name.
func TestFolder(t *testing.T) {
	wide := strings.Repeat("column,", csvfile.MaxHeader/7+1)
	cases := map[string]struct {
		reason string
		files  rack
		want   string
		refuse string
	}{
		"Two":       {"One header, and the rows of both in the order of names.", rack{"2.csv": []byte("a,b\n3,4\n"), "1.csv": []byte("a,b\n1,2\n")}, "a,b\n1,2\n3,4\n", ""},
		"NoLineEnd": {"A file may end without a line end; rows must not grow together.", rack{"1.csv": []byte("a,b\n1,2"), "2.csv": []byte("a,b\n3,4"), "3.csv": []byte("a,b\n5,6")}, "a,b\n1,2\n3,4\n5,6", ""},
		"HeaderCut": {"Nor must a row grow to a header that stands alone.", rack{"1.csv": []byte("a,b"), "2.csv": []byte("a,b\n3,4\n")}, "a,b\n3,4\n", ""},
		"Marks":     {"Byte order marks and line ends of another system.", rack{"1.csv": []byte("a,b\n1,2\n"), "2.csv": []byte("\xef\xbb\xbf\"a\",b\r\n3,4\r\n")}, "a,b\n1,2\n3,4\r\n", ""},
		"Empty":     {"Files without anything in them.", rack{"0.csv": nil, "1.csv": []byte("\n \n"), "2.csv": []byte("a\n1\n"), "3.csv": nil}, "a\n1\n", ""},
		"Packed":    {"Some are packed and some are not.", rack{"1.csv": packed([]byte("a\n1\n")), "2.csv": []byte("a\n2\n")}, "a\n1\n2\n", ""},
		"Quoted":    {"A header may hold a line end.", rack{"1.csv": []byte("\"a\nb\",c\n1,2\n"), "2.csv": []byte("\"a\nb\",c\n3,4\n")}, "\"a\nb\",c\n1,2\n3,4\n", ""},
		"AllEmpty":  {"As a single file.", rack{"1.csv": nil, "2.csv": nil}, "", "it is empty"},
		"Columns":   {"Figures would be of the wrong column.", rack{"1.csv": []byte("a,b\n1,2\n"), "2.csv": []byte("b,a\n3,4\n")}, "", `its file "2.csv" has other columns than "1.csv": column 1 is called "a" there and "b" here`},
		"Picture":   {"Which of a thousand files is it?", rack{"1.csv": []byte("a,b\n1,2\n"), "2.csv": []byte("\x89PNG\x00\x00")}, "", `its file "2.csv": it holds bytes that are no text`},
		"Gone":      {"An export that is being replaced.", rack{"1.csv": []byte("a\n1\n"), "gone.csv": []byte("a\n1\n")}, "", `its file "gone.csv" was replaced or deleted meanwhile: ask again in a minute`},
		"Bomb":      {"What each unpacks to has room, and all together have not.", rack{"1.csv": packed(append([]byte("a\n"), make([]byte, 5*mebibyte)...)), "2.csv": packed(append([]byte("a\n"), make([]byte, 5*mebibyte)...))}, "", ""},
		"Endless":   {"A header without an end.", rack{"1.csv": []byte(wide)}, "", `its file "1.csv": the first line goes on and on`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := newDataset(t.Context(), testLog(t), tc.files, t.TempDir(), "gs://"+testBucket+"/sales/", 8*mebibyte)
			f, done, err := d.use(t.Context())
			if tc.want == "" {
				if err == nil || !strings.Contains(err.Error(), tc.refuse) {
					t.Errorf("%s\nwant an error with %q, got %v", tc.reason, tc.refuse, err)
				}
				if left, err := os.ReadDir(d.dir); err != nil || len(left) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			if b, err := os.ReadFile(f.Path); err != nil || string(b) != tc.want || f.Bytes != int64(len(b)) {
				t.Errorf("%s\nwant %q, got %q of %d bytes, %v", tc.reason, tc.want, b, f.Bytes, err)
			}
			p, perr := f.Profile.wait(t.Context())
			says := fmt.Sprintf("It is a folder of %d CSV files", len(tc.files))
			if text := (&server{set: settings{datasetName: "x"}}).description(f, p, perr, 256*mebibyte); !strings.Contains(text, says) {
				t.Errorf("want %q, got %.300s", says, text)
			}
		})
	}
}

// However a table is cut into files, and however its bytes come: it is the same table.
func TestJoinedIsTheTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOf(rapid.SampledFrom([]string{"1,2", "\"x\ny\",3", ",", "ä,\"\"\"\"", "5,"})).Draw(t, "rows")
		var out bytes.Buffer
		j := &joiner{w: &out}
		want := "a,b\n"
		for rest := rows; ; {
			n := rapid.IntRange(0, len(rest)).Draw(t, "rows of a file")
			file := "a,b\n"
			for _, r := range rest[:n] {
				file += r + "\n"
				want += r + "\n"
			}
			rest = rest[n:]
			if rapid.Bool().Draw(t, "no line end") {
				file = strings.TrimSuffix(file, "\n")
			}
			j.begin("x.csv")
			for b := []byte(file); len(b) > 0; {
				n := rapid.IntRange(1, len(b)).Draw(t, "bytes")
				if _, err := j.Write(b[:n]); err != nil {
					t.Fatal(err)
				}
				b = b[n:]
			}
			if err := j.end(); err != nil {
				t.Fatal(err)
			}
			if len(rest) == 0 {
				break
			}
		}
		if got := out.String(); strings.TrimSuffix(got, "\n") != strings.TrimSuffix(want, "\n") {
			t.Fatalf("want %q, got %q", want, got)
		}
	})
}

// A listing as Google answers it: what lies deeper, what stands for the folder and what is
// no CSV is left out; what would be missed is refused.
func TestFolderListing(t *testing.T) {
	items := func(names ...string) (all []map[string]any) {
		for i, n := range names {
			all = append(all, map[string]any{"name": n, "bucket": "data", "generation": strconv.Itoa(i + 1), "size": "8", "crc32c": "AAAAAQ==", "updated": "2026-11-27T10:00:00Z"})
		}
		return all
	}
	cases := map[string]struct {
		reason string
		items  []map[string]any
		files  int
		refuse string
	}{
		"Spark": {"What Spark leaves beside its files.", items("sales/", "sales/.1.crc", "sales/1.csv", "sales/2.csv", "sales/_SUCCESS"), 2, ""},
		"None":  {"All were deleted.", items("sales/", "sales/_SUCCESS"), 0, "object doesn't exist"},
		"Zip":   {"Its rows would be missed.", items("sales/1.csv", "sales/2.csv.gz"), 0, `its file "sales/2.csv.gz" would be missing`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if q := r.URL.Query(); q.Get("prefix") != "sales/" || q.Get("delimiter") != "/" {
					t.Errorf("unexpected listing: %s", r.URL)
				}
				_ = json.NewEncoder(w).Encode(map[string]any{"items": tc.items, "prefixes": []string{"sales/old/"}})
			}))
			t.Cleanup(srv.Close)
			t.Setenv("STORAGE_EMULATOR_HOST", srv.URL)
			c, err := newBuckets(t.Context(), slog.New(slog.DiscardHandler), "")
			if err != nil {
				t.Fatal(err)
			}
			o, err := (&gcs{buckets: c, bucket: "data", key: "sales/"}).Look(t.Context())
			if tc.refuse != "" {
				if err == nil || !strings.Contains(err.Error(), tc.refuse) {
					t.Errorf("%s\nwant %q, got %v", tc.reason, tc.refuse, err)
				}
				return
			}
			if err != nil || len(o.Files) != tc.files || o.Size != int64(8*tc.files) || o.Generation == 0 || !o.Updated.Equal(time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)) {
				t.Errorf("%s\nwant %d files, got %+v, %v", tc.reason, tc.files, o, err)
			}
		})
	}
}
