package mind

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Code writes the Python that carries a plan out. Careful code forgives cells that
// are no numbers or dates, and is what the worker tries when plain code failed.
func Code(p Plan, careful bool) string {
	w := &writer{}
	w.b.WriteString(prelude)
	if careful {
		w.b.WriteString(repaired)
	} else {
		w.b.WriteString(asIs)
	}
	if p.Chart || p.Job == Histogram || p.Job == Scatter || p.Job == Trend {
		w.linef(`import matplotlib`)
		w.linef(`matplotlib.use("Agg")`)
		w.linef(`import matplotlib.pyplot as plt`)
		w.linef(``)
	}
	w.linef(`df = read(%s)`, needed(p))
	w.linef(`total = len(df)`)
	w.linef(`notes = []`)
	for _, f := range p.Base {
		w.filter(f)
	}
	w.linef(`base, whole = len(df), df`)
	for _, f := range p.Filters {
		w.filter(f)
	}
	w.job(p)
	return w.b.String()
}

// needed are the columns that a plan reads; empty for all.
func needed(p Plan) string {
	var names []string
	add := func(n string) {
		if n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	switch p.Job {
	case Row, Head, Overview, Unclear:
		return ""
	case Missing, Count, Duplicates:
		if p.Measure.Name == "" {
			return ""
		}
	case Correlate:
		if p.Other.Name == "" {
			return ""
		}
	case Top:
		if p.Group.Name == "" {
			return ""
		}
	default:
	}
	for _, c := range []Column{p.Measure, p.Other, p.Group} {
		add(c.Name)
	}
	for _, f := range slices.Concat(p.Base, p.Filters) {
		add(f.Column.Name)
	}
	if len(names) == 0 {
		return ""
	}
	return py(names)
}

type writer struct{ b strings.Builder }

func (w *writer) linef(format string, args ...any) { fmt.Fprintf(&w.b, format+"\n", args...) }

// py writes a value as Python does: JSON but for the three constants.
func py(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // strings and lists of them
	}
	return strings.TrimSpace(b.String())
}

func (w *writer) filter(f Filter) {
	c := py(f.Column.Name)
	note := f.Column.Name + " " + f.Op + " " + f.Value
	switch f.Op {
	case "in", "out":
		w.linef(`keep = among(df[%s], %s)`, c, py(f.Values))
		note = f.Column.Name + " = " + strings.Join(f.Values, " or ")
		if f.Op == "out" {
			w.linef(`keep = ~keep`)
			note = f.Column.Name + " other than " + strings.Join(f.Values, ", ")
		}
		w.linef(`df = df[keep]`)
	case "true":
		w.linef(`df = df[truth(df[%s], YES)]`, c)
		note = f.Column.Name + " = yes"
	case "false":
		w.linef(`df = df[truth(df[%s], NO)]`, c)
		note = f.Column.Name + " = no"
	case "missing":
		w.linef(`df = df[df[%s].isna()]`, c)
		note = "no " + f.Column.Name
	case "present":
		w.linef(`df = df[df[%s].notna()]`, c)
		note = "a " + f.Column.Name
	case "year", "month":
		w.linef(`df = df[when(df[%s]).dt.%s == %s]`, c, f.Op, f.Value)
		note = f.Column.Name + " in " + f.Value
		if f.Op == "month" {
			note = f.Column.Name + " in month " + f.Value
		}
	case "before", "after", "since":
		w.linef(`df = df[when(df[%s]).dt.year %s %s]`, c, map[string]string{"before": "<", "after": ">", "since": ">="}[f.Op], f.Value)
	case "between":
		w.linef(`df = df[num(df[%s]).between(%s, %s)]`, c, f.Value, f.Value2)
		note += " and " + f.Value2
	default:
		w.linef(`df = df[num(df[%s]) %s %s]`, c, f.Op, f.Value)
	}
	w.linef(`notes.append("only rows with " + %s)`, py(note))
}

// names of the ways to sum a column up, as people say them.
var names = map[string]string{"mean": "average", "sum": "total", "min": "smallest", "max": "largest", "median": "median", "std": "standard deviation", "count": "number of rows", "nunique": "number of different values", "share": "share of the rows in percent"}

func label(p Plan) string {
	if p.How == "quantile" {
		return fmt.Sprintf("%gth percentile of %s", p.Quantile*100, p.Measure.Name)
	}
	if p.How == "count" || p.How == "share" {
		return names[p.How]
	}
	return names[p.How] + " of " + p.Measure.Name
}

