// Command write puts what it reads into the place that a command has in a page.
//
//	make ... | write -page docs/measured.md -command "make scale"
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"whisperops.io/functions/test/page"
)

func main() {
	file := flag.String("page", "", "Markdown file")
	command := flag.String("command", "", "whose place it is")
	flag.Parse()
	text, err := io.ReadAll(os.Stdin)
	if err == nil && len(text) > 0 {
		err = page.Replace(*file, *command, string(text))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "write:", err)
		os.Exit(1)
	}
}
