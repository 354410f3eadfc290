package datasetwatcher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/csvfile"
	"whisperops.io/functions/internal/datasetwatcher/catalog"
	"whisperops.io/functions/internal/datasetwatcher/registry"
	"whisperops.io/functions/internal/gcsaccess"
)

// A watcher keeps the registry in line with the bucket, and the catalog with the
// registry. The two run beside each other, so that neither waits for the other's
// servers. It runs in the leader only.
type watcher struct {
	settings registry.Settings
	interval time.Duration
	// listingTimeout bounds one listing, passTimeout everything else of a pass.
	listingTimeout, passTimeout time.Duration

	bucket Bucket
	// notifications bring passes forward; nil: there are none.
	notifications *notifications

	cluster   *cluster
	journal   *journal
	publisher *catalog.Publisher // nil: no catalog
	events    events.EventRecorder
	metrics   *metrics
	log       logr.Logger
	now       func() time.Time

	memory    registry.Memory
	sizes     *sizes
	last      string // the object that was read last
	waiting   int    // objects that wait for later passes
	told      told
	snapshots chan catalog.Snapshot // at most the newest one

	mu     sync.Mutex
	health health
	shelf  shelf
}

// told is what people were told already, so that nothing is said twice.
type told struct {
	problem string // of the last pass, "" if there was none
	catalog string // of the last publication
	missing int    // of the fall
	fall    string // what to do about it
	ignored []csvfile.Ignored
}

// health is what the probes see.
type health struct {
	leading  bool
	began    time.Time // when this process began to lead
	progress time.Time // when the loop last moved
	listed   time.Time // when a listing was last complete; zero: never
}

// shelf is what the publication tells the passes.
type shelf struct {
	problem string   // of the last publication, "" if there was none
	settled bool     // whether the last publication succeeded and left nothing in doubt
	gone    []string // removed datasets whose entities are out of the catalog
}

// passTimeout is enough for a thousand creations against a slow API server.
const passTimeout = 10 * time.Minute

// readsPerPass is how many objects a pass reads at most. What it read it records, and the
// next one begins at once: a bucket with ever so many names is worked off, not read for ever.
const readsPerPass = 1000

// NeedLeaderElection makes two replicas take turns.
func (*watcher) NeedLeaderElection() bool { return true }

// Start runs passes until the context ends: one at once, and one each interval,
// give or take a tenth, so that watchers of many clusters don't list in step.
func (w *watcher) Start(ctx context.Context) error {
	w.mu.Lock()
	w.health.leading, w.health.began, w.health.progress = true, w.now(), w.now()
	w.mu.Unlock()
	wg := sync.WaitGroup{}
	defer wg.Wait()
	if w.publisher != nil {
		wg.Go(func() { w.publish(ctx) })
	}
	if w.notifications != nil {
		wg.Go(func() { w.notifications.listen(ctx) })
	}
	for {
		ok := w.pass(ctx)
		w.mu.Lock()
		w.health.progress = w.now()
		w.mu.Unlock()
		if !w.wait(ctx, ok) {
			return nil
		}
	}
}

// retryInterval is how soon the bucket is listed again where its notifications can't be
// relied on, or the last pass failed.
const retryInterval = 30 * time.Second

// until is the time to the next pass, after one that was all right or wasn't.
func (w *watcher) until(ok bool) time.Duration {
	if !ok || w.notifications != nil && w.notifications.failing.Load() {
		return min(w.interval, retryInterval)
	}
	return w.interval
}

// wait returns when the next pass is due, by the clock or by a notification, and false
// when the context ended.
func (w *watcher) wait(ctx context.Context, ok bool) bool {
	if ok && w.waiting > 0 {
		w.log.Info("Objects wait to be read", "objects", w.waiting)
		return ctx.Err() == nil
	}
	var wake chan struct{}
	if w.notifications != nil {
		wake = w.notifications.wake
	}
	t := time.NewTimer(jittered(w.until(ok)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-wake:
	}
	return ctx.Err() == nil
}

func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) } //nolint:gosec // no secret

