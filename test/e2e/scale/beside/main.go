// Command beside compares what make scale measured of two builds, in Markdown.
//
//	beside -now this.log -base earlier.log -commits "what was compared"
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"whisperops.io/functions/test/e2e/scale"
)

func main() {
	now := flag.String("now", "", "log of this build's run")
	base := flag.String("base", "", "log of the earlier build's run")
	commits := flag.String("commits", "", "what was compared")
	flag.Parse()
	if err := run(*now, *base, *commits); err != nil {
		fmt.Fprintln(os.Stderr, "beside:", err)
		os.Exit(1)
	}
}

func run(now, base, commits string) error {
	n, err := os.ReadFile(now)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(base)
	if err != nil {
		return err
	}
	table, err := scale.Beside(string(n), string(b))
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d processors, %s. %s.\n\n%s", time.Now().UTC().Format("2006-01-02 15:04"), runtime.NumCPU(), runtime.Version(), commits, table) //nolint:forbidigo // a program for people
	return nil
}
