package mind

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// An interpreter is a python with pandas, as the sandbox has it.
type interpreter struct {
	in  io.Writer
	out *bufio.Scanner
}

// driver runs one piece of code after the other, each with names of its own: most
// of the time goes into loading pandas.
const driver = `import contextlib, io, json, os, sys, traceback
out = sys.stdout
for line in sys.stdin:
    job = json.loads(line)
    os.chdir(job["dir"])
    os.environ["DATASET_PATH"] = job["path"]
    said, failed = io.StringIO(), False
    with contextlib.redirect_stdout(said):
        try:
            exec(compile(job["code"], "main.py", "exec"), {"__name__": "__main__"})
        except BaseException:
            failed = True
            said.write(traceback.format_exc())
    if "matplotlib" in sys.modules:
        sys.modules["matplotlib"].pyplot.close("all")
    print(json.dumps({"text": said.getvalue(), "failed": failed}), file=out, flush=True)
`

func (p *interpreter) run(t *testing.T, dir, path, code string) (text string, failed bool) {
	t.Helper()
	job, err := json.Marshal(map[string]string{"dir": dir, "path": path, "code": code})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.Write(append(job, '\n')); err != nil {
		t.Fatal(err)
	}
	if !p.out.Scan() {
		t.Fatalf("python ended: %v", p.out.Err())
	}
	var r struct {
		Text   string `json:"text"`
		Failed bool   `json:"failed"`
	}
	if err := json.Unmarshal(p.out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r.Text, r.Failed
}

func start(t *testing.T) *interpreter {
	t.Helper()
	p := os.Getenv("PYTHON")
	if p == "" {
		p = "/usr/bin/python3"
	}
	if out, err := exec.Command(p, "-c", "import pandas").CombinedOutput(); err != nil {
		if os.Getenv("SANDBOX_TEST_PANDAS") == "required" {
			t.Fatalf("needs pandas (Debian: python3-pandas): %v: %s", err, out)
		}
		t.Skipf("needs pandas (Debian: python3-pandas): %v: %s", err, out)
	}
	cmd := exec.Command(p, "-c", driver)
	cmd.Env, cmd.Stderr = append(os.Environ(), "MPLCONFIGDIR="+t.TempDir(), "PYTHONIOENCODING=utf-8"), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() }) // it ends with its input
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<24)
	return &interpreter{in, lines}
}

// A file as the test reads it, on its own.
type file struct {
	names []string
	rows  [][]string
}

func load(t *testing.T, path string, comma rune) file {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // a reader
	r := csv.NewReader(f)
	r.Comma = comma
	all, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return file{all[0], all[1:]}
}

// col returns the numbers of a column in the rows that fit.
func (f file) col(name string, fits ...func(get func(string) string) bool) []float64 {
	var out []float64
	for _, row := range f.rows {
		get := func(n string) string { return row[slices.Index(f.names, n)] }
		if len(fits) > 0 && !fits[0](get) {
			continue
		}
		if v, err := strconv.ParseFloat(strings.ReplaceAll(get(name), ",", "."), 64); err == nil {
			out = append(out, v)
		}
	}
	return out
}

func (f file) count(fits func(get func(string) string) bool) int {
	n := 0
	for _, row := range f.rows {
		if fits(func(n string) string { return row[slices.Index(f.names, n)] }) {
			n++
		}
	}
	return n
}

func sum(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x
	}
	return s
}
func mean(v []float64) float64 { return sum(v) / float64(len(v)) }
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func is(column, value string) func(func(string) string) bool {
	return func(get func(string) string) bool { return get(column) == value }
}

func above(column string, x float64) func(func(string) string) bool {
	return func(get func(string) string) bool {
		v, err := strconv.ParseFloat(get(column), 64)
		return err == nil && v > x
	}
}