// sleep returns false when the context ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// pass looks at the bucket once and brings the registry in line with it. Whatever
// fails is told in the log, in the ConfigMap, in an event and in the metrics, and
// tried again by the next pass. It says whether all went well.
func (w *watcher) pass(ctx context.Context) bool {
	began := w.now()
	ctx, cancel := context.WithTimeout(ctx, w.listingTimeout+w.passTimeout)
	defer cancel()
	err := w.look(ctx)
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return false // the process ends, or leads no more
	}
	w.metrics.pass.Observe(w.now().Sub(began).Seconds())
	w.tell(ctx, err)
	return err == nil
}

// A listingError is a failure that leaves the bucket unknown.
type listingError struct{ error }

func (w *watcher) look(ctx context.Context) error {
	if err := w.journal.read(ctx); err != nil {
		return err
	}
	datasets, err := w.cluster.Datasets(ctx)
	if err != nil {
		return fmt.Errorf("cannot list XDatasets: %w", err)
	}
	objects, err := w.list(ctx)
	if err != nil {
		// The registry stays as it is, and so does the catalog, but for what an
		// earlier publication could not do.
		w.offer(catalog.Snapshot{Datasets: w.own(datasets)})
		if a := gcsaccess.Advice(err); a != "" {
			err = fmt.Errorf("%s (%w)", a, err)
		}
		return listingError{fmt.Errorf("cannot list gs://%s/%s: %w", w.settings.Bucket, w.settings.Prefix, err)}
	}
	unread, later, last := registry.Batch(registry.Unread(w.settings, objects, datasets), w.last, readsPerPass)
	w.last, w.waiting = last, len(later)
	world := registry.World{
		Objects:    objects,
		Datasets:   datasets,
		Reads:      w.read(ctx, unread),
		Later:      later,
		AcceptFall: w.journal.accepted(),
	}
	var usageErr error
	if len(registry.Missing(w.settings, objects, datasets)) > 0 {
		if world.Usage, usageErr = w.cluster.Usage(ctx); usageErr != nil {
			usageErr = fmt.Errorf("cannot list XDatasetAgents, so that no dataset is removed: %w", usageErr)
		}
	}
	plan := registry.Make(w.settings, w.memory, world, w.now())
	if len(plan.Removes) > 0 {
		if err := w.journal.remember(ctx, names(plan.Removes)); err != nil {
			return err
		}
		w.mu.Lock() // what an earlier dataset of the name has come to says nothing of this one
		w.shelf.gone = without(w.shelf.gone, names(plan.Removes))
		w.mu.Unlock()
	}
	keep, applyErr := w.cluster.Apply(ctx, plan)
	w.memory = plan.Memory
	w.note(plan)
	removed := without(w.journal.removed(), names(keep))
	w.offer(catalog.Snapshot{
		Datasets: w.own(keep), Complete: plan.Fall == nil && applyErr == nil, Removed: removed, AcceptFall: world.AcceptFall,
	})
	return errors.Join(usageErr, applyErr, w.write(ctx, plan, keep, removed))
}

func (w *watcher) list(ctx context.Context) ([]registry.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, w.listingTimeout)
	defer cancel()
	began := w.now()
	objects, err := w.bucket.List(ctx)
	if err != nil {
		w.metrics.listings.WithLabelValues("failed").Inc()
		return nil, err
	}
	w.metrics.listings.WithLabelValues("complete").Inc()
	w.metrics.listing.Observe(w.now().Sub(began).Seconds())
	w.metrics.listed.Set(float64(w.now().Unix()))
	w.mu.Lock()
	w.health.listed = w.now()
	w.mu.Unlock()
	return objects, nil
}