// how is the call of pandas that sums a column up.
func how(p Plan) string {
	if p.How == "quantile" {
		return fmt.Sprintf("quantile(%g)", p.Quantile)
	}
	return p.How + "()"
}

func (w *writer) job(p Plan) {
	m := py(p.Measure.Name)
	switch p.Job {
	case Count:
		w.linef(`say(kind="figure", label="number of rows", value=len(df), used=len(df), total=total, notes=notes)`)
	case Share:
		if p.Measure.Name != "" {
			w.linef(`say(kind="figure", label=%s, value=100 * num(df[%[2]s]).sum() / num(whole[%[2]s]).sum(), used=base, total=total, notes=notes)`, py("share of the total of "+p.Measure.Name+" in percent"), m)
			return
		}
		of := names["share"]
		if len(p.Base) > 0 {
			of = "share of these rows in percent, as the last of the conditions below holds for them"
		}
		w.linef(`say(kind="figure", label=%s, value=100 * len(df) / base if base else None, used=base, total=total, notes=notes)`, py(of))
	case Distinct:
		w.linef(`say(kind="figure", label=%s, value=spelled(df[%s]).nunique(), used=int(df[%s].count()), total=total, notes=notes)`, py("number of different values of "+p.Measure.Name), m, m)
	case Duplicates:
		of, rows := "number of rows that repeat an earlier one", "df"
		if p.Measure.Name != "" {
			of, rows = "number of values of "+p.Measure.Name+" that repeat an earlier one", "df["+m+"].dropna()"
		}
		w.linef(`say(kind="figure", label=%s, value=int(%s.duplicated().sum()), used=len(df), total=total, notes=notes)`, py(of), rows)
	case Missing:
		w.missing(p)
	case Aggregate:
		w.aggregate(p)
	case Correlate:
		w.correlate(p)
	case Top:
		w.top(p)
	case Head:
		w.linef(`frame = df.%s(%d)`, map[bool]string{false: "head", true: "tail"}[p.Least], p.N)
		w.linef(`say(kind="table", label=%s, columns=[str(c) for c in frame.columns], rows=table(frame), used=len(frame), total=total, notes=notes)`,
			py(fmt.Sprintf("%s %d rows of the file", map[bool]string{false: "first", true: "last"}[p.Least], p.N)))
	case Row:
		w.linef(`values = num(df[%s])`, m)
		w.linef(`row = df.loc[values.%s()]`, map[bool]string{false: "idxmax", true: "idxmin"}[p.Least])
		w.linef(`say(kind="row", label=%s, value=plain(values.loc[row.name]), row={str(k): plain(v) for k, v in row.items()}, used=int(values.count()), total=total, notes=notes)`,
			py("row with the "+map[bool]string{false: "largest", true: "smallest"}[p.Least]+" "+p.Measure.Name))
	case Histogram:
		w.histogram(p)
	case Scatter:
		w.linef(`x, y = num(df[%s]), num(df[%s])`, m, py(p.Other.Name))
		w.linef(`plt.scatter(x, y, s=4, alpha=0.4)`)
		w.chart(p.Measure.Name+" against "+p.Other.Name, p.Measure.Name, p.Other.Name)
		w.linef(`say(kind="figure", label=%s, value=x.corr(y), used=int((x.notna() & y.notna()).sum()), total=total, notes=notes, chart=True)`, py("correlation of "+p.Measure.Name+" and "+p.Other.Name))
	case Trend:
		w.trend(p)
	case Describe:
		w.describe(p)
	default: // Overview
		if p.How == "count" {
			w.linef(`say(kind="figure", label="number of columns", value=len(df.columns), used=total, total=total, notes=notes)`)
			return
		}
		w.linef(`frame = pd.DataFrame({"column": df.columns, "type": [str(t) for t in df.dtypes], "missing": df.isna().sum().tolist(), "different": [df[c].nunique() for c in df.columns]})`)
		w.linef(`say(kind="table", label="columns of the dataset", columns=list(frame.columns), rows=table(frame), used=total, total=total, notes=notes)`)
	}
}

func (w *writer) chart(title, x, y string) {
	w.linef(`plt.title(%s)`, py(title))
	w.linef(`plt.xlabel(%s)`, py(x))
	w.linef(`plt.ylabel(%s)`, py(y))
	w.linef(`plt.savefig("chart.png", dpi=120, bbox_inches="tight")`)
}

