// Package spend is the program "spend", for whoever asks how a budget's figure came
// about, and for whoever keeps the price table. It asks no server: what it needs it
// is given as files. docs/prices.md shows its use.
package spend

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"sigs.k8s.io/yaml"

	"whisperops.io/functions/internal/errors"
)

const usage = `spend says how a budget's figure came about, and writes price tables.

  spend explain --budget xab.yaml [--prices prices.yaml] [--samples answer.json] [--input input.yaml]
  spend prices --from model_prices_and_context_window.json --models gemini-3.5-flash,gpt-6.1

explain reads what kubectl get xab <agent> -o yaml prints, and works the figure out again to its last digit.
prices reads the catalog of LiteLLM (model_prices_and_context_window.json) or of models.dev (api.json).
Each takes --help. - is standard input.
`

// Main runs the command that the arguments name.
func Main() {
	err := Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2) // what is wrong has been said
	default:
		fmt.Fprintf(os.Stderr, "spend: %v\n", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("wrong usage")

// Run runs one command: explain or prices.
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(errOut, usage)
		return errUsage
	}
	switch args[0] {
	case "help", "-h", "--help":
		fmt.Fprint(out, usage)
		return nil
	case "explain":
		return runExplain(ctx, args[1:], in, out, errOut)
	case "prices":
		return runPrices(args[1:], in, out, errOut)
	}
	fmt.Fprintf(errOut, "unknown command %q\n\n%s", args[0], usage)
	return errUsage
}

func runExplain(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("explain", flag.ContinueOnError)
	flags.SetOutput(errOut)
	budgetFile := flags.String("budget", "-", "an XAgentBudget with its status, as kubectl get xab -o yaml prints it")
	pricesFile := flags.String("prices", "", "the price table: the ConfigMap, or its key prices.yaml; empty: the prices that the status keeps")
	samplesFiles := flags.String("samples", "", "saved answers of the server to the query that explain prints, with commas between; the tokens are counted again then")
	inputFile := flags.String("input", "", "the input of the step fetch-spend; empty: the Composition's that is shipped")
	if err := parse(flags, args, errOut); err != nil {
		return err
	}
	e := Explanation{}
	text, err := read(*budgetFile, in)
	if err != nil {
		return err
	}
	if e.Budget, err = ReadBudget(text); err != nil {
		return errors.Wrapf(err, "cannot use %s", *budgetFile)
	}
	prices := e.Budget.keptPrices()
	if *pricesFile != "" {
		if prices, err = read(*pricesFile, in); err != nil {
			return err
		}
	}
	if e.Prices, err = readTable(prices); err != nil {
		return errors.Wrapf(err, "cannot use the price table %s", *pricesFile)
	}
	if kept, err := readTable(e.Budget.keptPrices()); err == nil && kept != nil && e.Prices != nil {
		e.Prices = e.Prices.With(kept) // as fetch-spend does
	}
	e.Input.Default()
	if *inputFile != "" {
		text, err := read(*inputFile, in)
		if err != nil {
			return err
		}
		if err := yaml.UnmarshalStrict([]byte(text), &e.Input); err != nil {
			return errors.Wrapf(err, "cannot use %s", *inputFile)
		}
		var said map[string]any
		if err := yaml.Unmarshal([]byte(text), &said); err != nil {
			return errors.Wrapf(err, "cannot use %s", *inputFile)
		}
		e.Input.Said(said)
	}
	for f := range strings.SplitSeq(*samplesFiles, ",") {
		if f == "" {
			continue
		}
		text, err := read(f, in)
		if err != nil {
			return err
		}
		series, err := readSamples(text)
		if err != nil {
			return errors.Wrapf(err, "cannot use %s", f)
		}
		e.Samples = append(e.Samples, series...)
	}
	return e.Write(ctx, out)
}

func parse(flags *flag.FlagSet, args []string, errOut io.Writer) error {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(errOut, "%q is no flag\n", flags.Arg(0))
		return errUsage
	}
	return nil
}

func read(file string, in io.Reader) (string, error) {
	if file == "-" {
		b, err := io.ReadAll(in)
		return string(b), errors.Wrap(err, "cannot read standard input")
	}
	b, err := os.ReadFile(file) //nolint:gosec // the file that the flag names
	return string(b), errors.Wrap(err, "cannot read file")
}