// note logs what a plan changed, and tells a fall.
func (w *watcher) note(p registry.Plan) {
	for _, d := range p.Creates {
		w.log.Info("Recorded dataset", "dataset", d.Name, "gcs-path", d.Spec.GCSPath, "ready", d.Status.Ready)
	}
	for _, u := range p.Updates {
		w.log.V(1).Info("Updated dataset", "dataset", u.Dataset.Name, "spec", u.Spec, "status", u.Status)
		if u.FilesBefore > u.Dataset.Status.Files && u.Dataset.Status.Files > 0 {
			note := fmt.Sprintf("%s of dataset %s holds %d files and held %d: what answers from now on lacks what stood in the others; if that is wrong, upload them again", u.Dataset.Spec.GCSPath, u.Dataset.Name, u.Dataset.Status.Files, u.FilesBefore)
			w.log.Info("Files vanished from a folder", "dataset", u.Dataset.Name, "files", u.Dataset.Status.Files, "before", u.FilesBefore)
			w.event(corev1.EventTypeWarning, "FilesVanished", "List", note)
		}
	}
	for _, d := range p.Removes {
		w.log.Info("Removed dataset", "dataset", d.Name, "gcs-path", d.Spec.GCSPath)
		w.event(corev1.EventTypeNormal, "DatasetRemoved", "Remove", fmt.Sprintf("%d complete listings in a row lacked %s, and no agent used dataset %s", w.settings.RemoveAfter, d.Spec.GCSPath, d.Name))
	}
	if !slices.Equal(p.Ignored, w.told.ignored) {
		w.told.ignored = p.Ignored
		w.log.Info("Some objects look like datasets and are none", "objects", p.Ignored)
	}
	missing := 0
	if p.Fall != nil {
		missing = len(p.Fall.Missing)
	}
	w.metrics.fall.Set(float64(missing))
	switch {
	case missing > 0 && missing != w.told.missing:
		w.told.fall = w.fallMessage(*p.Fall)
		w.log.Info("Registry fell: nothing is removed", "missing", p.Fall.Missing, "of", p.Fall.Of)
		w.event(corev1.EventTypeWarning, v1alpha1.ReasonRegistryFell, "List", w.told.fall)
	case missing == 0 && w.told.missing > 0:
		w.told.fall = ""
		w.log.Info("Listing is believed again")
		w.event(corev1.EventTypeNormal, "RegistryVerified", "List", "the listing of the bucket is believed again")
	}
	w.told.missing = missing
}

func (w *watcher) fallMessage(f registry.Fall) string {
	return fmt.Sprintf("%d of %d datasets are missing from a complete listing of gs://%s/%s, more than %g %% at once: nothing is removed. If that is wrong, bring the objects back, or correct the watcher's --bucket and --prefix. If it is right, say so: kubectl annotate %s %s=%d",
		len(f.Missing), f.Of, w.settings.Bucket, w.settings.Prefix, w.settings.MaxFall*100, w.settings.StatusObject, AcceptFallAnnotation, len(f.Missing))
}

