package suite

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
)

// Runs says whether pods of agents run here, on a node of either kind.
func (s *Suite) Runs() bool { return s.Node != nil || s.RealNode != nil }

// outside is where something listens that stands for a server on the internet: where a
// pod may reach it by its NetworkPolicy, if pods have a network of their own.
func (s *Suite) outside(ip string) (string, error) {
	if s.o.RealNode {
		return net.JoinHostPort(ip, "443"), nil
	}
	port, err := controlplane.FreePort()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

// realNode runs the pods of all agents, and the token-meter's, in images made here.
func (s *Suite) realNode(ctx context.Context, model, keyFile string) error {
	program := func(n string) string { return filepath.Join(s.o.StandIns, n) }
	version, err := Version(s.o.Checkout)
	if err != nil {
		return err
	}
	const kagent, ours = "ghcr.io/kagent-dev/kagent/", "ghcr.io/whisperops/"
	storage := strings.TrimPrefix(s.Storage, "http://")
	s.RealNode, err = s.StartRealNode(ctx, controlplane.RealNodeOptions{
		Pause: program("pause"), Targets: s.targets(),
		Images: []controlplane.Image{
			{Names: []string{ours + "sandbox:" + version}, Program: program("sandbox"), Rootfs: s.o.Agents.Rootfs, Env: []string{"STORAGE_EMULATOR_HOST=" + storage}},
			{Names: []string{ours + "chat-frontend:" + version}, Program: program("chat-frontend"), Env: []string{"STORAGE_EMULATOR_HOST=" + storage}},
			{Names: []string{ours + "token-meter:" + version}, Program: program("token-meter"), Env: []string{
				"METER_GEMINI_URL=" + model, "METER_GEMINI_KEY_FILE=/etc/token-meter/keys/gemini", "METER_JOURNAL=/var/lib/token-meter", "METER_SCRAPE_TIME=3s", "METER_SHUTDOWN_TIME=3s",
			}},
			{Names: []string{kagent + "app:0.9.12", kagent + "golang-adk:0.9.12"}, Program: program("agentruntime")},
		},
	})
	if err != nil {
		return err
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	if err := s.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+MeterNamespace+"}}"); err != nil {
		return err
	}
	return s.Apply(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "token-meter-keys", "namespace": MeterNamespace},
		"stringData": map[string]any{"gemini": string(key)},
	}})
}
