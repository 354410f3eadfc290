package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/portal"
	"whisperops.io/functions/hack/controlplane/suite"
)

// Files of the portal in the state folder; its own state is below "portal".
const (
	portalProgress = "portal.progress"
	portalSoc      = "portal.sock"
	portalAddress  = "portal-address" // what finish shows
	storageAddress = "storage-address"
)

// portalUp runs the portal beside a control plane that is up, in a process of its own.
func portalUp(ctx context.Context, o options) error {
	if _, err := os.Stat(o.file(storageSoc)); err != nil {
		return fmt.Errorf("cannot start the portal: no agents run that answer; make up first: %w", err)
	}
	show := func(time.Time) error {
		text, err := os.ReadFile(o.file(portalAddress))
		fmt.Print(string(text))
		return err
	}
	if c, err := net.Dial("unix", o.file(portalSoc)); err == nil {
		_ = c.Close() // it was only a question
		fmt.Println("It is up already.")
		return show(time.Time{})
	}
	if err := portalDown(o); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if o.checkout == "" {
		if o.checkout, err = controlplane.Checkout(); err != nil {
			return err
		}
	}
	_, ended, err := daemon(o, "portal.log", self, "portal-serve", "-dir", o.dir, "-checkout", o.checkout, "-programs", o.programs)
	if err != nil {
		return err
	}
	if err := follow(ctx, o.file(portalProgress), "the portal", o.file("portal.log"), ended, show); err != nil {
		return fmt.Errorf("%w\nlogs: %s; make portal-down removes them", err, filepath.Join(o.file("portal"), "logs"))
	}
	return nil
}

// portalDown stops the portal and removes its state, if there is any.
func portalDown(o options) error {
	end(o.file(portalSoc))
	for _, f := range []string{"portal", portalProgress, portalSoc, portalAddress, "portal.log"} {
		if err := os.RemoveAll(o.file(f)); err != nil {
			return err
		}
	}
	return nil
}

// portalServe is the portal. It ends when it is told to, and with the control plane.
func portalServe(ctx context.Context, o options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	say, err := sayer(o.file(portalProgress))
	if err != nil {
		return err
	}
	if err := obey(o.file(portalSoc), map[string]func(){stopCommand: cancel}); err != nil {
		return err
	}
	control := tell(o.file(controlSoc), watcherCommand)
	if control == nil {
		return errors.New("cannot reach the control plane: it has ended")
	}
	go func() {
		_, _ = io.Copy(io.Discard, control) // ends when the control plane does
		cancel()
	}()
	tools, err := controlplane.FindTools(ctx)
	if err != nil {
		return err
	}
	p, err := portal.Start(ctx, portal.Options{
		Dir: o.file("portal"), Checkout: o.checkout, Kubeconfig: o.kubeconfig(), Tools: tools, Ledger: filepath.Join(o.programs, "ledger"),
		BaseDomain: baseDomain, ProjectID: projectID, Log: say,
	})
	if err != nil {
		return err
	}
	defer p.Stop()
	defer tell(o.file(controlSoc), watcherBackCommand)
	storage, err := o.publishStorage()
	if err != nil {
		return err
	}
	if err := p.Watch(ctx, filepath.Join(o.programs, "dataset-watcher"), suite.DatasetsBucket, storage); err != nil {
		return err
	}
	if err := p.Remember(filepath.Join(o.file("portal"), "portal.json")); err != nil {
		return err
	}
	if err := os.WriteFile(o.file(portalAddress), fmt.Appendf(nil, atThePortal, p.URL, p.Gitea.User, p.Gitea.Password, p.Gitea.URL, p.Backend), 0o600); err != nil {
		return err
	}
	say(ready)
	<-ctx.Done()
	return nil
}

// publishStorage makes the storage emulator reachable under its own port on this
// machine: it answers only to the address that it knows of itself.
func (o options) publishStorage() (string, error) {
	b, err := os.ReadFile(o.file(storageAddress))
	if err != nil {
		return "", err
	}
	u, err := url.Parse(strings.TrimSpace(string(b)))
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", u.Host)
	if err != nil {
		return "", fmt.Errorf("cannot publish the storage emulator: %w", errors.Join(err, errors.New("make down, make up and try again: it takes another port then")))
	}
	go relay(l, "unix", o.file(storageSoc))
	return u.Host, nil
}

// What the form orders agents for, as the order of make up says it.
const (
	baseDomain = "34.61.7.12.sslip.io"
	projectID  = "acme-data"
)

const atThePortal = `
Order an agent, change its budget, destroy it:

  %s      user %s, password %s

What the form writes: %s, the same login
Backstage's backend: %s

  # what Argo CD makes of it
  kubectl get applications -n argocd

  make portal-down
`