// write puts what moves at every pass on the one object that may move.
func (w *watcher) write(ctx context.Context, p registry.Plan, keep []v1alpha1.XDataset, removed []string) error {
	states := map[string]int{stateReady: 0, stateNotReady: 0, stateMissing: 0, stateUnverified: 0}
	for _, d := range keep {
		states[stateOf(d)]++
	}
	for s, n := range states {
		w.metrics.datasets.WithLabelValues(s).Set(float64(n))
	}
	w.metrics.objects.WithLabelValues("ignored").Set(float64(len(p.Ignored)))
	reasons := map[string]int{}
	for _, i := range p.Ignored {
		reasons[i.Reason]++
	}
	for _, reason := range csvfile.IgnoredReasons() {
		w.metrics.ignored.WithLabelValues(reason).Set(float64(reasons[reason]))
	}
	w.metrics.objects.WithLabelValues("csv").Set(float64(p.Objects))

	w.mu.Lock()
	shelf := w.shelf
	listed := w.health.listed
	w.mu.Unlock()
	pending := without(removed, shelf.gone)
	if w.publisher == nil {
		pending = nil
	}
	// A person's acceptance has served when nothing that it covers is left to do.
	served := p.Fall == nil && p.Pending == 0 && len(p.Removes) == 0 && len(pending) == 0 && (w.publisher == nil || shelf.settled)
	return w.journal.write(ctx, map[string]string{
		keyBucket:   "gs://" + w.settings.Bucket + "/" + w.settings.Prefix,
		keyListed:   listed.UTC().Format(time.RFC3339),
		keyObjects:  strconv.Itoa(p.Objects),
		keyDatasets: strconv.Itoa(len(keep)),
		keyReady:    strconv.Itoa(states[stateReady]),
		keyMissing:  strconv.Itoa(states[stateMissing]),
		keyRemoved:  list(pending),
		keyIgnored:  ignored(p.Ignored),
	}, served)
}

// ignoredNamed is how many objects the ConfigMap names.
const ignoredNamed = 20

// ignored says, line by line, what looks like a dataset and is none, and why.
func ignored(all []csvfile.Ignored) string {
	var b strings.Builder
	for i, o := range all {
		if i == ignoredNamed {
			fmt.Fprintf(&b, "and %d more; the log names them all\n", len(all)-ignoredNamed)
			break
		}
		fmt.Fprintf(&b, "%q: %s\n", o.Object, o.Advice)
	}
	return b.String()
}

func stateOf(d v1alpha1.XDataset) string {
	c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDatasetVerified)
	switch {
	case c != nil && c.Reason == v1alpha1.ReasonRegistryFell:
		return stateUnverified
	case c != nil && c.Reason == v1alpha1.ReasonObjectMissing:
		return stateMissing
	case d.Status.Ready:
		return stateReady
	default:
		return stateNotReady
	}
}

// tell says what is wrong where people look: in the ConfigMap while it lasts, in
// an event when it begins and when it ends. The log has it at every pass.
func (w *watcher) tell(ctx context.Context, err error) {
	problem, reason := "", "PassFailed"
	if err != nil {
		problem = err.Error()
		w.log.Error(err, "Pass failed")
	}
	if errors.As(err, &listingError{}) {
		reason = "ListingFailed"
		problem += "; the registry stays as it was"
	}
	w.mu.Lock()
	catalog := w.shelf.problem
	w.mu.Unlock()
	w.change(&w.told.problem, problem, reason, "PassSucceeded", "the registry is in line with the bucket again")
	w.change(&w.told.catalog, catalog, "CatalogNotInLine", "CatalogInLine", "the catalog is in line with the registry again")
	if w.journal.object == nil {
		return
	}
	if problem == "" {
		problem = w.told.fall
	}
	if err := w.journal.write(ctx, map[string]string{keyProblem: problem, keyCatalog: catalog}, false); err != nil {
		w.log.Error(err, "Status was not written")
	}
}

// change tells that a problem began or ended. One that only reads differently
// than a moment ago is not told again.
func (w *watcher) change(before *string, now, reason, endReason, end string) {
	switch {
	case now != "" && *before == "":
		w.event(corev1.EventTypeWarning, reason, "Watch", now)
	case now == "" && *before != "":
		w.log.Info("Problem is over", "problem", *before)
		w.event(corev1.EventTypeNormal, endReason, "Watch", end)
	}
	*before = now
}

// event tells about the ConfigMap, where kubectl describe shows it.
func (w *watcher) event(kind, reason, action, note string) {
	if w.journal.object == nil {
		return
	}
	if r := []rune(note); len(r) > eventLength {
		note = string(r[:eventLength-1]) + "…"
	}
	w.events.Eventf(w.journal.object, nil, kind, reason, action, "%s", note)
}

