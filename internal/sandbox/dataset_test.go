//go:build linux

package sandbox

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	testsettings "whisperops.io/functions/test/settings"
)

// A shelf is a bucket with one object. It may give other bytes than it says, or
// another generation, as a bucket does whose object is replaced at that moment.
type shelf struct {
	object

	content []byte
	gone    error
}

func put(generation int64, content []byte) *shelf {
	return &shelf{object: object{Generation: generation, Size: int64(len(content)), CRC32C: crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)), Updated: time.Unix(0, 0)}, content: content}
}

func (s *shelf) Look(context.Context) (object, error) { return s.object, s.gone }

func (s *shelf) Open(_ context.Context, o object) (io.ReadCloser, error) {
	if o.Generation != s.Generation {
		return nil, storage.ErrObjectNotExist
	}
	return io.NopCloser(bytes.NewReader(s.content)), s.gone
}

func packed(content []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(content)
	_ = z.Close()
	return b.Bytes()
}

func datasetOf(t *testing.T, s store) *dataset {
	t.Helper()
	return newDataset(t.Context(), testLog(t), s, t.TempDir(), "gs://"+testBucket+"/x.csv", 8*mebibyte)
}

// What is wrong with a dataset is said to the model, in words that it can pass on, and
// leaves no file behind.
func TestBadDatasets(t *testing.T) {
	good := []byte("a,b\n1,2\n")
	cut := packed(bytes.Repeat(good, 1000))
	cases := map[string]struct {
		reason string
		store  *shelf
		says   string
	}{
		"None":     {"It was deleted after the order.", &shelf{gone: storage.ErrObjectNotExist}, "there is no such object"},
		"NoBucket": {"So was its bucket.", &shelf{gone: storage.ErrBucketNotExist}, "there is no such object"},
		"Empty":    {"An upload that failed leaves such objects.", put(1, nil), "it is empty"},
		"Hollow":   {"A packed one may be empty inside.", put(1, packed(nil)), "it is empty"},
		"Changed":  {"The bytes are of another upload than the checksum.", &shelf{object: put(1, good).object, content: []byte("a,b\n3,4\n")}, "it arrived damaged"},
		"Cut":      {"A connection ended early.", &shelf{object: put(1, good).object, content: good[:4]}, "it arrived damaged"},
		"BadGzip":  {"Half an archive.", put(1, cut[:len(cut)/2]), "upload it again"},
		"Bomb":     {"A small archive of a large file would fill the disk.", put(1, packed(make([]byte, 64*mebibyte))), "the sandbox has room for"},
		"Large":    {"What doesn't fit is not even begun.", &shelf{object: object{Generation: 1, Size: 1 << 40}}, "the sandbox has room for"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := datasetOf(t, tc.store)
			_, _, err := d.use(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s\nwant an error with %q, got %v", tc.reason, tc.says, err)
			}
			left, err := os.ReadDir(d.dir)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// A run keeps the file that it began with; the next one has the new generation, and the
// old file goes when nobody reads it any more. A store that is away meanwhile harms
// nobody who has a file.
func TestDatasetChangesUnderTheReader(t *testing.T) {
	s := put(1, []byte("a\n1\n"))
	d := datasetOf(t, s)
	old, release, err := d.use(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	*s = *put(2, []byte("a\n2\n"))
	d.looked = time.Time{} // long ago
	fresh, done, err := d.use(t.Context())
	if err != nil || fresh.Generation != 2 || old.Generation != 1 {
		t.Fatalf("want generation 2 beside 1, got %+v, %v", fresh, err)
	}
	for f, want := range map[*file]string{old: "a\n1\n", fresh: "a\n2\n"} {
		if b, err := os.ReadFile(f.Path); err != nil || string(b) != want {
			t.Errorf("generation %d: want %q, got %q, %v", f.Generation, want, b, err)
		}
	}
	release()
	if _, err := os.Stat(old.Path); !os.IsNotExist(err) {
		t.Errorf("the old file is still there: %v", err)
	}
	done()
	s.gone = fmt.Errorf("the network is down")
	d.looked = time.Time{}
	again, done, err := d.use(t.Context())
	if err != nil || again.Generation != 2 {
		t.Errorf("want the file that is there, got %+v, %v", again, err)
	}
	done()
}

// A header line of 5 MB, rows without an end, or bytes that are no text are described
// in a bounded answer, and nothing is promised about them.
func TestStrangeDatasets(t *testing.T) {
	cases := map[string]struct {
		reason  string
		content []byte
		says    string
	}{
		"LongHeader": {"A newline was forgotten, or it is no CSV.", []byte(strings.Repeat("column,", 5<<20/7) + "\n1,2\n"), "748983 columns"},
		"OneName":    {"Nor is this.", []byte(strings.Repeat("x", 5<<20) + "\n1\n"), "1 columns"},
		"NoText":     {"A picture that is called a CSV.", append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 1000)...), "bytes that are no text"},
		"UTF16":      {"What some spreadsheets call a Unicode text.", []byte("a\x00,\x00b\x00\n\x001\x00,\x002\x00\n\x00"), "UTF-16"},
		"HeaderOnly": {"An export without rows.", []byte("a,b\n"), "no row"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f, done, err := datasetOf(t, put(1, tc.content)).use(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			p, perr := f.Profile.wait(t.Context())
			text := (&server{set: settings{datasetName: "x"}}).description(f, p, perr, 256*mebibyte)
			if len(text) > 40_000 || !strings.Contains(text, tc.says) {
				t.Errorf("%s\nwant at most 40,000 bytes with %q, got %d: %.300s", tc.reason, tc.says, len(text), text)
			}
		})
	}
}

// Every setting is in --help, with the variable that a Deployment sets.
func TestSettings(t *testing.T) {
	testsettings.Check(t, func(args []string, env func(string) string, out io.Writer) error {
		_, err := parse(args, env, out)
		return err
	}, "STORAGE_EMULATOR_HOST", "TMPDIR") // read by Google's library and by Go's
}

// A bucket whose readers pay, and an object that its uploader encrypted: what Google
// wants to see goes along with every request, and the key with those alone that it
// doesn't refuse.
func TestDatasetOfOthers(t *testing.T) {
	const key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	for name, encrypted := range map[string]bool{"Encrypted": true, "Plain": false} {
		t.Run(name, func(t *testing.T) {
			reads := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if p := r.URL.Query().Get("userProject") + r.Header.Get("X-Goog-User-Project"); !strings.HasPrefix(p, "acme-data") {
					t.Errorf("%s: nobody pays", r.URL)
				}
				sent := r.Header.Get("X-Goog-Encryption-Key")
				if sent != "" && (sent != key || !encrypted) {
					t.Errorf("%s: the key went along", r.URL)
				}
				if strings.Contains(r.URL.Path, "/b/") && r.URL.Query().Get("alt") != "media" {
					body := `{"name": "x.csv", "bucket": "data", "generation": "1", "size": "8"`
					if encrypted {
						body += `, "customerEncryption": {"encryptionAlgorithm": "AES256", "keySha256": "x"}`
					}
					if sent != "" || !encrypted {
						body += `, "crc32c": "AAAAAQ=="`
					}
					_, _ = io.WriteString(w, body+"}")
					return
				}
				reads++
				if encrypted != (sent != "") {
					t.Errorf("the object is read with key %q", sent)
				}
				_, _ = io.WriteString(w, "a,b\n1,2\n")
			}))
			t.Cleanup(srv.Close)
			t.Setenv("STORAGE_EMULATOR_HOST", srv.URL)
			env := map[string]string{"DATASET_GCS_PATH": "gs://data/x.csv", "DATASET_BILLING_PROJECT": "acme-data", "DATASET_ENCRYPTION_KEY": key}
			set, err := parse(nil, func(name string) string { return env[name] }, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			c, err := newBuckets(t.Context(), slog.New(slog.DiscardHandler), "")
			if err != nil {
				t.Fatal(err)
			}
			g := &gcs{buckets: c, bucket: "data", key: "x.csv", access: set.access}
			o, err := g.Look(t.Context())
			if err != nil || o.CRC32C != 1 || o.Encrypted != encrypted {
				t.Fatalf("Look() = %+v, %v", o, err)
			}
			r, err := g.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(r); err != nil || reads != 1 {
				t.Errorf("%d reads, %v", reads, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := parse(nil, func(name string) string {
		return map[string]string{"DATASET_GCS_PATH": "gs://data/x.csv", "DATASET_ENCRYPTION_KEY": "s3cret"}[name]
	}, io.Discard); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("want a bad key refused and not shown, got %v", err)
	}
}
