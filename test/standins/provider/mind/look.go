package mind

import (
	"encoding/json"
	"strings"
	"unicode"
)

// A Value is a cell of some column that words From..To of a question name.
type Value struct {
	From, To int
	Column   Column
	Text     string // as the file has it
}

// maxWords is how many words a value may have that is found in a question.
const maxWords = 5

// phrases are the parts of a question that may be values, by their plain form.
func phrases(question string) map[string][][2]int {
	q := words(question)
	out := map[string][][2]int{}
	add := func(s string, from, to int) {
		if s != "" {
			out[s] = append(out[s], [2]int{from, to})
		}
	}
	says := func(w word) bool {
		return w.quoted || !plain[w.text] && !plain[w.stem] && !fillers[w.text] && jobOf[w.text] == ""
	}
	for from, first := range q {
		if first.quoted {
			add(bare(first.raw), from, from)
			continue
		}
		var raw []string
		for to := from; to < min(len(q), from+maxWords) && !q[to].quoted; to++ {
			raw = append(raw, q[to].raw)
			if !says(first) || !says(q[to]) {
				continue // "the" is no value, and no value ends in one
			}
			s := bare(strings.Join(raw, " "))
			add(s, from, to)
			if other := stem(s); other != s {
				add(other, from, to)
			} else {
				add(s+"s", from, to)
			}
		}
	}
	return out
}

// bare is a text without what people leave out: case, and what is no letter or digit.
// The code that looks into the table does the same.
func bare(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), " ")
}

// look is the code that tells the columns, and which words of a question are values.
// It reads in pieces, so that it fits whatever the size of the file.
func look(question string) string {
	want := []string{}
	for p := range phrases(question) {
		want = append(want, p)
	}
	return prelude + `import re
want = set(` + py(want) + `)

NUMBER = r"^\s*[-+]?\s*(?:[€$£¥]|[A-Z]{3}\s)?\s*[-+]?\d[\d,.'\s]*(?:[€$£¥%]|[A-Za-z]{1,4})?\s*$"
MONTH = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
DATE = r"^\s*(?:\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|(?:[A-Za-z]+,? )?\d{1,2}(?:st|nd|rd|th)?[ .-]+" + MONTH + r"[ .,-]+\d|(?:[A-Za-z]+,? )?" + MONTH + r"[ .-]+\d{1,2}(?:st|nd|rd|th)?,? +\d)"
WORDS = [{"yes", "no"}, {"y", "n"}, {"true", "false"}, {"t", "f"}, {"oui", "non"}, {"ja", "nein"}, {"si", "sí", "no"}]

def coded(s):
    return s.dtype == object and len(s.dropna()) > 0 and s.dropna().astype(str).str.fullmatch(r"\d+").all()

def kind(name, s):
    have = s.dropna()
    called = {"id", "no", "nr", "number", "key", "code"} & set(re.split(r"[\W_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", str(name)).casefold()))
    if s.dtype.kind == "b":
        return "bool"
    if s.dtype.kind in "iuf":
        if have.nunique() == 2 and have.isin([0, 1]).all():
            return "flag"
        numbered = len(s) > 2 and s.dtype.kind in "iu" and s.is_unique
        return "id" if numbered and (called or (s.diff().dropna() == 1).all()) else "number"
    some = have.astype(str).str.strip().head(500)
    if not len(some):
        return "text"
    if any(set(some.str.casefold()) <= w for w in WORDS):
        return "bool"
    if some.str.match(DATE).mean() > 0.9:
        return "date"
    if coded(s):
        return "id" if have.is_unique and called else "text"
    if some.str.match(NUMBER).mean() > 0.6:
        return "number"
    return "id" if have.is_unique and called else "text"

columns, found = [], {}
for piece in read(chunksize=20000):
    if not columns:
        columns = [{"name": str(c), "type": kind(c, piece[c]), "many": bool(piece[c].nunique() > 50), "code": bool(coded(piece[c]))} for c in piece.columns]
    figures = {c["name"] for c in columns if c["type"] in ("number", "date")}
    for c in piece.columns:
        # The 3 of "top 3" is not the cell "3 %".
        if (piece[c].dtype == object or piece[c].dtype.kind == "b") and str(c) not in figures:
            for v in piece[c].dropna().unique():
                b = bare(str(v))
                if b in want and len(found) < 200:
                    found.setdefault((str(c), b), str(v).strip())
# Of a wide table only what the question may mean, so that it fits into an answer.
if len(columns) > 150:
    said = set(" ".join(want).split())
    near = [c for c in columns if said & {w[:n] for w in bare(c["name"].replace("_", " ")).split() for n in (len(w), len(w) - 1)} or c["type"] in ("id", "date")]
    columns = near[:100] + [c for c in columns if c not in near][:max(0, 100 - len(near))]
print("COLUMNS " + json.dumps({"columns": columns, "found": [{"column": c, "phrase": b, "text": v} for (c, b), v in found.items()]}))
`
}

// looked reads what the code of look printed: the columns, and the values that the
// question names. No columns if it printed something else.
func looked(question, said string) ([]Column, []Value) {
	for _, text := range []string{said, strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\n`, "\n").Replace(said)} {
		_, rest, is := strings.Cut(text, "COLUMNS ")
		var told struct {
			Columns []struct {
				Name string `json:"name"`
				Type string `json:"type"`
				Many bool   `json:"many"`
				Code bool   `json:"code"`
			} `json:"columns"`
			Found []struct {
				Column string `json:"column"`
				Phrase string `json:"phrase"`
				Text   string `json:"text"`
			} `json:"found"`
		}
		if !is || json.NewDecoder(strings.NewReader(rest)).Decode(&told) != nil || len(told.Columns) == 0 {
			continue
		}
		var columns []Column
		called := map[string]Column{}
		for _, c := range told.Columns {
			called[c.Name] = Column{Name: c.Name, Kind: c.Type, Many: c.Many, Code: c.Code}
			columns = append(columns, called[c.Name])
		}
		var values []Value
		at := phrases(question)
		for _, f := range told.Found {
			for _, p := range at[f.Phrase] {
				values = append(values, Value{From: p[0], To: p[1], Column: called[f.Column], Text: f.Text})
			}
		}
		return columns, values
	}
	return nil, nil
}
