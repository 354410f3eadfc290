// Command argocd is Argo CD without what people talk to: its application controller,
// ApplicationSet controller and repository server. Which of them it is, its name or
// ARGOCD_BINARY_NAME says. Server, command line and notifications, which the portal
// does not run, are a sixth of the whole.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	applicationset "github.com/argoproj/argo-cd/v3/cmd/argocd-applicationset-controller/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
)

func main() {
	name := filepath.Base(os.Args[0])
	if v := os.Getenv("ARGOCD_BINARY_NAME"); v != "" {
		name = v
	}
	commands := map[string]func() *cobra.Command{
		"argocd-application-controller":    controller.NewCommand,
		"argocd-applicationset-controller": applicationset.NewCommand,
		"argocd-repo-server":               reposerver.NewCommand,
	}
	if commands[name] == nil {
		fmt.Fprintf(os.Stderr, "unknown program %q: set ARGOCD_BINARY_NAME to argocd-application-controller, argocd-applicationset-controller or argocd-repo-server\n", name)
		os.Exit(2)
	}
	if err := commands[name]().Execute(); err != nil {
		os.Exit(1)
	}
}