// eventLength is what the API server accepts, 1024 bytes, with room for wider characters.
const eventLength = 900

// offer hands the newest snapshot to the publication, in the place of an older one.
func (w *watcher) offer(s catalog.Snapshot) {
	if w.publisher == nil {
		return
	}
	select {
	case <-w.snapshots:
	default:
	}
	w.snapshots <- s
}

// own returns the XDatasets that are in the catalog: those this watcher made.
func (w *watcher) own(datasets []v1alpha1.XDataset) []v1alpha1.XDataset {
	return slices.DeleteFunc(slices.Clone(datasets), func(d v1alpha1.XDataset) bool {
		return !w.settings.Owns(d)
	})
}

const longestBackoff = 10 * time.Minute

// publish brings the catalog in line with each snapshot that is offered. After a
// failure it waits longer and longer, and goes on with the newest.
func (w *watcher) publish(ctx context.Context) {
	s := catalog.Snapshot{}
	for failures := 0; ; {
		if failures == 0 {
			select {
			case <-ctx.Done():
				return
			case s = <-w.snapshots:
			}
		} else {
			if !sleep(ctx, min(jittered(w.interval)<<min(failures-1, 10), longestBackoff)) {
				return
			}
			select {
			case s = <-w.snapshots:
			default: // no pass came so far since: the last snapshot still holds
			}
		}
		r, err := w.publisher.Publish(ctx, s)
		if ctx.Err() != nil {
			return
		}
		w.published(s, r, err)
		failures++
		if err == nil {
			failures = 0
		}
	}
}

// published tells how a publication went.
func (w *watcher) published(s catalog.Snapshot, r catalog.Report, err error) {
	for operation, n := range map[string]int{"create": r.Created, "update": r.Updated, "delete": r.Deleted, "commit": r.Commits} {
		w.metrics.writes.WithLabelValues("git", operation, "ok").Add(float64(n))
	}
	if r.Commits > 0 {
		w.log.Info("Published the catalog", "created", r.Created, "updated", r.Updated, "deleted", r.Deleted, "commits", r.Commits)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.metrics.writes.WithLabelValues("git", "commit", "error").Inc()
		w.log.Error(err, "Catalog was not published")
		w.shelf.problem, w.shelf.settled = err.Error(), false
		return
	}
	w.metrics.catalogued.Set(float64(w.now().Unix()))
	w.metrics.held.Set(float64(len(r.Held)))
	w.shelf.problem, w.shelf.settled = "", s.Complete && !r.Doubt
	if s.Complete {
		w.shelf.gone = s.Removed
	}
	if r.Doubt {
		w.shelf.problem = fmt.Sprintf("%d entities in the catalog have no dataset, more than is believed at once: they are kept. If they are right to go, say so: kubectl annotate %s %s=%d",
			len(r.Held), w.settings.StatusObject, AcceptFallAnnotation, len(r.Held))
	}
}

// alive fails when the loop hangs: a restart is all that helps then.
func (w *watcher) alive(*http.Request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if limit := w.interval*2 + w.listingTimeout + w.passTimeout; w.health.leading && w.now().Sub(w.health.progress) > limit {
		return fmt.Errorf("no pass has ended since %s", w.health.progress.UTC().Format(time.RFC3339))
	}
	return nil
}

// ready fails when the leader does not get complete listings, so that a release
// with a wrong bucket or too few rights does not replace one that works. A
// replica that waits for its turn is ready.
func (w *watcher) ready(*http.Request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch patience := 5*w.interval + w.listingTimeout; {
	case !w.health.leading:
		return nil
	case w.health.listed.IsZero():
		return errors.New("the bucket has not been listed yet: see the log")
	case w.now().Sub(w.health.listed) > patience:
		return fmt.Errorf("the last complete listing of the bucket was at %s: see the log", w.health.listed.UTC().Format(time.RFC3339))
	default:
		return nil
	}
}
