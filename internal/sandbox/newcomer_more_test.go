//go:build linux

package sandbox

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
)

func plainCell(_ string, v any) string {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		return v
	}
	return ""
}

// passengers is in the likeness of the list that every course begins with: codes for
// words, names with commas, two thirds of a column empty.
func passengers() broughtFile {
	r := rand.New(rand.NewPCG(3, 3))
	t := &table{columns: []string{"PassengerId", "Survived", "Pclass", "Name", "Sex", "Age", "SibSp", "Fare", "Cabin", "Embarked"}}
	for i := range 688 {
		sex := pick(r, "male", "male", "female")
		class := float64(1 + r.IntN(3))
		survived := 0.0
		if r.IntN(10) < map[string]int{"male": 2, "female": 7}[sex] {
			survived = 1
		}
		var age, cabin any = math.Round(10*80*r.Float64()) / 10, nil
		if r.IntN(5) == 0 {
			age = nil
		}
		if r.IntN(3) == 0 {
			cabin = fmt.Sprintf("%s%d", pick(r, "A", "B", "C"), r.IntN(130))
		}
		t.rows = append(t.rows, []any{float64(i + 1), survived, class, fmt.Sprintf("Braund, %s. Owen (%d)", map[string]string{"male": "Mr", "female": "Mrs"}[sex], i), sex, age, float64(r.IntN(4)), cents(7 + 200*r.Float64()/class), cabin, pick(r, "S", "S", "C", "Q")})
	}
	alive := where("Survived", func(v float64) bool { return v == 1 })
	class := func(n float64) func(record) bool {
		return where("Pclass", func(v float64) bool { return v == n })
	}
	dearest := slices.MaxFunc(t.rows, func(a, b []any) int { return int(100 * (a[7].(float64) - b[7].(float64))) })
	return broughtFile{name: "passengers.csv", content: written(t, ',', plainCell), questions: []asked{
		{ask: "How many passengers survived?", want: bold(t.count(alive))},
		{ask: "What share of passengers survived?", want: bold(100 * t.count(alive) / 688)},
		{ask: "What is the average of Survived by Sex?", want: shown(t.by("Sex", "Survived", average))},
		{ask: "What was the survival rate for women?", refused: true},
		{ask: "How many female passengers were there?", want: bold(t.count(is("Sex", "female")))},
		{ask: "What was the average fare by Pclass?", want: []string{"| 1 | " + figure(average(t.values("Fare", class(1)))) + " |", "| 3 | " + figure(average(t.values("Fare", class(3)))) + " |"}},
		{ask: "What is the average fare by class?", want: []string{"| 2 | " + figure(average(t.values("Fare", class(2)))) + " |"}},
		{ask: "What is the average age of the survivors?", refused: true},
		{ask: "How many passengers were there in each class?", want: []string{"| 1 | " + figure(t.count(class(1))) + " |", "| 2 | " + figure(t.count(class(2))) + " |"}},
		{ask: "How many passengers are older than 60?", want: bold(t.count(where("Age", func(v float64) bool { return v > 60 })))},
		{ask: "Who paid the highest fare?", want: []string{"**" + figure(dearest[7].(float64)) + "**", dearest[3].(string)}},
		{ask: "How many passengers embarked at \"C\"?", want: bold(t.count(is("Embarked", "C")))},
		{ask: "How many ages are missing?", want: bold(t.count(absent("Age")))},
		{ask: "What is the median fare where Pclass is 1?", want: bold(middle(t.values("Fare", class(1))))},
		{ask: "What is the average age of male passengers?", want: bold(average(t.values("Age", is("Sex", "male"))))},
		{ask: "What is the average fare for male passengers younger than 18?", want: bold(average(t.values("Fare", is("Sex", "male"), where("Age", func(v float64) bool { return v < 18 }))))},
		{ask: "What are the 5 highest fares?", want: []string{figure(dearest[7].(float64))}},
		{ask: "What is the distribution of the fare?", want: []string{figure(middle(t.values("Fare"))), figure(average(t.values("Fare")))}, chart: true},
		{ask: "Tell me about the embarked column", want: []string{"| S | " + figure(t.count(is("Embarked", "S"))) + " |"}},
		{ask: "What is the capital of France?", refused: true},
		{ask: "What is the average age of the women?", refused: true},
		{ask: "What percentage of female passengers survived?", want: bold(100 * t.count(is("Sex", "female"), alive) / t.count(is("Sex", "female")))},
		{ask: "How many survivors are there?", refused: true},
		{ask: "How many passengers did not survive?", want: bold(688 - t.count(alive))},
	}}
}

