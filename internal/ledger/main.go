package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"
	ctrl "sigs.k8s.io/controller-runtime"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/gitea"
	"whisperops.io/functions/internal/program"
)

const usage = `ledger keeps the files in which agents are ordered.

  ledger check --agent housing-bot --order order.yaml      is the name free?
  ledger edit --agent housing-bot --set budgetUsd=7.5      one commit, then Argo CD looks
  ledger deliver --agent housing-bot                       Argo CD finds a new order now
  ledger refresh --agent housing-bot                       Argo CD looks now
  ledger retire --agent housing-bot --yes                  silence, dismantle, erase
  ledger wait --healthy functions.pkg.crossplane.io/x      until a platform is installed

Each takes --help. What is done already is passed over: run it again after a failure.
`

// Main runs the command that the arguments name.
func Main() {
	program.Main("ledger", func(args []string, _ func(string) string, _ io.Writer) ([]string, error) { return args, nil },
		func(ctx context.Context, args []string) error { return Run(ctx, args, os.Getenv, os.Stdout, os.Stderr) })
}

// Run runs one command: check, deliver, edit, refresh, retire or wait.
func Run(ctx context.Context, args []string, env func(string) string, out, errOut io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(errOut, usage)
		return program.ErrUsage
	}
	f := &flags{out: out}
	commands := map[string]func(context.Context) error{
		"check": f.check, "deliver": f.deliver, "edit": f.edit, "refresh": f.refresh, "retire": f.retire, "wait": f.wait,
	}
	switch command := args[0]; {
	case command == "help" || command == "-h" || command == "--help":
		fmt.Fprint(out, usage)
		return nil
	case commands[command] == nil:
		fmt.Fprintf(errOut, "unknown command %q\n\n%s", command, usage)
		return program.ErrUsage
	default:
		return f.run(ctx, command, args[1:], env, errOut, commands[command])
	}
}

type prerequisites struct {
	list  *[]Prerequisite
	parse func(string) (Prerequisite, error)
}

func (prerequisites) String() string { return "" }

func (p prerequisites) Set(s string) error {
	x, err := p.parse(s)
	*p.list = append(*p.list, x)
	return err
}

type changes []Change

func (c *changes) String() string { return "" }

func (c *changes) Set(s string) error {
	change, err := ParseChange(s)
	*c = append(*c, change)
	return err
}

type flags struct {
	out io.Writer

	agent, giteaURL, owner, branch, file, tokenFile string
	argoCDNamespace                                 string
	message                                         string
	order, applicationSet                           string
	prerequisites                                   []Prerequisite
	set                                             changes
	refreshAfter, keepRepository, yes               bool
	backstageURL, backstageTokenFile, backstageKind string
	settle, poll, timeout, pushWithin               time.Duration
}

