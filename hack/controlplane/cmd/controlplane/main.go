// Command controlplane boots the suite on a real control plane and keeps it until
// it is told to stop:
//
//	controlplane up -dir DIR -packages DIR -standins DIR [-schemas DIR]
//	controlplane up -dir DIR -packages DIR -standins DIR -configuration XPKG|DIR [-more DIR]
//	controlplane dataset -dir DIR -file CSV [-name NAME]
//	controlplane portal -dir DIR -programs DIR
//	controlplane portal-down -dir DIR
//	controlplane down -dir DIR
//
// The control plane runs in namespaces of its own where the machine allows it:
// its fixed ports then collide with nothing, and the kernel ends all of it with
// one process. Only the API server, Prometheus and the chat pages are reachable from outside, on
// loopback ports that a small proxy forwards through Unix sockets.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

type options struct {
	dir, packages, standIns, schemas, checkout, python string
	rootfs                                             string
	csv, name                                          string
	configuration, more, programs                      string
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("say what to do: up, dataset, portal, portal-down or down")
	}
	var o options
	fs := flag.NewFlagSet("controlplane "+args[0], flag.ContinueOnError)
	fs.StringVar(&o.dir, "dir", "", "folder for all state")
	fs.StringVar(&o.packages, "packages", "", "folder with the packages to install")
	fs.StringVar(&o.standIns, "standins", "", "folder with the stand-ins' programs")
	fs.StringVar(&o.schemas, "schemas", "", "folder with real CRDs; without it permissive ones")
	fs.StringVar(&o.checkout, "checkout", "", "root of the checkout; default: the one that holds the working folder")
	fs.StringVar(&o.python, "python", "", "Python with pandas; without one agents don't run")
	fs.StringVar(&o.rootfs, "rootfs", "", "root file system of the sandbox's image, with NODE=real")
	fs.StringVar(&o.configuration, "configuration", "", "a Configuration to boot instead of the suite: a package's file or a folder of manifests")
	fs.StringVar(&o.more, "more", "", "folder with *.xpkg that the Configuration wants")
	fs.StringVar(&o.csv, "file", "", "of dataset: a CSV")
	fs.StringVar(&o.name, "name", "", "of dataset: how it and its agent are called; default: the file's name")
	fs.StringVar(&o.programs, "programs", "", "of portal: folder with the programs ledger and dataset-watcher")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if o.dir == "" {
		return errors.New("say where the state lies: -dir")
	}
	switch args[0] {
	case "up":
		return up(ctx, o)
	case "down":
		return down(o)
	case "dataset":
		return dataset(ctx, o)
	case "portal":
		return portalUp(ctx, o)
	case "portal-down":
		return portalDown(o)
	case "portal-serve": // by portal
		return portalServe(ctx, o)
	case "serve": // by up, inside the namespaces
		return serve(ctx, o)
	case "proxy": // by up, outside them
		return proxy(context.WithoutCancel(ctx), o) // it ends with the control plane, not with a signal
	}
	return fmt.Errorf("unknown verb %q; known: up, dataset, portal, portal-down, down", args[0])
}
