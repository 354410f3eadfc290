package sandbox

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func executeDescription(timeout time.Duration) string {
	return fmt.Sprintf("Runs Python 3 and returns what it printed, or the traceback. pandas, numpy and matplotlib are there. The CSV lies at os.environ[\"DATASET_PATH\"], as a plain file. "+
		"Nothing survives a call: import and load what you need each time. There is no network, no credential, and no other process can be started. A call may take %d seconds. "+
		"To show a chart save it with plt.savefig(\"chart.png\") in the working folder; its link is returned.", int(timeout.Seconds()))
}

// answer tells the model how a run went, so that it knows what to do next.
func (s *server) answer(o outcome, f *file, previous, memory int64) *mcp.CallToolResult {
	var text strings.Builder
	if previous != 0 && previous != f.Generation {
		fmt.Fprintf(&text, "[The dataset was replaced: this run read generation %d, uploaded %s; earlier figures of this conversation are of generation %d. Ask describe_dataset again before you rely on its columns.]\n\n",
			f.Generation, f.Updated.Format(time.RFC3339), previous)
	}
	out, errs := o.Stdout.String(), o.Stderr.String()
	text.WriteString(out)
	if errs != "" {
		if out != "" && !strings.HasSuffix(out, "\n") {
			text.WriteString("\n")
		}
		text.WriteString("--- stderr ---\n" + errs)
	}
	if end := ending(o, f, memory); end != "" {
		if text.Len() > 0 && !strings.HasSuffix(text.String(), "\n") {
			text.WriteString("\n")
		}
		text.WriteString("[" + end + "]\n")
	}
	content := []mcp.Content{}
	for _, c := range o.Charts {
		content = append(content, s.show(&text, c)...)
	}
	if len(o.LeftOver) > 0 {
		fmt.Fprintf(&text, "[Files that were saved and are gone now, because only PNG and JPEG pictures up to %s are kept, %d of them: %s]\n", mi(chartLimit), chartsLimit, strings.Join(o.LeftOver[:min(len(o.LeftOver), 5)], ", "))
	}
	fmt.Fprintf(&text, "[%.1f s, %d MiB at most, dataset generation %d]", o.Wall.Seconds(), o.MaxRSS/mebibyte, f.Generation)
	return &mcp.CallToolResult{
		IsError: o.Cause != causeDone,
		Content: append([]mcp.Content{&mcp.TextContent{Text: text.String()}}, content...),
	}
}

// show makes a chart part of the answer: its link in the text, and the picture.
func (s *server) show(text *strings.Builder, c chart) []mcp.Content {
	name := filepath.Base(c.Name)
	switch {
	case c.Link != "":
		fmt.Fprintf(text, "[Chart %s: ![%s](%s) Put this Markdown into your answer, unchanged.]\n", name, strings.TrimSuffix(name, filepath.Ext(name)), c.Link)
	case s.set.outputBucket != "":
		fmt.Fprintf(text, "[Chart %s was drawn and could not be stored: there is no link to show. Say so, and give the figures as a table.]\n", name)
	default:
		fmt.Fprintf(text, "[Chart %s is the picture in this result; no bucket is set, so there is no link.]\n", name)
	}
	if s.set.chartImages == imagesNever || s.set.chartImages == imagesUnlinked && c.Link != "" {
		return nil
	}
	return []mcp.Content{&mcp.ImageContent{Data: c.Data, MIMEType: c.Type, Annotations: &mcp.Annotations{Audience: []mcp.Role{"user"}}}}
}

// When a chart's picture is part of the answer, beside its link.
const (
	imagesAlways   = "always"
	imagesUnlinked = "unlinked" // only where there is no link
	imagesNever    = "never"
)

// ending says how a run ended, and what to do about it; "" where nothing needs be said.
func ending(o outcome, f *file, memory int64) string {
	errs := o.Stderr.String()
	switch o.Cause {
	case causeDone:
		switch {
		case o.Stdout.total == 0 && len(o.Charts) == 0 && o.Stderr.total == 0:
			return "The code ran to its end and printed nothing: print what you want to see"
		case o.Stdout.total > stdoutHead+stdoutTail:
			return fmt.Sprintf("The output had %d bytes, and only its beginning and end are shown: print less, such as df.head(10) or a sum", o.Stdout.total)
		}
		return ""
	case causeFailed:
		return failed(o, errs, f, memory)
	case causeTimeout:
		return fmt.Sprintf("The code was ended after %d seconds, the most that one run may take. Read only the columns you need (usecols), do less at once, or take a sample", int(o.Wall.Seconds()))
	case causeCPU:
		return "The code was ended because it used more processor time than one run may: do less at once"
	case causeMemory:
		return "The code was ended by the kernel because the sandbox ran out of memory. " + f.advice(memory)
	case causeOutput:
		return fmt.Sprintf("The code was ended because it printed more than %s; the beginning and the end are above. Print a summary", mi(outputLimit))
	case causeDisk:
		return fmt.Sprintf("The code was ended because it wrote more than %s or %d files. Keep what you need in memory", mi(filesLimit), fileCountLimit)
	case causeSignal:
		return fmt.Sprintf("The code crashed in native code (%s). Often that is too much memory, or a library used in a way it doesn't check. %s", signalName(o.Signal), f.advice(memory))
	case causeCanceled:
		return "The run was ended because nobody waited for it any more"
	case causeBroken:
		return "The sandbox itself failed; the code is not to blame. Try the same code once more; if it fails again, say that the sandbox is broken"
	}
	return ""
}

func failed(o outcome, errs string, f *file, memory int64) string {
	last := errs[strings.LastIndex(strings.TrimRight(errs, "\n"), "\n")+1:]
	switch {
	case strings.Contains(last, "MemoryError") || strings.Contains(errs, "MemoryError") && strings.Contains(errs, "Unable to allocate"):
		return fmt.Sprintf("A run may take %s of memory. %s", mi(memory), f.advice(memory))
	case strings.Contains(last, "PermissionError") || strings.Contains(last, "Operation not permitted") || strings.Contains(last, "BlockingIOError"):
		return "The sandbox refuses the network, other processes, and files outside the working folder. The dataset is a plain file at os.environ[\"DATASET_PATH\"]"
	case strings.Contains(last, "File too large"):
		return "One file may have " + mi(fileLimit)
	case errs == "" || o.Exit != 1:
		return fmt.Sprintf("The code ended with exit status %d", o.Exit)
	}
	return ""
}

func signalName(s syscall.Signal) string {
	switch s {
	case syscall.SIGSEGV:
		return "segmentation fault"
	case syscall.SIGABRT:
		return "abort"
	case syscall.SIGSYS:
		return "a system call that the sandbox refuses"
	default:
		return s.String()
	}
}
