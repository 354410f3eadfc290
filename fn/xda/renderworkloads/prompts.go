package renderworkloads

import (
	_ "embed" // the prompts
	"fmt"
	"slices"
	"strconv"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

// The prompts are documents of their own, to be read and edited as such. They
// hold no braces: kagent's Go runtime takes {name} for a session variable and
// fails the turn.
var (
	//go:embed planner.md
	plannerDoc string
	//go:embed worker.md
	workerDoc string

	plannerPrompt = parsePrompt(plannerDoc)
	workerPrompt  = parsePrompt(workerDoc)
)

// A prompt is a document with holes, taken apart: literal text at even indexes,
// names of values at odd ones.
type prompt []string

func parsePrompt(doc string) prompt { return strings.Split(doc, "@@") }

// with fills the holes. A value is never scanned for holes itself, so a person's
// text can't reach another value.
func (p prompt) with(values map[string]string) string {
	filled := slices.Clone(p)
	for i := 1; i < len(p); i += 2 {
		filled[i] = values[p[i]]
	}
	return strings.Join(filled, "")
}

// prompts is the ConfigMap that holds what planner and worker are told, and the
// platform's certificates where the input holds them.
func prompts(a Agent) manifest.Object {
	values := map[string]string{
		"agent":        a.Name,
		"dataset":      quotable(a.Dataset.Name, 253),
		"display-name": quotable(a.displayName(), 200),
		"description":  quotable(a.description(), 500),
		"size":         humanSize(a.Dataset.SizeBytes),
		"files":        files(a.Dataset),
		"memory":       strconv.FormatInt(a.SandboxMemMi, 10),
		"timeout":      strconv.Itoa(executionTimeoutSeconds),
	}
	data := manifest.Object{
		"planner.md": plannerPrompt.with(values),
		"worker.md":  workerPrompt.with(values),
	}
	if pem := a.caPEM(); pem != "" {
		data[caKey] = pem
	}
	return manifest.Object{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"metadata":   a.meta(promptsName),
		"data":       data,
	}
}

// files says what a dataset is made of. The worker needs no word of it: it finds one file.
func files(d v1alpha1.Dataset) string {
	if d.Folder() {
		return "a folder of CSV files that are read as one"
	}
	return "one CSV file"
}

// plain is a person's text as one line of at most limit characters.
func plain(text string, limit int) string { return manifest.Plain(text, limit) }

// quotes are the characters with which a text could leave the quotation marks it
// is put into in a prompt, or become more than text there.
var quotes = strings.NewReplacer(
	`"`, "'", "`", "'", "{", "(", "}", ")", "<", "‹", ">", "›",
)

// quotable makes a person's text fit between quotation marks in a prompt.
func quotable(text string, limit int) string { return quotes.Replace(plain(text, limit)) }

// humanSize writes a size as a person reads it: 1.9 MiB.
func humanSize(bytes int64) string {
	const kib = 1024
	if bytes < kib {
		return strconv.FormatInt(bytes, 10) + " bytes"
	}
	v, unit := float64(bytes)/kib, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if v < kib {
			break
		}
		v, unit = v/kib, next
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}