// countries is a table of years, with tabs: a year is a number here, and names are
// written in pieces.
func countries() broughtFile {
	r := rand.New(rand.NewPCG(4, 4))
	t := &table{columns: []string{"country", "continent", "year", "lifeExp", "pop", "gdpPercap"}}
	for _, c := range [][2]string{{"Germany", "Europe"}, {"France", "Europe"}, {"Portugal", "Europe"}, {"Kenya", "Africa"}, {"Ghana", "Africa"}, {"Côte d'Ivoire", "Africa"}, {"Japan", "Asia"}, {"Viet Nam", "Asia"}, {"Korea, Rep.", "Asia"}, {"Sri Lanka", "Asia"}} {
		for year := 1952.0; year <= 2007; year += 5 {
			t.rows = append(t.rows, []any{c[0], c[1], year, math.Round(1000*(45+40*r.Float64())) / 1000, float64(1e6 + r.IntN(2e8)), cents(400 + 40000*r.Float64())})
		}
	}
	in := where("year", func(v float64) bool { return v == 2007 })
	longest, years := most(t.by("country", "lifeExp", slices.Max[[]float64]))
	richest, gdp := most(t.by("country", "gdpPercap", average))
	kinds, _ := most(map[string]float64{"Europe": 3, "Africa": 3.5, "Asia": 4})
	return broughtFile{name: "countries.csv", content: written(t, '\t', plainCell), questions: []asked{
		{ask: "Which country has the highest life expectancy?", want: []string{"**" + longest + "**", "**" + figure(years) + "**"}},
		{ask: "What is the average life expectancy in Africa?", want: bold(average(t.values("lifeExp", is("continent", "Africa"))))},
		{ask: "What is the average lifeExp in Africa in 2007?", want: bold(average(t.values("lifeExp", is("continent", "Africa"), in)))},
		{ask: "What was the total population in 2007?", want: bold(total(t.values("pop", in)))},
		{ask: "Which country has the highest gdpPercap on average?", want: []string{"**" + richest + "**", "**" + figure(gdp) + "**"}},
		{ask: "How many countries are in Europe?", want: bold(3)},
		{ask: "How many countries are there?", want: bold(10)},
		{ask: "What was the pop of Germany in 2007?", want: bold(total(t.values("pop", in, is("country", "Germany"))))},
		{ask: "What is the average lifeExp per year?", want: []string{"| 1952 | " + figure(average(t.values("lifeExp", where("year", func(v float64) bool { return v == 1952 })))) + " |"}},
		{ask: "What is the average lifeExp by continent in 2007?", want: shown(t.by("continent", "lifeExp", average, in))},
		{ask: "Which continent has the most countries?", want: []string{"**" + kinds + "**", "**4**"}},
		{ask: "What are the top 3 countries by gdpPercap in 2007?", want: []string{}},
		{ask: "average gdpPercap in Viet Nam", want: bold(average(t.values("gdpPercap", is("country", "Viet Nam"))))},
		{ask: "Plot lifeExp against gdpPercap", want: bold(correlated(t.values("lifeExp"), t.values("gdpPercap"))), chart: true},
		{ask: "What is the average lifeExp since 1990?", want: bold(average(t.values("lifeExp", where("year", func(v float64) bool { return v >= 1990 }))))},
		{ask: "Compare the lifeExp of France and Germany", want: shown(t.by("country", "lifeExp", average, func(get record) bool { return get("country") == "France" || get("country") == "Germany" }))},
		{ask: "What is the ratio of pop to gdpPercap?", refused: true},
		{ask: "Which country grew fastest?", refused: true},
		{ask: "What is the average unemployment in Europe?", refused: true},
	}}
}
