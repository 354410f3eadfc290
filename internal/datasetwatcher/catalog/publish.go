package catalog

import (
	"context"
	"crypto/sha1" //nolint:gosec // how Git names a blob
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/gitea"
)

// A Repository holds the catalog. gitea.Client implements it.
type Repository interface {
	// Head returns the id of the branch's last commit, or "" while the repository is empty.
	Head(ctx context.Context) (string, error)
	// Tree returns the SHA of each file directly in a folder at a commit, by path.
	Tree(ctx context.Context, commit, folder string) (map[string]string, error)
	// Blob returns a file by its SHA.
	Blob(ctx context.Context, sha string) ([]byte, error)
	// Commit makes all changes or none. It returns gitea.ErrConflict if a file is
	// not what a change says it is.
	Commit(ctx context.Context, message string, changes []gitea.Change) error
}

// A Snapshot is what the catalog should show.
type Snapshot struct {
	Datasets []v1alpha1.XDataset

	// Complete says that the registry has been brought in line with a complete
	// listing that was believed. Nothing is removed from the catalog otherwise.
	Complete bool

	// Removed names datasets that the watcher has removed from the registry.
	Removed []string

	// AcceptFall is how many entities without a dataset a person has declared to
	// be right to go.
	AcceptFall int
}

// A Report says what a publication did.
type Report struct {
	Created, Updated, Deleted, Commits int

	// Held are entities without a dataset that were left, because they are more
	// than is believed at once, or because the registry is in doubt.
	Held []string
	// Foreign are files in the entity folder that this watcher did not write.
	Foreign []string
	// Doubt says that Held are too many at once: a person must decide.
	Doubt bool
}

// A Publisher brings a repository in line with snapshots. It is not safe for
// concurrent use.
type Publisher struct {
	Layout

	Repository Repository

	// MaxFall is the share of the entities, 0 to 1, that may lose their dataset
	// unexplained and still be removed.
	MaxFall float64

	// owners remembers who wrote a file, by SHA: true is this watcher.
	owners map[string]bool
	// settled is the commit at which nothing had to be done, for the wish told by
	// its hash.
	settled, wish string
	held          Report
}

const (
	// filesPerCommit bounds the size of a request, and how long it takes.
	filesPerCommit = 100
	// conflicts is how often a publication starts anew because the repository moved.
	conflicts = 5
)

// Publish brings the repository in line with the snapshot. While neither changes it
// costs one request. After an error the next call goes on.
func (p *Publisher) Publish(ctx context.Context, s Snapshot) (Report, error) {
	if p.owners == nil {
		p.owners = map[string]bool{}
	}
	total := Report{}
	for attempt := 0; ; attempt++ {
		r, err := p.publish(ctx, s)
		total.Created += r.Created
		total.Updated += r.Updated
		total.Deleted += r.Deleted
		total.Commits += r.Commits
		total.Held, total.Foreign, total.Doubt = r.Held, r.Foreign, r.Doubt
		if !errors.Is(err, gitea.ErrConflict) || attempt == conflicts {
			return total, err
		}
	}
}

func (p *Publisher) publish(ctx context.Context, s Snapshot) (Report, error) {
	files, err := p.Files(s.Datasets)
	if err != nil {
		return Report{}, fmt.Errorf("cannot write the datasets' entities: %w", err)
	}
	commit, err := p.Repository.Head(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("cannot read the catalog's branch: %w", err)
	}
	wish := hashOf(files, s)
	if commit != "" && commit == p.settled && wish == p.wish {
		return p.held, nil
	}
	have := map[string]string{}
	if commit != "" {
		for _, folder := range []string{p.EntityFolder(), p.Folder} {
			tree, err := p.Repository.Tree(ctx, commit, folder)
			if err != nil {
				return Report{}, fmt.Errorf("cannot list the catalog's folder %s: %w", folder, err)
			}
			maps.Copy(have, tree)
		}
	}
	changes, r, err := p.compare(ctx, s, files, have)
	if err != nil {
		return Report{}, err
	}
	done, err := p.commit(ctx, changes)
	done.Held, done.Foreign, done.Doubt = r.Held, r.Foreign, r.Doubt
	if err != nil {
		return done, err
	}
	if len(changes) == 0 {
		p.settled, p.wish, p.held = commit, wish, Report{Held: r.Held, Foreign: r.Foreign, Doubt: r.Doubt}
	}
	return done, nil
}

