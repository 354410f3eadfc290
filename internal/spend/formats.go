package spend

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/errors"
)

// liteLLMFields are LiteLLM's prices of one token.
var liteLLMFields = map[string]v1alpha1.TokenClass{
	"input_cost_per_token":            v1alpha1.TokenInput,
	"output_cost_per_token":           v1alpha1.TokenOutput,
	"cache_read_input_token_cost":     v1alpha1.TokenCachedInput,
	"cache_creation_input_token_cost": v1alpha1.TokenCacheWrite,
	"output_cost_per_reasoning_token": v1alpha1.TokenThoughts,
	"input_cost_per_token_cache_hit":  v1alpha1.TokenCachedInput, // as some providers' rows have it
}

// longField is the same with the length of prompt above which it counts.
var longField = regexp.MustCompile(`^(.+)_above_([0-9]+)k_tokens$`)

// liteLLMTiers are the suffixes of service tiers.
var liteLLMTiers = []string{"flex", "priority"}

// liteLLM reads a model of model_prices_and_context_window.json: its key, or the part
// of it behind the last slash. What is the same under several keys is one.
func liteLLM(all map[string]json.RawMessage, model string) (row, error) {
	var found []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if key == model {
			found = []string{key}
			break
		}
		if !strings.Contains(model, "/") && strings.HasSuffix(key, "/"+model) {
			found = append(found, key)
		}
	}
	if len(found) == 0 {
		return row{}, errors.New("it has no such key")
	}
	first, err := liteLLMRow(found[0], all[found[0]])
	if err != nil {
		return row{}, err
	}
	for _, key := range found[1:] {
		other, err := liteLLMRow(key, all[key])
		if err != nil || !first.same(other) {
			return row{}, errors.Errorf("it has it as %s, at different prices: name one of them", strings.Join(found, ", "))
		}
	}
	return first, nil
}

func liteLLMRow(key string, raw json.RawMessage) (row, error) {
	var fields map[string]any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		return row{}, errors.Wrapf(err, "%s is no model", key)
	}
	r := row{prices: map[v1alpha1.TokenClass]string{}, long: map[v1alpha1.TokenClass]string{}, tiers: map[string]string{}, source: "LiteLLM, key " + plain(key)}
	if s, ok := fields["source"].(string); ok {
		r.source += ", which names " + plain(s)
	}
	if s, ok := fields["deprecation_date"].(string); ok {
		r.notes = append(r.notes, "the catalog says that it ends on "+plain(s))
	}
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		if steps, ok := fields[f].([]any); ok && strings.Contains(f, "pricing") && len(steps) > 0 {
			return row{}, errors.Errorf("its prices go by steps (%s), and a row has one: write it by hand", f)
		}
		if prices, ok := fields[f].(map[string]any); ok && len(prices) > 0 && (strings.Contains(f, "cost") || strings.Contains(f, "provider_specific")) {
			r.notes = append(r.notes, "left out: "+plain(f)+", a row has no such price")
		}
		n, ok := fields[f].(json.Number)
		if !ok {
			continue
		}
		base, above := f, ""
		if m := longField.FindStringSubmatch(f); m != nil {
			base, above = m[1], m[2]+"000"
		}
		class, ours := liteLLMFields[base]
		if !ours {
			if left := leftOut(f); left != "" && n.String() != "0" {
				r.notes = append(r.notes, "left out: "+f+", "+left)
			}
			continue
		}
		p, err := perMillion(n, 1)
		if err != nil {
			return row{}, errors.Wrap(err, f)
		}
		if err := r.add(class, p, above); err != nil {
			return row{}, err
		}
	}
	err := r.addTiers(fields)
	return r, err
}

// add adds a price of prompts of any length, or of those above one.
func (r *row) add(class v1alpha1.TokenClass, price, above string) error {
	if above == "" {
		if was, twice := r.prices[class]; twice && was != price {
			return errors.Errorf("it has two prices of %s, %s and %s: write it by hand", class, was, price)
		}
		r.prices[class] = price
		return nil
	}
	if r.above != "" && r.above != above {
		return errors.Errorf("it has prices above %s and above %s tokens, and a row has one of them: write it by hand", r.above, above)
	}
	r.above, r.long[class] = above, price
	return nil
}