func (w *writer) missing(p Plan) {
	if p.Measure.Name != "" {
		m := py(p.Measure.Name)
		w.linef(`say(kind="figure", label=%s, value=int(df[%s].isna().sum()), used=len(df), total=total, notes=notes)`, py("number of missing values of "+p.Measure.Name), m)
		return
	}
	w.linef(`missing = df.isna().sum()`)
	w.linef(`frame = missing[missing > 0].sort_values(ascending=False).reset_index()`)
	w.linef(`say(kind="table", label="columns with missing values", columns=["column", "missing values"], rows=table(frame), sum=int(missing.sum()), used=len(df), total=total, notes=notes)`)
}

func (w *writer) aggregate(p Plan) {
	m := py(p.Measure.Name)
	if p.Group.Name == "" {
		w.linef(`values = %s(df[%s])`, map[bool]string{false: "num", true: "when"}[p.Measure.Kind == Date], m)
		w.linef(`say(kind="figure", label=%s, value=values.%s, used=int(values.count()), left=int(values.isna().sum()), total=total, notes=notes)`, py(label(p)), how(p))
		return
	}
	w.groups(p)
	if p.Group.Kind != Number {
		w.linef(`result = result.sort_values(ascending=False)`)
	}
	if p.Compared {
		w.linef(`if len(result) == 2:`)
		w.linef(`    notes.append("the difference is " + "{:,.2f}".format(float(result.max() - result.min())))`)
	}
	w.table(p, `result`)
	if p.Chart {
		w.bars(p)
	}
}

// groups leaves in result what a plan sums up, by group.
func (w *writer) groups(p Plan) {
	switch {
	case p.Group.Kind == Date && p.Period == weekday:
		w.linef(`by = when(df[%s]).dt.day_name()`, py(p.Group.Name))
	case p.Group.Kind == Date && p.Period != "":
		w.linef(`by = when(df[%s]).dt.to_period(%s)`, py(p.Group.Name), py(p.Period))
	default:
		w.linef(`by = spelled(df[%s])`, py(p.Group.Name))
	}
	switch p.How {
	case "count", "share":
		w.linef(`result = df[by.notna()].groupby(by).size()`)
		w.linef(`used = int(by.notna().sum())`)
		if p.How == "share" {
			w.linef(`result = 100 * result / len(df)`)
		}
		return
	case "nunique":
		w.linef(`values = spelled(df[%s])`, py(p.Measure.Name))
	default:
		w.linef(`values = num(df[%s])`, py(p.Measure.Name))
	}
	w.linef(`result = values.groupby(by).%s`, how(p))
	w.linef(`used = int((values.notna() & by.notna()).sum())`)
}

func (w *writer) table(p Plan, rows string) {
	group := p.Group.Name
	if p.Period != "" {
		group = periodNames[p.Period]
	}
	w.linef(`frame = %s.rename_axis("group").rename("figure").reset_index()`, rows)
	w.linef(`frame[frame.columns[0]] = frame[frame.columns[0]].map(key)`)
	w.linef(`say(kind="table", label=%s, columns=[%s, %s], rows=table(frame), used=used, total=total, notes=notes, chart=%s)`,
		py(label(p)+" by "+group), py(group), py(label(p)), map[bool]string{false: "False", true: "True"}[p.Chart])
}

func (w *writer) bars(p Plan) {
	w.linef(`result.head(30).plot.bar()`)
	w.chart(label(p)+" by "+p.Group.Name, p.Group.Name, label(p))
}

func (w *writer) correlate(p Plan) {
	m := py(p.Measure.Name)
	if p.Other.Name != "" {
		w.linef(`x, y = num(df[%s]), num(df[%s])`, m, py(p.Other.Name))
		w.linef(`say(kind="figure", label=%s, value=x.corr(y), used=int((x.notna() & y.notna()).sum()), total=total, notes=notes + ["a correlation is not a cause"])`, py("correlation of "+p.Measure.Name+" and "+p.Other.Name))
		return
	}
	w.linef(`others = df.select_dtypes("number").drop(columns=[%s], errors="ignore")`, m)
	w.linef(`result = others.corrwith(num(df[%s])).dropna()`, m)
	w.linef(`frame = result.reindex(result.abs().sort_values(ascending=False).index).reset_index()`)
	w.linef(`say(kind="table", label=%s, columns=["column", "correlation"], rows=table(frame), used=len(df), total=total, notes=notes + ["a correlation is not a cause"])`, py("correlation with "+p.Measure.Name))
}

