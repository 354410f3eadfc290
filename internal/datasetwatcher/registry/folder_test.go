package registry

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/csvfile"
)

// mark says of an object that its folder is one dataset.
func mark(o Object) Object {
	o.Metadata = map[string]string{"Dataset": "folder", "display-name": "All sales"}
	return o
}

func emptyCluster() (*cluster, *Memory) {
	return &cluster{datasets: map[string]v1alpha1.XDataset{}}, &Memory{}
}

func TestFolders(t *testing.T) {
	withMark := objects("sales/1.csv", "sales/2.csv", "other.csv")
	withMark[1] = mark(withMark[1])
	placeholder := append(objects("sales/1.csv", "sales/2.csv"), mark(Object{Name: "sales/", Generation: 9}))
	atRoot := objects("1.csv", "2.csv")
	atRoot[0] = mark(atRoot[0])
	cases := map[string]struct {
		reason  string
		folders []string
		objects []Object
		want    string
	}{
		"NobodySaysSo": {"Two files in a folder are two datasets, as ever.", nil, objects("sales/1.csv", "sales/2.csv"), "sales-1 sales-2"},
		"Flag":         {"A platform knows its exports.", []string{"sales"}, objects("sales/1.csv", "sales/2.csv", "other.csv"), "other sales"},
		"Pattern":      {"Each day has a folder.", []string{"daily/*"}, objects("daily/1/a.csv", "daily/1/b.csv", "daily/2/a.csv", "daily/x.csv"), "daily-1 daily-2 daily-x"},
		"Below":        {"What lies deeper would lose the column that its folder's name is.", []string{"sales"}, objects("sales/1.csv", "sales/year=2024/1.csv"), "sales sales-year-2024-1"},
		"Metadata":     {"Who uploads says so with a file.", nil, withMark, "other sales"},
		"Placeholder":  {"Google's console makes an object for an empty folder.", nil, placeholder, "sales"},
		"Root":         {"A whole bucket is no folder.", nil, atRoot, "1 2"},
		"NoCSV":        {"There is nothing to read yet.", []string{"sales"}, objects("sales/_SUCCESS", "sales/a.txt"), ""},
		"OneName":      {"A file and a folder may want one name.", []string{"sales"}, objects("sales.csv", "sales/1.csv"), "sales-ba9747a9 sales-ff0ebb4c"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, _ := emptyCluster()
			s := settings
			s.Folders = tc.folders
			p := Make(s, Memory{}, World{Objects: tc.objects, Reads: readAll(tc.objects)}, noon)
			c.carryOut(p, -1)
			if got := c.names(); got != tc.want {
				t.Errorf("%s\nwant %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

// A folder's record is the sum of its files, has a generation of all of them, and is called
// what its metadata say; a single CSV's has nothing of it.
func TestFolderRecord(t *testing.T) {
	c, m := emptyCluster()
	l := objects("sales/2.csv", "sales/1.csv", "one.csv")
	l[0] = mark(l[0])
	c.passFolders(m, l)
	d := c.datasets["sales"]
	if d.Spec.GCSPath != "gs://data/sales/" || d.Spec.SizeBytes != 4_000_000 || d.Spec.DisplayName != "All sales" || d.Status.SizeHuman != "3.8 MiB" {
		t.Errorf("unexpected spec or size: %+v, %s", d.Spec, d.Status.SizeHuman)
	}
	if d.Status.Files != 2 || d.Status.CRC32C != "" || !d.Status.Ready {
		t.Errorf("want two files, no checksum and ready, got %+v", d.Status)
	}
	if one := c.datasets["one"]; one.Status.Files != 0 || one.Status.CRC32C == "" {
		t.Errorf("want a single CSV's record as ever, got %+v", one.Status)
	}
	if p := c.passFolders(m, l); len(p.Updates) > 0 {
		t.Errorf("nothing moved, and this is written: %+v", p.Updates)
	}
}

// passFolders runs one pass in which every folder is read well too.
func (c *cluster) passFolders(m *Memory, objects []Object) Plan {
	w := World{Objects: objects, Datasets: c.list(), Reads: readAll(objects), Usage: Usage{Known: true}}
	for _, o := range Unread(settings, objects, c.list()) {
		w.Reads[o.Name] = Read{Verdict: goodVerdict}
	}
	p := Make(settings, *m, w, noon)
	c.carryOut(p, -1)
	*m = p.Memory
	return p
}

// What becomes of a folder: a file comes, goes, is replaced, the mark goes, all go.
func TestFolderHistory(t *testing.T) {
	c, m := emptyCluster()
	l := objects("sales/1.csv", "sales/2.csv", "a.csv", "b.csv")
	c.passFolders(m, l)
	if got, want := c.names(), "a b sales-1 sales-2"; got != want {
		t.Fatalf("want %s, got %s", want, got)
	}
	// Somebody says that the folder is one dataset: its files' own ones go, and that is no
	// fall, though it is half of the registry.
	l[0] = mark(l[0])
	if p := c.passFolders(m, l); p.Fall != nil {
		t.Fatalf("the registry fell: %+v", p.Fall)
	}
	if got := c.say("sales-1"); !strings.Contains(got, "Ready=False/Duplicate") {
		t.Errorf("want the file's own dataset to give way, got %s", got)
	}
	c.passFolders(m, l)
	if got, want := c.names(), "a b sales"; got != want {
		t.Fatalf("want %s, got %s", want, got)
	}
	generation := c.datasets["sales"].Status.Generation
	moved := func(what string) {
		t.Helper()
		c.passFolders(m, l)
		now := c.datasets["sales"].Status.Generation
		if now == generation {
			t.Errorf("%s, and the generation is still %s", what, now)
		}
		generation = now
	}
	l[1].Generation++
	moved("a file was replaced")
	l = append(l, objects("sales/3.csv")...)
	moved("a file came")
	// A file goes, and with it the mark: what is recorded stays a folder.
	l = l[1:]
	p := c.passFolders(m, l)
	if d := c.datasets["sales"]; d.Status.Files != 2 || d.Status.Generation == generation || c.names() != "a b sales" {
		t.Errorf("want the folder with two files, got %s, %+v", c.names(), d.Status)
	}
	if i := slices.IndexFunc(p.Updates, func(u Update) bool { return u.Dataset.Name == "sales" }); i < 0 || p.Updates[i].FilesBefore != 3 {
		t.Errorf("want to hear that there were three files before, got %+v", p.Updates)
	}
	// All files go: the dataset goes as any other.
	l = objects("a.csv", "b.csv", "c.csv", "sales/_SUCCESS")
	c.passFolders(m, l)
	if got := c.say("sales"); !strings.Contains(got, "Ready=False/ObjectMissing") {
		t.Errorf("want the folder to be missing, got %s", got)
	}
	c.passFolders(m, l)
	if got, want := c.names(), "a b c"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
}

// Whoever makes an XDataset whose path is a folder has said that it is one.
func TestFolderByHand(t *testing.T) {
	c, m := emptyCluster()
	l := objects("sales/1.csv", "sales/2.csv")
	c.datasets["mine"] = v1alpha1.XDataset{Spec: v1alpha1.XDatasetSpec{GCSPath: "gs://data/sales/", DisplayName: "x"}}
	d := c.datasets["mine"]
	d.Name = "mine"
	c.datasets["mine"] = d
	c.passFolders(m, l)
	if got, want := c.names(), "mine"; got != want || c.datasets["mine"].Status.Files != 2 {
		t.Errorf("want %s with two files, got %s, %+v", want, got, c.datasets["mine"].Status)
	}
}

// What keeps a folder from being one dataset is said with the file's name and the way out,
// whatever the other files are like.
func TestFolderProblems(t *testing.T) {
	many := make([]string, csvfile.MaxFiles+1)
	for i := range many {
		many[i] = "sales/" + itoa(int64(i)) + ".csv"
	}
	cases := map[string]struct {
		reason  string
		objects []string
		want    string // "": none
	}{
		"Fine":        {"Spark's own files and an upload under way are no part of it.", []string{"sales/_SUCCESS", "sales/1.csv", "sales/.1.csv.crc", "sales/2.csv.part", "sales/readme.txt"}, ""},
		"Packed":      {"What it holds would be missed in every figure.", []string{"sales/1.csv", "sales/2.csv.gz"}, `its file "sales/2.csv.gz" would be missing: it is compressed`},
		"InCapitals":  {"As a single file is.", []string{"sales/1.csv", "sales/2.CSV"}, `its file "sales/2.CSV" would be missing: its name must end in .csv`},
		"TooMany":     {"Every reader fetches each of them.", many, "it has 1001 files, and a folder that is one dataset has at most 1000"},
		"PackedBelow": {"What lies deeper is none of this dataset.", []string{"sales/1.csv", "sales/old/2.csv.gz"}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, m := emptyCluster()
			l := objects(tc.objects...)
			i := slices.IndexFunc(l, func(o Object) bool { return o.Name == "sales/1.csv" })
			l[i] = mark(l[i])
			c.passFolders(m, l)
			d := c.datasets["sales"]
			ready := d.Status.Conditions[0]
			if d.Status.Ready != (tc.want == "") || !strings.HasPrefix(ready.Message, tc.want) {
				t.Errorf("%s\nwant %q, got ready=%t %s: %s", tc.reason, tc.want, d.Status.Ready, ready.Reason, ready.Message)
			}
			if tc.want != "" && ready.Reason != v1alpha1.ReasonFolderUnusable {
				t.Errorf("want reason FolderUnusable, got %s", ready.Reason)
			}
		})
	}
}

func TestJoin(t *testing.T) {
	read := func(name, content string) FileRead {
		return JudgeFile(Object{Name: name, Size: int64(len(content))}, []byte(content), nil)
	}
	cases := map[string]struct {
		reason string
		files  []FileRead
		want   string // the verdict's reason
		says   string
		rows   int64
	}{
		"Same":      {"This is what exports look like.", []FileRead{read("1.csv", "a,b\n1,2\n"), read("2.csv", "a,b\n3,4\n5,6\n")}, v1alpha1.ReasonAvailable, "", 3},
		"Mark":      {"Excel writes a byte order mark, others don't.", []FileRead{read("1.csv", "\xef\xbb\xbfa,b\r\n1,2\r\n"), read("2.csv", "\"a\",\"b\"\n3,4\n")}, v1alpha1.ReasonAvailable, "", 2},
		"Empty":     {"A worker that had no rows leaves an empty file.", []FileRead{read("1.csv", ""), read("2.csv", "a,b\n3,4\n"), read("3.csv", " \n")}, v1alpha1.ReasonAvailable, "", 1},
		"OnlyHead":  {"Another leaves the header alone.", []FileRead{read("1.csv", "a,b\n1,2\n"), read("2.csv", "a,b\n")}, v1alpha1.ReasonAvailable, "", 1},
		"AllEmpty":  {"There is nothing to read.", []FileRead{read("1.csv", "\n"), read("2.csv", " ")}, v1alpha1.ReasonBlank, "", 0},
		"OtherName": {"A column that means something else.", []FileRead{read("1.csv", "a,b\n1,2\n"), read("2.csv", "a,c\n3,4\n")}, v1alpha1.ReasonColumnsDiffer, `its file "2.csv" has other columns than "1.csv": column 2 is called "b" there and "c" here`, 0},
		"Fewer":     {"A column was added in the meantime.", []FileRead{read("1.csv", "a,b\n1,2\n"), read("2.csv", "a\n3\n")}, v1alpha1.ReasonColumnsDiffer, "it has 2 columns there and 1 here", 0},
		"NoHeader":  {"Spark writes none unless it is told to.", []FileRead{read("1.csv", "1,2\n3,4\n"), read("2.csv", "5,6\n")}, v1alpha1.ReasonColumnsDiffer, "the first line of all files must be the same, with the columns' names", 0},
		"Separator": {"Put behind each other they are no table.", []FileRead{read("1.csv", "a,b\n1,2\n"), read("2.csv", "a;b\n3;4\n")}, v1alpha1.ReasonColumnsDiffer, `"," stands between the columns there and ";" here`, 0},
		"Picture":   {"One file of another kind spoils all, and is named.", []FileRead{read("1.csv", "a,b\n1,2\n"), read("2.csv", "\x89PNG\r\n\x1a\n")}, v1alpha1.ReasonBinary, `its file "2.csv": the file is no CSV but begins like a picture`, 0},
		"Endless":   {"A header without an end is none.", []FileRead{JudgeFile(Object{Name: "1.csv", Size: 1 << 20}, []byte(strings.Repeat("abc,", 20_000)), nil)}, v1alpha1.ReasonNotCSV, "the first line goes on and on", 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := Join(tc.files)
			if r.Verdict.Reason != tc.want || !strings.Contains(r.Verdict.Message, tc.says) || r.Shape.Rows != tc.rows {
				t.Errorf("%s\nwant %s, %q and %d rows, got %+v", tc.reason, tc.want, tc.says, tc.rows, r)
			}
		})
	}
}

// Packed files count as what readers get of them, beside plain ones.
func TestJoinPacked(t *testing.T) {
	content := "a,b\n1,2\n3,4\n"
	first, n := gzipped(t, content), int64(len(content))
	o := Object{Name: "1.csv", Size: int64(len(first)), Encoding: "gzip"}
	r := Join([]FileRead{JudgeFile(o, []byte(first), &n), JudgeFile(Object{Name: "2.csv", Size: 8}, []byte("a,b\n5,6\n"), nil)})
	if r.Unpacked == nil || *r.Unpacked != n+8 || r.Shape.Rows != 3 || r.Shape.Columns != 2 || r.Shape.MemoryFactor <= 0 {
		t.Errorf("want %d bytes, 3 rows of 2 columns, and what they take, got %+v", n+8, r)
	}
}

// Whatever files a folder has: its generation is the same in any order, and another one
// after any change.
func TestFolderGeneration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-c "\n]{1,3}`), 1, 6, rapid.ID).Draw(t, "names")
		files := make([]csvfile.File, len(names))
		for i, n := range names {
			files[i] = csvfile.File{Name: n, Generation: rapid.Int64Range(0, 3).Draw(t, "generation")}
		}
		before := csvfile.Generation(files)
		if again := csvfile.Generation(rapid.Permutation(files).Draw(t, "order")); again != before || before < 0 {
			t.Fatalf("%v: %d, and in another order %d", files, before, again)
		}
		i := rapid.IntRange(0, len(files)-1).Draw(t, "which")
		changed := slices.Clone(files)
		if rapid.Bool().Draw(t, "replaced") {
			changed[i].Generation += 4
		} else {
			changed = slices.Delete(changed, i, i+1)
		}
		if after := csvfile.Generation(changed); after == before {
			t.Fatalf("%v and %v have one generation: %d", files, changed, after)
		}
	})
}