// addTiers reads tiers as multipliers: a table has one for all of a row's prices. A catalog
// must give both input and output for a tier, or one of them would be had for what nobody
// said.
func (r *row) addTiers(fields map[string]any) error {
	for _, tier := range liteLLMTiers {
		var factor *big.Rat
		has := map[v1alpha1.TokenClass]bool{}
		for _, f := range slices.Sorted(maps.Keys(liteLLMFields)) {
			q := timesUsual(fields, f, tier)
			if q == nil {
				continue
			}
			if factor != nil && factor.FloatString(9) != q.FloatString(9) {
				return errors.Errorf("%s costs %s times as much for one class and %s times for another, and a row has one multiplier: write it by hand", tier, factor.FloatString(3), q.FloatString(3))
			}
			factor, has[liteLLMFields[f]] = q, true
		}
		if err := r.addTier(tier, factor, has); err != nil {
			return err
		}
		for _, f := range slices.Sorted(maps.Keys(fields)) {
			base, ours := tierOf(f, tier)
			if !ours {
				continue
			}
			// What the multiplier makes of a long prompt's price needs no words.
			if q := timesUsual(fields, base, tier); q == nil || factor == nil || q.FloatString(9) != factor.FloatString(9) {
				r.notes = append(r.notes, "left out: "+plain(f)+", a row has no such price")
			}
		}
	}
	return nil
}

// addTier adds a tier's multiplier that some classes have; nil: there is none.
func (r *row) addTier(tier string, factor *big.Rat, has map[v1alpha1.TokenClass]bool) error {
	if factor == nil {
		return nil
	}
	for _, class := range []v1alpha1.TokenClass{v1alpha1.TokenInput, v1alpha1.TokenOutput} {
		if !has[class] {
			return errors.Errorf("it has no %s price of %s, which a row's multiplier would make up: write it by hand", class, tier)
		}
	}
	text, err := decimal(rounded(factor))
	if err != nil {
		return errors.Wrapf(err, "the multiplier of %s", tier)
	}
	r.tiers[tier] = text
	return nil
}

// timesUsual is how many times its usual price a field costs in a tier. Nil: nobody says.
func timesUsual(fields map[string]any, field, tier string) *big.Rat {
	n, _ := fields[field+"_"+tier].(json.Number)
	base, _ := fields[field].(json.Number)
	of, okBase := new(big.Rat).SetString(base.String())
	is, okTier := new(big.Rat).SetString(n.String())
	if !okBase || !okTier || of.Sign() == 0 {
		return nil
	}
	return new(big.Rat).Quo(is, of)
}

// tierOf is the field with the usual price of what a field prices in a tier: both with the
// length of prompt above which they count, or without.
func tierOf(field, tier string) (base string, ours bool) {
	base, is := strings.CutSuffix(field, "_"+tier)
	of := base
	if m := longField.FindStringSubmatch(base); m != nil {
		of = m[1]
	}
	_, known := liteLLMFields[of]
	return base, is && known
}

// leftOut says why a field of LiteLLM's with a price becomes none of a row.
func leftOut(field string) string {
	switch {
	case strings.Contains(field, "_uplift_multiplier"):
		return "write it as regional by hand, where your endpoint isn't global"
	case strings.Contains(field, "_batches"):
		return "batches aren't counted apart"
	case strings.Contains(field, "_above_1hr"):
		return "cache writes have one price"
	case strings.Contains(field, "audio_token"), strings.Contains(field, "image_token"), strings.Contains(field, "per_image"), strings.Contains(field, "per_audio"):
		return "tokens of sounds and pictures aren't counted apart"
	case isTier(field):
		return "" // the multiplier of the tier says it
	case strings.Contains(field, "cost"), strings.Contains(field, "price"):
		return "a row has no such price"
	}
	return ""
}

// isTier says whether a field is a price of a tier that is read as a multiplier.
func isTier(field string) bool {
	return slices.ContainsFunc(liteLLMTiers, func(tier string) bool {
		_, ours := tierOf(field, tier)
		return ours
	})
}

// modelsDevFields are models.dev's prices, per million tokens.
var modelsDevFields = map[string]v1alpha1.TokenClass{
	"input": v1alpha1.TokenInput, "output": v1alpha1.TokenOutput, "cache_read": v1alpha1.TokenCachedInput,
	"cache_write": v1alpha1.TokenCacheWrite, "reasoning": v1alpha1.TokenThoughts,
}

// modelsDev reads a model of models.dev's api.json: <provider>/<model>, or the one
// that all providers have at the same price.
func modelsDev(all map[string]json.RawMessage, model string) (row, error) {
	var found []string
	var rows []row
	for _, provider := range slices.Sorted(maps.Keys(all)) {
		var p struct {
			Models map[string]json.RawMessage `json:"models"`
		}
		if err := json.Unmarshal(all[provider], &p); err != nil {
			return row{}, errors.Wrapf(err, "provider %s", provider)
		}
		for id, raw := range p.Models {
			if id != model && provider+"/"+id != model {
				continue
			}
			r, err := modelsDevRow(provider+"/"+id, raw)
			if err != nil {
				return row{}, err
			}
			found, rows = append(found, provider+"/"+id), append(rows, r)
		}
	}
	if len(found) == 0 {
		return row{}, errors.New("it has no such model")
	}
	for _, r := range rows[1:] {
		if !rows[0].same(r) {
			return row{}, errors.Errorf("it has it as %s, at different prices: name one of them", strings.Join(found, ", "))
		}
	}
	return rows[0], nil
}

