package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/configuration"
	"whisperops.io/functions/hack/controlplane/suite"
)

// shelf holds what a Configuration can be given without a network.
func (o options) shelf(tools controlplane.Tools) (configuration.Shelf, error) {
	version, err := suite.Version(o.checkout)
	if err != nil {
		return nil, err
	}
	h, err := configuration.AtHand(o.checkout, o.packages, o.standIns, version, tools)
	if err != nil {
		return nil, err
	}
	if o.more != "" {
		if err := h.AddFiles(o.more); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(o.pulled()); err == nil {
		return h, h.AddFiles(o.pulled())
	}
	return h, nil
}

// pulled is the folder of what had to be pulled.
func (o options) pulled() string { return o.file("pulled") }

// gather reads the Configuration and pulls what it wants and nobody has at hand: inside the
// control plane's namespaces there is no network to do so.
func gather(ctx context.Context, o options) error {
	tools, err := controlplane.FindTools(ctx)
	if err != nil {
		return err
	}
	c, err := configuration.Read(o.configuration)
	if err != nil {
		return err
	}
	if len(c.Skipped) > 0 {
		fmt.Printf("Left out, because not all in them are objects: %s.\n", strings.Join(c.Skipped, ", "))
	}
	h, err := o.shelf(tools)
	if err != nil {
		return err
	}
	return h.Pull(ctx, c.Wants, o.pulled(), func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
}

// holdForeign keeps a control plane with somebody else's Configuration.
func holdForeign(ctx context.Context, o options, say func(string, ...any)) error {
	tools, err := controlplane.FindTools(ctx)
	if err != nil {
		return err
	}
	c, err := configuration.Read(o.configuration)
	if err != nil {
		return err
	}
	h, err := o.shelf(tools)
	if err != nil {
		return err
	}
	s, err := configuration.Start(ctx, controlplane.StackOptions{
		Options: controlplane.Options{Dir: o.file("stack"), Log: say, Tools: tools},
	}, c, h)
	if err != nil {
		return err
	}
	defer s.Stop()
	if err := forward(o.file(apiSoc), s.URL); err != nil {
		return err
	}
	for _, order := range c.Orders {
		// Whether it gets Ready is its own affair; that the pipeline ran is ours.
		if err := s.WaitFor(ctx, time.Minute, "Synced", order.GetAPIVersion(), order.GetKind(), order.GetNamespace(), order.GetName()); err != nil {
			say("%v", err)
		}
	}
	say(ready)
	<-ctx.Done()
	return nil
}

// finishForeign shows what the Configuration defines, and what to type next.
func finishForeign(o options, began time.Time, show func(string, ...string) error, kubectl string) error {
	c, err := configuration.Read(o.configuration)
	if err != nil {
		return err
	}
	if err := show("KUBECTL", "get", "functions.pkg,providers.pkg,xrd,compositions"); err != nil {
		return err
	}
	for _, kind := range c.Kinds() {
		if err := show("KUBECTL", "get", kind, "-A"); err != nil {
			return err
		}
	}
	fmt.Printf(foreignUp, time.Since(began).Seconds(), o.kubeconfig(), kubectl, strings.Join(c.Kinds(), ","), o.file("stack/logs"))
	return nil
}

const foreignUp = `
Up after %.0f s.

  export KUBECONFIG=%s
  alias kubectl=%s

  # order something, change a Composition: what you apply stays, no package manager puts it back
  kubectl apply -f <file>
  kubectl get %s -A
  kubectl get events -A --sort-by=.lastTimestamp

Logs of Crossplane and of every function: %s

  make down
`