// best is the value of a column whose rows have the highest figure of another.
func (f file) best(group, column string, figure func([]float64) float64) (string, float64) {
	var names []string
	for _, r := range f.rows {
		if n := r[slices.Index(f.names, group)]; !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	best, most := "", math.Inf(-1)
	for _, n := range names {
		if v := figure(f.col(column, is(group, n))); v > most {
			best, most = n, v
		}
	}
	return best, most
}

func correlation(x, y []float64) float64 {
	var sxy, sxx, syy float64
	mx, my := mean(x), mean(y)
	for i := range x {
		sxy, sxx, syy = sxy+(x[i]-mx)*(y[i]-my), sxx+(x[i]-mx)*(x[i]-mx), syy+(y[i]-my)*(y[i]-my)
	}
	return sxy / math.Sqrt(sxx*syy)
}

// in writes a figure as an answer does.
func in(f float64) string { return format(fmt.Appendf(nil, "%v", f)) }

// ask plays the agent runtime and the sandbox around the worker.
func ask(t *testing.T, py *interpreter, path, question string, described []Column) (answer string, runs int, chart bool) {
	t.Helper()
	tools := []Tool{{Name: "execute_python", Params: []string{"code"}}}
	var columns strings.Builder
	for i, c := range described {
		if i > 0 {
			columns.WriteString(",")
		}
		fmt.Fprintf(&columns, `{"name":%q,"type":%q}`, c.Name, c.Kind)
	}
	if described != nil {
		tools = append(tools, Tool{Name: "describe_dataset"})
	}
	c := Conversation{System: "You are the data analyst", Tools: tools, Messages: []Message{{Text: question}}}
	for range 6 {
		r := Think(c)
		if len(r.Calls) == 0 {
			return r.Text, runs, chart
		}
		res := Result{ID: r.Calls[0].ID, Name: r.Calls[0].Name}
		switch r.Calls[0].Name {
		case "describe_dataset":
			res.Text = `{"file":"x.csv","columns":[` + columns.String() + `]}`
		default:
			runs++
			dir := t.TempDir()
			code, _ := r.Calls[0].Args["code"].(string)
			res.Text, res.Failed = py.run(t, dir, path, code)
			if res.Failed {
				t.Logf("run %d of %q: %s", runs, question, reason(res.Text))
			}
			_, serr := os.Stat(filepath.Join(dir, "chart.png"))
			chart = chart || serr == nil
		}
		c.Messages = append(c.Messages, Message{Model: true, Calls: r.Calls}, Message{Results: []Result{res}})
	}
	t.Fatalf("%q: no answer after six calls", question)
	return "", 0, false
}

// TestAnswers asks about the three tables that the stack ships. The right figures
// are calculated here, in Go, from the same files.
func TestAnswers(t *testing.T) {
	py := start(t)
	data := func(n string) string { p, _ := filepath.Abs(filepath.Join("..", "..", "datasets", n)); return p }
	housing, coffee, weather := load(t, data("california-housing.csv"), ','), load(t, data("coffee-sales.csv"), ','), load(t, data("weather-stations.csv"), ';')
	value := housing.col("median_house_value")
	prox, proxMean := housing.best("ocean_proximity", "median_house_value", mean)
	city, cityRevenue := coffee.best("city", "amount", sum)
	station, _ := weather.best("Station", "Temperature C", mean)
	all := map[string]map[string][]string{
		"california-housing.csv": {
			"How many rows does the dataset have?":                                   {in(float64(len(housing.rows)))},
			"How many districts are there in the data?":                              {in(float64(len(housing.rows)))},
			"What is the average median house value?":                                {in(mean(value))},
			"What is the mean house value near the ocean proximity \"NEAR BAY\"?":    {in(mean(housing.col("median_house_value", is("ocean_proximity", "NEAR BAY"))))},
			"What is the average house value for INLAND?":                            {in(mean(housing.col("median_house_value", is("ocean_proximity", "INLAND"))))},
			"What's the median of the median income?":                                {in(median(housing.col("median_income")))},
			"What is the highest population?":                                        {in(slices.Max(housing.col("population")))},
			"What is the maximum median_house_value where median_income is above 6?": {in(slices.Max(housing.col("median_house_value", above("median_income", 6))))},
			"average house value by ocean proximity":                                 {in(proxMean), prox},
			"Which ocean proximity has the highest average house value?":             {in(proxMean), "**" + prox + "**"},
			"How many districts have more than 5000 population?":                     {in(float64(housing.count(above("population", 5000))))},
			"How many blocks have a median income over 8?":                           {in(float64(housing.count(above("median_income", 8))))},
			"What is the correlation between median income and house value?":         {in(correlation(housing.col("median_income"), value))},
			"How many values are missing in total_bedrooms?":                         {in(float64(housing.count(is("total_bedrooms", ""))))},
			"Are there missing values?":                                              {in(float64(housing.count(is("total_bedrooms", "")))), "total_bedrooms"},
			"How many different ocean proximities are there?":                        {"**5**"},
			"Show me a histogram of the house value":                                 {in(mean(value)), in(median(value))},
			"How many districts are there per ocean proximity?":                      {in(float64(housing.count(is("ocean_proximity", "INLAND")))), "INLAND"},
			"What share of districts is in \"ISLAND\"?":                              {in(100 * float64(housing.count(is("ocean_proximity", "ISLAND"))) / float64(len(housing.rows)))},
			"Draw a bar chart of the median income by ocean proximity":               {in(mean(housing.col("median_income", is("ocean_proximity", "INLAND"))))},
			"What is the total population?":                                          {in(sum(housing.col("population")))},
			"Which columns are there?":                                               {"ocean_proximity", "median_house_value"},
			"how many people live in all districts, in total population?":            {in(sum(housing.col("population")))},
			"Which district has the highest median house value?":                     {in(slices.Max(value))},
			"What is the 90th percentile of median income?":                          {"90th percentile"},
			"Tell me about the median house value":                                   {in(mean(value)), in(slices.Min(value))},
			"What is the average price near the ocean?":                              {"I can't tell what to do with the column ocean_proximity"},
			"What is the average number of rooms per household?":                     {"I can't divide by a column"},
			"What is the standard deviation of population?":                          {"standard deviation of population"},
			"How expensive are houses inland?":                                       {in(mean(housing.col("median_house_value", is("ocean_proximity", "INLAND")))), "average"},
			"What is the averge medain income?":                                      {in(mean(housing.col("median_income")))},
		},
		"coffee-sales.csv": {
			"What was the total amount?":                                   {in(sum(coffee.col("amount")))},
			"Which city has the highest total revenue?":                    {in(cityRevenue), "**" + city + "**"},
			"What are the top 3 products by amount?":                       {"products"[:7], in(sum(coffee.col("amount", is("product", "cappuccino"))))},
			"How much revenue did we make in Berlin?":                      {in(sum(coffee.col("amount", is("city", "Berlin"))))},
			"What is the average customer rating for cheesecake?":          {in(mean(coffee.col("customer_rating", is("product", "cheesecake"))))},
			"How many orders were there per city?":                         {in(float64(coffee.count(is("city", "Lisbon"))))},
			"How many cities are there?":                                   {"**5**"},
			"Show the trend of the amount per month":                       {"2025-01", "2025-08"},
			"What is the total amount per month?":                          {in(sum(coffee.col("amount", func(get func(string) string) bool { return strings.HasPrefix(get("order_date"), "2025-03") })))},
			"What is the average unit price of a sandwich?":                {in(mean(coffee.col("unit_price", is("product", "sandwich"))))},
			"How many orders have a quantity of at least 3?":               {in(float64(coffee.count(above("quantity", 2))))},
			"What percentage of the orders is from Vienna?":                {in(100 * float64(coffee.count(is("city", "Vienna"))) / float64(len(coffee.rows)))},
			"how many croissants were sold in quantity in Porto in total?": {in(sum(coffee.col("quantity", func(get func(string) string) bool { return get("product") == "croissant" && get("city") == "Porto" })))},
			"What is the cheapest product?":                                {in(slices.Min(coffee.col("unit_price")))},
			"How many cappuccinos did we sell?":                            {in(sum(coffee.col("quantity", is("product", "cappuccino")))), "total of quantity"},
			"How many customers do we have?":                               {"I can't tell what to count"},
			"How many orders have no rating?":                              {in(float64(coffee.count(is("customer_rating", ""))))},
			"Show me sales by city":                                        {in(sum(coffee.col("amount", is("city", "Porto"))))},
			"What percentage of revenue comes from Berlin?":                {in(100 * sum(coffee.col("amount", is("city", "Berlin"))) / sum(coffee.col("amount")))},
			"What is the average order value?":                             {"I can't tell"},
			"Is the rating higher in Porto than in Lisbon?":                {"I can't tell what “higher” means"},
			"What is the average amount on Mondays?":                       {"I can't tell what “Mondays” means"},
		},
		"weather-stations.csv": {
			"What is the average temperature in Graz?":          {in(mean(weather.col("Temperature C", is("Station", "Graz"))))},
			"Which station is the warmest on average?":          {"**" + station + "**"},
			"What is the total rainfall by country?":            {in(sum(weather.col("Rainfall mm", is("Country", "Austria"))))},
			"Where was it coldest?":                             {in(slices.Min(weather.col("Temperature C"))), "| Station |"},
			"How much rain fell in Zürich?":                     {in(sum(weather.col("Rainfall mm", is("Station", "Zürich"))))},
			"What was the lowest temperature?":                  {in(slices.Min(weather.col("Temperature C")))},
			"How many missing rainfall values are there?":       {in(float64(weather.count(is("Rainfall mm", ""))))},
			"Average temperature by month":                      {"2025-12", in(mean(weather.col("Temperature C", func(get func(string) string) bool { return strings.HasSuffix(get("Date"), ".03.2025") })))},
			"How many days of snow = yes were there in Zürich?": {in(float64(weather.count(func(get func(string) string) bool { return get("Snow") == "yes" && get("Station") == "Zürich" })))},
		},
	}
	kinds := map[string][]Column{
		"california-housing.csv": {{Name: "longitude", Kind: Number}, {Name: "latitude", Kind: Number}, {Name: "housing_median_age", Kind: Number}, {Name: "total_rooms", Kind: Number}, {Name: "total_bedrooms", Kind: Number}, {Name: "population", Kind: Number}, {Name: "households", Kind: Number}, {Name: "median_income", Kind: Number}, {Name: "median_house_value", Kind: Number}, {Name: "ocean_proximity", Kind: Text}},
		"coffee-sales.csv":       {{Name: "order_id", Kind: Number}, {Name: "order_date", Kind: Date}, {Name: "city", Kind: Text}, {Name: "product", Kind: Text}, {Name: "quantity", Kind: Number}, {Name: "unit_price", Kind: Number}, {Name: "amount", Kind: Number}, {Name: "customer_rating", Kind: Number}},
	}
	for _, name := range slices.Sorted(keys2(all)) {
		for _, question := range slices.Sorted(keys2(all[name])) {
			t.Run(question, func(t *testing.T) {
				got, _, chart := ask(t, py, data(name), question, kinds[name])
				for _, want := range all[name][question] {
					if !strings.Contains(got, want) {
						t.Errorf("want %q in the answer, got:\n%s", want, got)
					}
				}
				if wants := strings.Contains(question, "istogram") || strings.Contains(question, "chart") || strings.Contains(question, "trend"); wants && !chart {
					t.Error("no chart was saved")
				}
			})
		}
	}
}

func keys2[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TestRepair: cells that are no numbers make the first code fail, and the second
// one count what is left, and say so.
func TestRepair(t *testing.T) {
	py := start(t)
	path := filepath.Join(t.TempDir(), "prices.csv")
	if err := os.WriteFile(path, []byte("item,price\na,\"$1,200\"\nb,on request\nc,$300.50\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, runs, _ := ask(t, py, path, "What is the average price?", []Column{{Name: "item", Kind: Text}, {Name: "price", Kind: Text}})
	if runs != 3 {
		t.Errorf("want a look, and one repair, got %d runs", runs)
	}
	for _, want := range []string{"**750.25**", "1 rows without a value"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q, got:\n%s", want, got)
		}
	}
	broken, runs, _ := ask(t, py, filepath.Join(t.TempDir(), "absent.csv"), "What is the average price?", []Column{{Name: "item", Kind: Text}, {Name: "price", Kind: Text}})
	if runs != 1 || !strings.Contains(broken, "could not read the dataset") || !strings.Contains(broken, "FileNotFoundError") {
		t.Errorf("want a word on what failed, got %d runs:\n%s", runs, broken)
	}
}

func TestPlanner(t *testing.T) {
	system := `- Name: "California Housing" (registered as "california-housing", about 1.9 MiB, one CSV file).`
	tools := []Tool{{Name: "ask_user"}, {Name: "agent_housing_bot__NS__worker", Params: []string{"request"}}}
	think := func(m ...Message) Reply { return Think(Conversation{System: system, Tools: tools, Messages: m}) }
	if r := think(Message{Text: "Hello!"}); len(r.Calls) > 0 || !strings.Contains(r.Text, "California Housing") {
		t.Errorf("a greeting needs no calculation, got %+v", r)
	}
	q := Message{Text: "How many rows?"}
	r := think(q)
	if len(r.Calls) != 1 || r.Calls[0].Name != "agent_housing_bot__NS__worker" || r.Calls[0].Args["request"] != q.Text {
		t.Fatalf("want the question handed to the worker, got %+v", r)
	}
	if r := think(q, Message{Model: true, Calls: r.Calls}, Message{Results: []Result{{Text: `{"result":"There are **7**."}`}}}); r.Text != "There are **7**." {
		t.Errorf("want the worker's words, got %+v", r)
	}
	if r := think(q, Message{Model: true, Calls: r.Calls}, Message{Results: []Result{{Text: "Remote agent request failed: connection refused"}}}); !strings.Contains(r.Text, "could not be reached") {
		t.Errorf("want no figure where the worker is away, got %+v", r)
	}
	if r := think(q, Message{Model: true, Text: "There are 7."}, Message{Text: "What is the average price?"}); len(r.Calls) != 1 || r.Calls[0].Args["request"] != "What is the average price?" {
		t.Errorf("want the second question handed on, got %+v", r)
	}
}