func (f *flags) run(ctx context.Context, command string, args []string, env func(string) string, errOut io.Writer, do func(context.Context) error) error {
	fs := flag.NewFlagSet("ledger "+command, flag.ContinueOnError)
	fs.SetOutput(errOut)
	if command != "wait" {
		fs.StringVar(&f.agent, "agent", "", "name of the agent, as the order's agentName says it")
	}
	fs.StringVar(&f.argoCDNamespace, "argocd-namespace", or(env("ARGOCD_NAMESPACE"), "argocd"), "namespace of Argo CD's Applications (env ARGOCD_NAMESPACE)")
	if command != "deliver" && command != "refresh" && command != "wait" {
		fs.StringVar(&f.giteaURL, "gitea-url", env("GITEA_URL"), "address of the Gitea that holds the orders, https://<host> (env GITEA_URL)")
		fs.StringVar(&f.owner, "gitea-owner", or(env("GITEA_OWNER"), "agents"), "organisation of the orders' repositories, agent-<name> each (env GITEA_OWNER)")
		fs.StringVar(&f.branch, "gitea-branch", or(env("GITEA_BRANCH"), "main"), "branch that Argo CD reads (env GITEA_BRANCH)")
		fs.StringVar(&f.tokenFile, "gitea-token-file", or(env("GITEA_TOKEN_FILE"), "/etc/ledger/gitea/token"), "file with a Gitea token that may write the repository (env GITEA_TOKEN_FILE)")
		fs.StringVar(&f.file, "file", OrderFile, "the order in its repository")
	}
	switch command {
	case "check":
		fs.StringVar(&f.order, "order", "", "the order that is to be made; an identical one in the repository is what a run that failed halfway has left, and no obstacle")
		fs.DurationVar(&f.pushWithin, "push-within", PushWithin, "how old an empty repository must be before it counts as left behind; until then whoever made it may be about to push (env LEDGER_PUSH_WITHIN)")
		if s := env("LEDGER_PUSH_WITHIN"); s != "" {
			args = append([]string{"--push-within=" + s}, args...) // what is typed comes later, and wins
		}
	case "deliver":
		fs.StringVar(&f.applicationSet, "applicationset", "agents", "ApplicationSet that finds the orders' repositories")
		fs.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait for the Application")
		fs.DurationVar(&f.poll, "poll", time.Second, "time between two looks")
	case "wait":
		fs.Var(prerequisites{&f.prerequisites, Healthy}, "healthy", "package that must be healthy, providers.pkg.crossplane.io/<name> for example; may be repeated")
		fs.Var(prerequisites{&f.prerequisites, Established}, "established", "CRD that must be established, <plural>.<group>; may be repeated")
		fs.DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait")
		fs.DurationVar(&f.poll, "poll", 2*time.Second, "time between two looks")
	case "edit":
		fs.Var(&f.set, "set", "what to change, <field>=<value>; fields: "+strings.Join(Fields(), ", ")+"; may be repeated")
		fs.StringVar(&f.message, "message", "", "the commit's message; empty: it says what was set")
		fs.BoolVar(&f.refreshAfter, "refresh", true, "have Argo CD look at once; without it the change waits for Argo CD's next look, three minutes at most by default")
	case "retire":
		fs.BoolVar(&f.yes, "yes", false, "say that you mean it: the agent, its data and its repository will be gone")
		fs.BoolVar(&f.keepRepository, "keep-repository", false, "leave the repository, as a record")
		fs.StringVar(&f.backstageURL, "backstage-url", env("BACKSTAGE_URL"), "address of Backstage's backend; empty: the catalog is left alone (env BACKSTAGE_URL)")
		fs.StringVar(&f.backstageTokenFile, "backstage-token-file", or(env("BACKSTAGE_TOKEN_FILE"), "/etc/ledger/backstage/token"), "file with a static token of Backstage's backend (env BACKSTAGE_TOKEN_FILE)")
		fs.StringVar(&f.backstageKind, "backstage-kind", "component", "kind of the agents' entities")
		fs.DurationVar(&f.settle, "settle", 5*time.Second, "how long automated sync must stay off before the order is deleted")
		fs.DurationVar(&f.poll, "poll", 2*time.Second, "time between two looks at what still stands")
		fs.DurationVar(&f.timeout, "timeout", 15*time.Minute, "how long the parts may take to go")
	}
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err == nil {
		err = f.validate(command, fs.Args())
		if err != nil {
			fmt.Fprintln(errOut, err)
		}
	}
	if err != nil {
		return program.ErrUsage
	}
	return do(ctx)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (f *flags) validate(command string, rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: flags start with --", rest[0])
	case command == "wait" && len(f.prerequisites) == 0:
		return errors.New("say what to wait for: --healthy or --established")
	case (command == "wait" || command == "retire" || command == "deliver") && (f.settle < 0 || f.poll <= 0 || f.timeout <= 0):
		return errors.New("--settle, --poll and --timeout must be more than 0")
	case command == "wait":
		return nil
	case f.agent == "":
		return errors.New("flag --agent is empty: name the agent")
	case (v1alpha1.XAgentBudgetSpec{AgentName: f.agent}).Validate() != nil:
		return fmt.Errorf("invalid value %q for flag --agent: %w", f.agent, (v1alpha1.XAgentBudgetSpec{AgentName: f.agent}).Validate())
	case command == "edit" && len(f.set) == 0:
		return errors.New("flag --set is missing: say what to change, for example --set budgetUsd=7.5")
	case command == "check" && f.order == "":
		return errors.New("flag --order is empty: name the file with the order that is to be made")
	case (command == "edit" || command == "check") && f.giteaURL == "":
		return errors.New("flag --gitea-url is empty: say where the orders' repositories are")
	case command == "retire" && !f.yes:
		return fmt.Errorf("this takes agent %s, its data and its repository away for good: say --yes if you mean it", f.agent)
	case command == "retire" && f.giteaURL == "" && !f.keepRepository:
		return errors.New("flag --gitea-url is empty: say where the repository is, or --keep-repository")
	}
	return nil
}