// compare returns the changes that lead from the files that are there to those
// that should be, in an order in which the location file never names a file
// that is not there: new files, then the location, then deletions.
func (p *Publisher) compare(ctx context.Context, s Snapshot, files map[string][]byte, have map[string]string) ([]gitea.Change, Report, error) {
	r := Report{}
	orphans := []string{} // ours, without a dataset
	entities := 0
	for _, file := range sortedKeys(have) {
		if !strings.HasPrefix(file, p.EntityFolder()+"/") {
			continue
		}
		if _, wanted := files[file]; wanted {
			entities++
			continue
		}
		owned, err := p.wrote(ctx, file, have[file])
		switch {
		case err != nil:
			return nil, r, err
		case owned:
			entities++
			orphans = append(orphans, file)
		default:
			r.Foreign = append(r.Foreign, file)
		}
	}
	unexplained := slices.DeleteFunc(slices.Clone(orphans), func(f string) bool { return slices.Contains(s.Removed, p.dataset(f)) })
	r.Doubt = s.Complete && float64(len(unexplained)) > p.MaxFall*float64(entities) && len(unexplained) > s.AcceptFall
	switch {
	case !s.Complete:
		r.Held = orphans
	case r.Doubt:
		r.Held = unexplained
	}

	changes := []gitea.Change{}
	names := []string{}
	for _, file := range sortedKeys(files) {
		names = append(names, p.dataset(file))
		if sha := have[file]; sha != blobSHA(files[file], sha) {
			changes = append(changes, gitea.Change{Path: file, Before: sha, After: files[file]})
		}
	}
	for _, file := range r.Held {
		names = append(names, p.dataset(file))
	}
	location, err := p.Location(names)
	if err != nil {
		return nil, r, fmt.Errorf("cannot write the location file: %w", err)
	}
	if sha := have[p.LocationFile()]; sha != blobSHA(location, sha) {
		changes = append(changes, gitea.Change{Path: p.LocationFile(), Before: sha, After: location})
	}
	for _, file := range orphans {
		if !slices.Contains(r.Held, file) {
			changes = append(changes, gitea.Change{Path: file, Before: have[file]})
		}
	}
	return changes, r, nil
}

// wrote says whether this watcher wrote a file. A file that is no entity's, or
// can't be read as one, is somebody else's.
func (p *Publisher) wrote(ctx context.Context, file, sha string) (bool, error) {
	if p.dataset(file) == "" {
		return false, nil
	}
	if owned, known := p.owners[sha]; known {
		return owned, nil
	}
	blob, err := p.Repository.Blob(ctx, sha)
	if err != nil {
		return false, fmt.Errorf("cannot read %s: %w", file, err)
	}
	p.owners[sha] = p.owned(blob)
	return p.owners[sha], nil
}

func (p *Publisher) commit(ctx context.Context, changes []gitea.Change) (Report, error) {
	done := Report{}
	for part := range slices.Chunk(changes, filesPerCommit) {
		r := Report{Commits: 1}
		for _, c := range part {
			switch {
			case c.After == nil:
				r.Deleted++
			case c.Before == "":
				r.Created++
			default:
				r.Updated++
			}
		}
		if err := p.Repository.Commit(ctx, message(part), part); err != nil {
			return done, fmt.Errorf("cannot commit to the catalog: %w", err)
		}
		done.Created += r.Created
		done.Updated += r.Updated
		done.Deleted += r.Deleted
		done.Commits++
	}
	return done, nil
}

// message says in a line what a commit does, and in the next ones to which files.
func message(changes []gitea.Change) string {
	verbs := map[string][]string{}
	for _, c := range changes {
		verb := "update"
		if c.Before == "" {
			verb = "add"
		}
		if c.After == nil {
			verb = "remove"
		}
		verbs[verb] = append(verbs[verb], c.Path)
	}
	subject, body := []string{}, ""
	for _, verb := range sortedKeys(verbs) {
		n := "1 file"
		if len(verbs[verb]) > 1 {
			n = fmt.Sprintf("%d files", len(verbs[verb]))
		}
		subject = append(subject, verb+" "+n)
		for _, f := range verbs[verb] {
			body += "\n" + verb + " " + f
		}
	}
	return "datasets: " + strings.Join(subject, ", ") + "\n" + body + "\n"
}

// blobSHA names a file as Git does, with the hash that an existing name, if
// there is one, was made with.
func blobSHA(file []byte, existing string) string {
	h := sha1.New() //nolint:gosec // how Git names a blob
	if len(existing) == hex.EncodedLen(sha256.Size) {
		h = sha256.New()
	}
	fmt.Fprintf(h, "blob %d\x00", len(file))
	h.Write(file)
	return hex.EncodeToString(h.Sum(nil))
}

func hashOf(files map[string][]byte, s Snapshot) string {
	h := sha256.New()
	for _, f := range sortedKeys(files) {
		fmt.Fprintf(h, "%s\x00%d\x00%s", f, len(files[f]), files[f])
	}
	fmt.Fprintf(h, "%t %d %q", s.Complete, s.AcceptFall, slices.Sorted(slices.Values(s.Removed)))
	return hex.EncodeToString(h.Sum(nil))
}