func (w *writer) top(p Plan) {
	ascending := map[bool]string{false: "False", true: "True"}[p.Least]
	if p.Group.Name != "" {
		w.groups(p)
		w.linef(`result = result.sort_values(ascending=%s, kind="stable").head(%d)`, ascending, p.N)
		w.table(p, `result`)
		if p.Chart {
			w.bars(p)
		}
		return
	}
	w.linef(`values = num(df[%s])`, py(p.Measure.Name))
	w.linef(`order = values.sort_values(ascending=%s, kind="stable").dropna().head(%d).index`, ascending, p.N)
	w.linef(`frame = df.loc[order]`)
	w.linef(`say(kind="table", label=%s, columns=[str(c) for c in frame.columns], rows=table(frame), used=int(values.count()), total=total, notes=notes)`,
		py(fmt.Sprintf("%d rows with the %s %s", p.N, map[bool]string{false: "largest", true: "smallest"}[p.Least], p.Measure.Name)))
}

func (w *writer) histogram(p Plan) {
	m := py(p.Measure.Name)
	if p.Measure.Kind != Number {
		w.linef(`counts = df[%s].value_counts().head(30)`, m)
		w.linef(`counts.plot.bar()`)
		w.chart("Rows by "+p.Measure.Name, p.Measure.Name, "rows")
		w.linef(`say(kind="table", label=%s, columns=[%s, "rows"], rows=table(counts.reset_index()), used=int(df[%s].count()), total=total, notes=notes, chart=True)`, py("rows by "+p.Measure.Name), m, m)
		return
	}
	w.linef(`values = num(df[%s]).dropna()`, m)
	w.linef(`plt.hist(values, bins=min(40, max(5, values.nunique())))`)
	w.chart("Distribution of "+p.Measure.Name, p.Measure.Name, "rows")
	w.spread(p, `values`, "True")
}

// spread says where the values of a column lie.
func (w *writer) spread(p Plan, values, chart string) {
	w.linef(`frame = pd.DataFrame({"what": ["average", "median", "smallest", "largest", "standard deviation"], "value": [%[1]s.mean(), %[1]s.median(), %[1]s.min(), %[1]s.max(), %[1]s.std()]})`, values)
	w.linef(`say(kind="table", label=%s, columns=["what", "value"], rows=table(frame), used=int(%s.count()), total=total, notes=notes, chart=%s)`, py("values of "+p.Measure.Name), values, chart)
}

var periodNames = map[string]string{"Y": "year", "Q": "quarter", "M": "month", "W": "week", "D": "day", weekday: "day of the week"}

func (w *writer) trend(p Plan) {
	period := periodNames[p.Period]
	w.linef(`time = when(df[%s])`, py(p.Other.Name))
	if p.Period == weekday {
		w.linef(`at = time.dt.day_name()`)
	} else {
		w.linef(`at = time.dt.to_period(%s)`, py(p.Period))
	}
	if p.How == "count" {
		w.linef(`result = at[at.notna()].groupby(at).size()`)
	} else {
		w.linef(`result = num(df[%s]).groupby(at).%s`, py(p.Measure.Name), how(p))
	}
	w.linef(`result = result.rename_axis("group").rename("figure")`)
	w.linef(`result.index = result.index.astype(str)`)
	w.linef(`result.plot(marker="o")`)
	w.chart(label(p)+" by "+period, period, label(p))
	w.linef(`frame = result.reset_index()`)
	w.linef(`say(kind="table", label=%s, columns=[%s, %s], rows=table(frame), used=int(at.notna().sum()), total=total, notes=notes, chart=True)`, py(label(p)+" by "+period), py(period), py(label(p)))
}

func (w *writer) describe(p Plan) {
	m := py(p.Measure.Name)
	if p.Measure.Kind == Number {
		w.linef(`values = num(df[%s])`, m)
		if len(p.Filters) > 0 { // "the population of Germany in 2007" is one figure
			w.linef(`if len(values) == 1:`)
			w.linef(`    say(kind="figure", label=%s, value=values.iloc[0], used=1, total=total, notes=notes)`, m)
			w.linef(`    raise SystemExit(0)`)
		}
		w.spread(p, `values`, "False")
		return
	}
	if p.Measure.Kind == Date {
		w.linef(`values = when(df[%s])`, m)
		w.linef(`say(kind="table", label=%s, columns=["what", "value"], rows=[["earliest", plain(values.min())], ["latest", plain(values.max())]], used=int(values.count()), total=total, notes=notes)`, py("values of "+p.Measure.Name))
		return
	}
	w.linef(`counts = spelled(df[%s]).value_counts()`, m)
	w.linef(`say(kind="table", label=%s, columns=[%s, "rows"], rows=table(counts.head(20).reset_index()), different=len(counts), used=int(df[%s].count()), total=total, notes=notes)`, py("rows by "+p.Measure.Name), m, m)
}
