package mind

// prelude reads the table, turns text into numbers and dates where code that
// failed shows that this is needed, and prints answers in one line of JSON.
const prelude = `import json, os, re
import pandas as pd

def read(columns=None, chunksize=None):
    path = os.environ["DATASET_PATH"]
    with open(path, "rb") as f:
        head, row = f.readline(1000000), f.readline(1000000)
    sep = max(",;\t|", key=lambda s: head.count(s.encode()))
    # Rows that end in a separator which the header lacks.
    index = False if row.rstrip(b"\r\n").endswith(sep.encode()) and row.count(sep.encode()) == head.count(sep.encode()) + 1 else None
    how = dict(sep=sep, index_col=index, encoding=encoding(path), encoding_errors="replace", na_values=["-", "--", "–", "—", "?", "n.a."])
    # Digits that begin with a zero are a name: a post code, not a number.
    some = pd.read_csv(path, nrows=2000, dtype=str, **how)
    names = {c: str for c in some if some[c].dropna().str.fullmatch(r"\d+").all() and some[c].str.match(r"0\d").any()}
    return pd.read_csv(path, usecols=columns, chunksize=chunksize, decimal="," if sep == ";" else ".", dtype=names, **how)

def encoding(path):
    try:
        with open(path, encoding="utf-8") as f:
            while f.read(1 << 20):
                pass
        return "utf-8-sig"
    except UnicodeDecodeError:
        return "cp1252"

def bare(s):
    return " ".join(re.sub(r"[^\w]+", " ", s.lower()).split())

def among(s, values):
    return s.astype(str).map(bare).isin([bare(v) for v in values]) & s.notna()

def truth(s, words):
    return s.astype(str).str.strip().str.casefold().isin(words)

YES = ["yes", "true", "y", "t", "1", "1.0", "oui", "ja", "si", "sí"]
NO = ["no", "false", "n", "f", "0", "0.0", "non", "nein"]

# spelled is a column in which spellings that differ in case and blanks alone are one,
# the most frequent of them.
def spelled(s):
    if s.dtype != object:
        return s
    text = s.dropna().astype(str).str.split().str.join(" ")
    counts = text.value_counts().reset_index()
    counts.columns = ["text", "n"]
    best = counts.sort_values(["n", "text"], ascending=[False, True]).assign(key=lambda c: c.text.str.casefold()).drop_duplicates("key").set_index("key").text
    note = "spellings that differ in case or blanks alone count as one"
    if len(best) < s.nunique() and note not in notes:
        notes.append(note)
    return text.str.casefold().map(best).reindex(s.index)

# times reads days by the form that they are written in: one column may hold several.
def times(s, errors):
    if s.dtype != object:
        return pd.to_datetime(s, errors=errors)
    first = dayfirst(s)
    text = s.dropna().astype(str).str.strip()
    form = text.str.replace(r"\d+", "9", regex=True).str.replace(r"[^\W\d]{4,}", "L", regex=True).str.replace(r"[^\W\d]+", "a", regex=True)
    if form.nunique() > 20:
        return pd.to_datetime(s, errors=errors, dayfirst=first)
    first = {f: first and not t.iloc[0][:4].isdigit() for f, t in text.groupby(form)}
    parts = [pd.to_datetime(t, errors=errors, dayfirst=first[f]) for f, t in text.groupby(form)]
    return pd.concat(parts).reindex(s.index) if parts else pd.to_datetime(s, errors=errors)

def dayfirst(s):
    parts = s.dropna().astype(str).str.extract(r"^(\d{1,2})([./-])\d{1,2}[./-]\d{4}").dropna()
    return len(parts) > 0 and (parts[1].iloc[0] == "." or parts[0].astype(int).max() > 12)

def plain(v):
    if hasattr(v, "item"):
        v = v.item()
    if isinstance(v, float) and v != v:
        return None
    if isinstance(v, (int, float, str, bool, type(None))):
        return v
    return None if pd.isna(v) else str(v).replace(" 00:00:00", "")

def say(**answer):
    print("ANSWER " + json.dumps(answer, ensure_ascii=False, default=plain, allow_nan=False))

def key(v):
    return str(int(v)) if isinstance(plain(v), float) and v == int(v) else str(plain(v))

def table(frame):
    return [[plain(v) for v in row] for row in frame.itertuples(index=False)]

`

const asIs = `def num(s):
    return pd.to_numeric(s)

def when(s):
    return times(s, "raise")

`

// repaired takes currencies, per cents and units away. Commas are decimals where
// nothing else can be meant: 1.234,50 and 3,5, but not 1,234.
const repaired = `def num(s):
    if s.dtype.kind in "biuf":
        return s
    if truth(s.dropna(), YES + NO).all():
        return truth(s, YES).astype(float).where(s.notna())
    text = s.dropna().astype(str)
    units = set(text[text.str.contains(r"\d")].str.extract(r"([A-Za-z$€£¥%]+)", expand=False).dropna())
    if len(units) > 1:
        raise ValueError("the values are not in one unit: " + ", ".join(sorted(units)[:5]))
    text = s.astype(str).str.replace(r"^\s*\((.*)\)\s*$", r"-\1", regex=True).str.replace(r"[^0-9,.+-]", "", regex=True)
    english = text.str.contains(r",\d{3}\.|\.\d{1,2}$|^[^,]*\.[^,]*$").any()
    german = text.str.contains(r"\.\d{3},|,\d{1,2}$|,\d{4,}$|^-?0,\d+$").any()
    if german and not text.str.contains(r",\d{3}\.").any() and (text.str.contains(r"\.\d{3},").any() or not english):
        return pd.to_numeric(text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False), errors="coerce")
    return pd.to_numeric(text.str.replace(",", "", regex=False), errors="coerce")

def when(s):
    return times(s, "coerce")

`
