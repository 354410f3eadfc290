package spend

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/internal/pricing"
)

// A row is one model of a catalog. Prices are US dollars per million tokens.
type row struct {
	prices map[v1alpha1.TokenClass]string
	above  string // tokens; empty: there is no dearer price for long prompts
	long   map[v1alpha1.TokenClass]string
	tiers  map[string]string // multipliers
	source string
	notes  []string // what the catalog says and a price table can't
}

func runPrices(args []string, in io.Reader, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("prices", flag.ContinueOnError)
	flags.SetOutput(errOut)
	from := flags.String("from", "-", "LiteLLM's model_prices_and_context_window.json, or the api.json of models.dev")
	names := flags.String("models", "", "the models that get a row, with commas between; with the provider before it (google/gemini-3.5-flash) where the catalog has several of a name")
	if err := parse(flags, args, errOut); err != nil {
		return err
	}
	var models []string
	for m := range strings.SplitSeq(*names, ",") {
		if m = strings.TrimSpace(m); m != "" {
			models = append(models, m)
		}
	}
	if len(models) == 0 {
		fmt.Fprintln(errOut, "--models must name the models: a table of all that a catalog has would be one that nobody has checked")
		return errUsage
	}
	text, err := read(*from, in)
	if err != nil {
		return err
	}
	table, err := TableOf(text, filepath.Base(*from), models)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, table)
	return errors.Wrap(err, "cannot write")
}

// TableOf turns a catalog into a price table of the models that are named: YAML of
// version 2, with where each price is from. It fails for a model that the catalog
// doesn't have, has twice, or has as an alias, whose price moves with what it stands for.
func TableOf(catalog, file string, models []string) (string, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(catalog), &all); err != nil {
		return "", errors.Wrapf(err, "%s is no JSON", file)
	}
	find, what := liteLLM, "LiteLLM's catalog"
	for _, v := range all {
		var p struct {
			Models map[string]json.RawMessage `json:"models"`
		}
		if json.Unmarshal(v, &p) == nil && p.Models != nil {
			find, what = modelsDev, "models.dev"
			break
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# Made of %s (%s) with: spend prices --models %s\n# Compare it with the providers' own pages: catalogs are late, and know no date from which a price counts.\nversion: 2\nmodels:\n", what, plain(file), plain(strings.Join(models, ",")))
	for _, m := range slices.Compact(slices.Sorted(slices.Values(models))) {
		name := m[strings.LastIndex(m, "/")+1:]
		if moves(name) {
			return "", errors.Errorf("%s is an alias: what it stands for changes, and its price with it; name the model that answers", m)
		}
		r, err := find(all, m)
		if err != nil {
			return "", errors.Wrapf(err, "cannot price %s from %s", m, what)
		}
		r.write(&out, name)
	}
	t, err := pricing.Read(out.String())
	if err != nil {
		return "", errors.Wrap(err, "the table that came out can't be used")
	}
	if len(t.Flaws) > 0 {
		return "", errors.Errorf("the table that came out can't be used: %s", t.Flaws[0])
	}
	return out.String(), nil
}

// moves says whether a name stands for another model each time a newer one appears.
func moves(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, "-latest") || strings.Contains(name, "*") || name == "latest" || strings.HasSuffix(name, ":latest")
}

func (r *row) write(out *strings.Builder, name string) {
	fmt.Fprintf(out, "  %q:", name)
	out.WriteString(" # " + r.source + "\n")
	for _, n := range r.notes {
		out.WriteString("    # " + n + "\n")
	}
	prices(out, "    ", r.prices)
	if r.above != "" {
		fmt.Fprintf(out, "    longContext:\n      above: %s\n", r.above)
		prices(out, "      ", r.long)
	}
	if len(r.tiers) > 0 {
		out.WriteString("    tiers:\n")
		for _, t := range slices.Sorted(maps.Keys(r.tiers)) {
			fmt.Fprintf(out, "      %s: %q\n", t, r.tiers[t])
		}
	}
}

func prices(out *strings.Builder, indent string, by map[v1alpha1.TokenClass]string) {
	for _, c := range pricing.Classes {
		if p, ok := by[c]; ok {
			fmt.Fprintf(out, "%s%s: %q\n", indent, c, p)
		}
	}
}

// perMillion turns a price per so many tokens into one per million, exactly. It may
// have six decimals at most, as the prices of a table.
func perMillion(n json.Number, tokens int64) (string, error) {
	r, ok := new(big.Rat).SetString(n.String())
	if !ok || r.Sign() < 0 {
		return "", errors.Errorf("%s is no price", n)
	}
	r.Mul(r, big.NewRat(1_000_000, tokens))
	return decimal(rounded(r))
}

// rounded is a price without what programs' floats leave of one: 3.0000000000000004e-07 is
// 0.0000003.
func rounded(r *big.Rat) *big.Rat {
	near, ok := new(big.Rat).SetString(r.FloatString(6))
	if !ok || near.Sign() == 0 {
		return r
	}
	off := new(big.Rat).Sub(near, r)
	if off.Abs(off).Cmp(new(big.Rat).Mul(r, big.NewRat(1, 100_000_000_000_000))) < 0 {
		return near
	}
	return r
}

func decimal(r *big.Rat) (string, error) {
	text := r.FloatString(6)
	if back, _ := new(big.Rat).SetString(text); back.Cmp(r) != 0 {
		return "", errors.Errorf("%s has more than six decimals", r.FloatString(12))
	}
	return strings.TrimRight(strings.TrimRight(text, "0"), "."), nil
}