func (f *flags) check(ctx context.Context) error {
	order, err := os.ReadFile(f.order)
	if err != nil {
		return err
	}
	c, err := f.cluster()
	if err != nil {
		return err
	}
	r, err := f.repository()
	if err != nil {
		return err
	}
	v, err := Check(ctx, c, r, f.agent, f.file, order, f.pushWithin)
	if err != nil {
		return err
	}
	return json.NewEncoder(f.out).Encode(v)
}

func (f *flags) wait(ctx context.Context) error {
	c, err := f.cluster()
	if err != nil {
		return err
	}
	return c.Wait(ctx, f.prerequisites, f.timeout, f.poll, f.out)
}

func (f *flags) edit(ctx context.Context) error {
	r, err := f.repository()
	if err != nil {
		return err
	}
	changed, err := Commit(ctx, r, f.agent, f.file, f.message, f.set...)
	if err != nil {
		return fmt.Errorf("cannot change the order of %s in %s/agent-%s: %w", f.agent, f.owner, f.agent, err)
	}
	if !changed {
		fmt.Fprintf(f.out, "nothing to change: the order of %s says so already\n", f.agent)
	} else {
		fmt.Fprintf(f.out, "committed: %s\n", defaultMessage(f.agent, f.set))
	}
	if !f.refreshAfter {
		return nil
	}
	if err := f.refresh(ctx); err != nil {
		return fmt.Errorf("the change is in Git, but Argo CD was not told; it will look by itself: %w", err)
	}
	return nil
}

func (f *flags) deliver(ctx context.Context) error {
	c, err := f.cluster()
	if err != nil {
		return err
	}
	if err := c.Deliver(ctx, f.agent, f.applicationSet, f.timeout, f.poll); err != nil {
		return err
	}
	fmt.Fprintf(f.out, "Argo CD delivers %s\n", ApplicationName(f.agent))
	return nil
}

func (f *flags) refresh(ctx context.Context) error {
	c, err := f.cluster()
	if err != nil {
		return err
	}
	if err := c.Refresh(ctx, f.agent); err != nil {
		return err
	}
	fmt.Fprintln(f.out, "Argo CD looks now")
	return nil
}

func (f *flags) retire(ctx context.Context) error {
	c, err := f.cluster()
	if err != nil {
		return err
	}
	r := Retirement{Cluster: c, AgentName: f.agent, File: f.file, Settle: f.settle, Poll: f.poll, Timeout: f.timeout, Out: f.out}
	if !f.keepRepository {
		if r.Repository, err = f.repository(); err != nil {
			return err
		}
	}
	if f.backstageURL != "" {
		r.Catalog = &Catalog{URL: f.backstageURL, Token: fileToken(f.backstageTokenFile), Kind: f.backstageKind, Namespace: "default"}
	}
	return r.Run(ctx)
}

func (f *flags) cluster() (Cluster, error) {
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return Cluster{}, fmt.Errorf("cannot find the API server: %w", err)
	}
	cfg.Timeout = 30 * time.Second
	cfg.UserAgent = "whisperops-ledger"
	d, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return Cluster{}, fmt.Errorf("cannot reach the API server: %w", err)
	}
	return Cluster{Client: d, ArgoCDNamespace: f.argoCDNamespace}, nil
}

// requestsPerSecond is more than one person's change ever needs.
const requestsPerSecond = 20

func (f *flags) repository() (*gitea.Client, error) {
	return gitea.New(f.giteaURL, f.owner+"/agent-"+f.agent, f.branch, fileToken(f.tokenFile), requestsPerSecond)
}

func fileToken(file string) func() (string, error) {
	return func() (string, error) {
		data, err := os.ReadFile(file) //nolint:gosec // the file that the flag names
		if err != nil {
			return "", err
		}
		token := strings.TrimSpace(string(data))
		if token == "" {
			return "", fmt.Errorf("%s is empty", file)
		}
		return token, nil
	}
}
