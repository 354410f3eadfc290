package registry

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/csvfile"
)

// A folder of CSVs is one dataset where a person says so: with a pattern in
// Settings.Folders, with the metadata dataset=folder on an object of the folder, or by an
// XDataset whose gcsPath is the folder. It is an Object then, whose name ends in a slash
// and which has Files. Once recorded it stays a folder: metadata go with the file that
// carried them, and an agent must not find a part of its data under the name of all.

// folderMark is the value of the metadata key "dataset" that makes a folder one dataset.
const folderMark = "folder"

// folders finds the folders of a listing that are one dataset, and takes their files out
// of the objects.
func (r *register) folders(objects []Object, datasets []v1alpha1.XDataset) {
	marks := map[string]bool{}
	for _, d := range datasets {
		if object, here := r.objectOf(d); here && csvfile.IsFolder(object) {
			marks[object] = true
		}
	}
	within := map[string][]Object{}
	for _, o := range objects {
		folder := csvfile.FolderOf(o.Name)
		if folder == "" || !strings.HasPrefix(folder, r.Prefix) {
			continue
		}
		within[folder] = append(within[folder], o)
		if metadata(o, "dataset") == folderMark || r.chosen(folder) {
			marks[folder] = true
		}
	}
	for folder := range marks {
		if o, ok := r.folder(folder, within[folder]); ok {
			r.objects[folder] = o
			for _, f := range o.Files {
				delete(r.objects, f.Name)
				r.within[f.Name] = folder
			}
		}
	}
}

// chosen says whether a pattern names a folder.
func (r *register) chosen(folder string) bool {
	return slices.ContainsFunc(r.Folders, func(pattern string) bool {
		ok, err := path.Match(pattern, strings.TrimSuffix(folder, "/"))
		return ok && err == nil // patterns were checked when they came
	})
}

// folder makes one object of a folder's CSVs, in the order of their names, or says that
// there is none. What it is called is told by the object that stands for the folder, or
// by that which made it a dataset.
func (r *register) folder(name string, within []Object) (Object, bool) {
	folder := Object{Name: name}
	for _, o := range within {
		if o.Name == name || metadata(o, "dataset") == folderMark && folder.Metadata == nil {
			folder.Metadata = o.Metadata
		}
		if o.Name != name {
			folder.All = append(folder.All, o.Name)
		}
		if file, ok := r.objects[o.Name]; ok && file.Generation == o.Generation {
			folder.Files = append(folder.Files, file)
		}
	}
	slices.SortFunc(folder.Files, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
	files := make([]csvfile.File, 0, len(folder.Files))
	for _, f := range folder.Files {
		folder.Size += f.Size
		if f.packed() {
			folder.Encoding = f.Encoding
		}
		files = append(files, csvfile.File{Name: f.Name, Generation: f.Generation})
	}
	folder.Generation = csvfile.Generation(files)
	return folder, len(folder.Files) > 0
}

// Problem says why a folder can't be one dataset, whatever is in its files, or "".
func (o Object) Problem() string { return csvfile.FolderProblem(o.All) }

// A FileRead is the answer to the reading of the first bytes of a folder's file.
type FileRead struct {
	Name   string
	Size   int64 // as readers get it: unpacked
	Packed bool
	Read   Read
	Header csvfile.Header // of a file whose verdict is good
}

// JudgeFile judges one file of a folder by its first bytes, as they are stored.
func JudgeFile(o Object, first []byte, unpacked *int64) FileRead {
	f := FileRead{Name: o.Name, Size: o.Size, Packed: unpacked != nil}
	if unpacked != nil {
		f.Size = *unpacked
	}
	f.Read.Verdict = Sniff(first[:min(len(first), SniffBytes)], o.Size, o.Encoding)
	if !f.Read.Verdict.Ready() {
		return f
	}
	plain, whole := first, int64(len(first)) >= o.Size
	if isPacked(first, o.Encoding) {
		var done bool
		var err error
		if plain, _, done, err = unpack(first); err != nil {
			f.Read.Verdict = Verdict{v1alpha1.ReasonBinary, err.Error()}
			return f
		}
		whole = whole && done
	}
	if whole = whole && len(plain) <= csvfile.MaxHeader; !whole {
		plain = plain[:min(len(plain), csvfile.MaxHeader)]
	}
	header, _, err := csvfile.ReadHeader(plain, whole)
	if err != nil {
		f.Read.Verdict = Verdict{v1alpha1.ReasonNotCSV, err.Error()}
		return f
	}
	f.Header = header
	f.Read.Shape = Measure(first, o.Size, o.Encoding, unpacked)
	return f
}

// Join judges a folder by its files, in the order of their names. Files without anything in
// them take no part: engines that write in parallel leave such.
func Join(files []FileRead) Read {
	r := Read{Verdict: blankVerdict}
	if slices.ContainsFunc(files, func(f FileRead) bool { return f.Packed }) {
		size := int64(0)
		for _, f := range files {
			size += f.Size
		}
		r.Unpacked = &size
	}
	first, weight := (*FileRead)(nil), 0.0
	for i := range files {
		f := &files[i]
		switch v := f.Read.Verdict; {
		case v.Reason == v1alpha1.ReasonEmpty || v.Reason == v1alpha1.ReasonBlank:
			continue
		case !v.Ready():
			return Read{Verdict: Verdict{v.Reason, fmt.Sprintf("its file %q: %s", f.Name, v.Message)}, Unpacked: r.Unpacked}
		case first == nil:
			first, r.Verdict = f, v
			r.Shape.Columns = f.Read.Shape.Columns
		default:
			if differs := f.Header.Differs(first.Header); differs != "" {
				return Read{Verdict: Verdict{v1alpha1.ReasonColumnsDiffer, csvfile.ColumnsDiffer(f.Name, first.Name, differs)}, Unpacked: r.Unpacked}
			}
		}
		r.Shape.Rows += f.Read.Shape.Rows
		r.Shape.MemoryFactor += f.Read.Shape.MemoryFactor * float64(f.Size)
		if f.Read.Shape.MemoryFactor > 0 {
			weight += float64(f.Size)
		}
	}
	if weight > 0 {
		r.Shape.MemoryFactor = math.Ceil(r.Shape.MemoryFactor/weight*10) / 10
	}
	return r
}