func modelsDevRow(key string, raw json.RawMessage) (row, error) {
	var m struct {
		Name    string                     `json:"name"`
		Updated string                     `json:"last_updated"` //nolint:tagliatelle // as models.dev names it
		Status  string                     `json:"status"`
		More    map[string]json.RawMessage `json:"experimental"`
		Cost    map[string]json.RawMessage `json:"cost"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return row{}, errors.Wrapf(err, "%s is no model", key)
	}
	if strings.Contains(strings.ToLower(m.Name), "(latest)") || strings.HasSuffix(strings.ToLower(m.Name), " latest") {
		return row{}, errors.Errorf("%s is an alias (%q): what it stands for changes, and its price with it; name the dated model that answers", key, m.Name)
	}
	r := row{prices: map[v1alpha1.TokenClass]string{}, long: map[v1alpha1.TokenClass]string{}, source: "models.dev, " + plain(key)}
	if m.Updated != "" {
		r.source += ", last updated " + plain(m.Updated)
	}
	if m.Status != "" {
		r.notes = append(r.notes, "the catalog calls it "+plain(m.Status))
	}
	if modes := m.More["modes"]; strings.Contains(string(modes), "cost") {
		r.notes = append(r.notes, "left out: experimental.modes, whose prices a row has as tiers, by hand")
	}
	if len(m.Cost) == 0 {
		return row{}, errors.Errorf("%s has no cost", key)
	}
	for _, f := range slices.Sorted(maps.Keys(m.Cost)) {
		switch class, ours := modelsDevFields[f]; {
		case ours:
			if err := set(r.prices, class, m.Cost[f]); err != nil {
				return row{}, errors.Wrapf(err, "%s: cost.%s", key, f)
			}
		case f == "context_over_200k":
			var long map[string]json.RawMessage
			if err := json.Unmarshal(m.Cost[f], &long); err != nil {
				return row{}, errors.Wrapf(err, "%s: cost.%s", key, f)
			}
			if err := r.longPrices("200000", long); err != nil {
				return row{}, errors.Wrapf(err, "%s: cost.%s", key, f)
			}
		case f == "tiers":
			if err := r.contextTier(m.Cost[f]); err != nil {
				return row{}, errors.Wrapf(err, "%s: cost.%s", key, f)
			}
		default:
			r.notes = append(r.notes, "left out: cost."+plain(f))
		}
	}
	return r, nil
}

// contextTier reads cost.tiers, the newer form of context_over_200k.
func (r *row) contextTier(raw json.RawMessage) error {
	var tiers []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &tiers); err != nil {
		return err
	}
	for _, t := range tiers {
		var is struct {
			Type string      `json:"type"`
			Size json.Number `json:"size"`
		}
		if err := json.Unmarshal(t["tier"], &is); err != nil || is.Type != "context" {
			return errors.New("it has a tier that is of no prompt's length: write it by hand")
		}
		if err := r.longPrices(is.Size.String(), t); err != nil {
			return err
		}
	}
	return nil
}

// longPrices reads what prompts of more than so many tokens cost, which may be said twice.
func (r *row) longPrices(above string, prices map[string]json.RawMessage) error {
	for _, f := range slices.Sorted(maps.Keys(prices)) {
		class, ours := modelsDevFields[f]
		if !ours {
			if f != "tier" {
				r.notes = append(r.notes, "left out: "+plain(f)+" above "+plain(above)+" tokens")
			}
			continue
		}
		if r.above != "" && r.above != above {
			return errors.Errorf("it has prices above %s and above %s tokens, and a row has one of them: write it by hand", r.above, above)
		}
		r.above = above
		was, twice := r.long[class]
		if err := set(r.long, class, prices[f]); err != nil {
			return errors.Wrap(err, f)
		}
		if twice && was != r.long[class] {
			return errors.Errorf("it has two prices of %s above %s tokens, %s and %s: write it by hand", class, above, was, r.long[class])
		}
	}
	return nil
}

func set(to map[v1alpha1.TokenClass]string, class v1alpha1.TokenClass, raw json.RawMessage) error {
	p, err := perMillion(json.Number(raw), 1_000_000)
	to[class] = p
	return err
}

// same says whether two keys of a catalog cost the same.
func (r *row) same(o row) bool {
	return maps.Equal(r.prices, o.prices) && r.above == o.above && maps.Equal(r.long, o.long) && maps.Equal(r.tiers, o.tiers)
}

// plain is somebody else's text as it may stand in a comment: one line.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || r == '\u0085' {
			return ' '
		}
		return r
	}, s)
	return fmt.Sprintf("%.200s", s)
}
