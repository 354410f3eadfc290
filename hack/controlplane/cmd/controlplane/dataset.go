package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// dataset uploads a CSV, orders an agent for it, and says where its page is.
func dataset(ctx context.Context, o options) error {
	if o.csv == "" {
		return errors.New("say which CSV: make dataset FILE=path/to/your.csv")
	}
	if _, err := os.Stat(o.file(storageSoc)); err != nil {
		return fmt.Errorf("cannot bring a dataset: no agents run; make up first: %w", err)
	}
	name := o.name
	if name == "" {
		name = named(strings.TrimSuffix(filepath.Base(o.csv), filepath.Ext(o.csv)))
	}
	if name == "" {
		return fmt.Errorf("cannot make a name of %q: say NAME=, of a-z, 0-9 and -, beginning with a letter", filepath.Base(o.csv))
	}
	data, err := os.ReadFile(o.csv)
	if err != nil {
		return err
	}
	if err := upload(ctx, o, name+".csv", data); err != nil {
		return err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig())
	if err != nil {
		return err
	}
	c, err := controlplane.NewClient(cfg)
	if err != nil {
		return err
	}
	fmt.Printf("uploaded %s; waiting for the dataset-watcher\n", name+".csv")
	if err := c.WaitFor(ctx, time.Minute, "Ready", suite.API, "XDataset", "", name); err != nil {
		// What is wrong with the file stands there, too.
		return err
	}
	agent := strings.TrimRight(name[:min(len(name), 20)], "-") + "-bot"
	order := suite.NewOrder(agent, name, 5)
	if err := c.Apply(ctx, order); err != nil {
		return err
	}
	fmt.Printf("ordered %s with a budget of 5 USD; waiting until it is Ready\n", agent)
	if err := c.WaitFor(ctx, 4*time.Minute, "Ready", suite.API, "XDatasetAgent", "", agent); err != nil {
		return err
	}
	page, err := o.page(ctx, agent, 30*time.Second)
	if err != nil {
		return err
	}
	fmt.Printf("\nAsk it: %s\n", page)
	return nil
}

// named makes a Kubernetes name of a file's.
func named(s string) string {
	s = regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(s), "-")
	s = strings.TrimLeft(s, "-0123456789")
	return strings.Trim(s[:min(len(s), 50)], "-")
}

func upload(ctx context.Context, o options, object string, data []byte) error {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", o.file(storageSoc))
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		"http://storage/upload/storage/v1/b/"+suite.DatasetsBucket+"/o?uploadType=media&name="+url.QueryEscape(object), bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/csv")
	rsp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("cannot upload: %w", err)
	}
	defer rsp.Body.Close() //nolint:errcheck // a reader
	if rsp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(rsp.Body, 1<<12)) // what there is
		return fmt.Errorf("cannot upload: %s: %s", rsp.Status, text)
	}
	return nil
}
