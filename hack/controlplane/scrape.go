package controlplane

import (
	"encoding/json"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
)

// A scrapeTarget is an entry of a file for Prometheus' file_sd.
type scrapeTarget struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// scrapeTargets are the ports called metrics of a pod.
func scrapeTargets(ip, namespace, name string, spec corev1.PodSpec) []scrapeTarget {
	var list []scrapeTarget
	for _, c := range spec.Containers {
		for _, port := range c.Ports {
			if port.Name == "metrics" {
				list = append(list, scrapeTarget{[]string{fmt.Sprintf("%s:%d", ip, port.ContainerPort)}, map[string]string{"pod": name, "pod_namespace": namespace}})
			}
		}
	}
	return list
}

// writeTargets writes a file of targets, if there is to be one and they are not what was
// written last, and returns what now is.
func writeTargets(file string, list []scrapeTarget, last string) string {
	b, err := json.Marshal(list)
	if err != nil || file == "" || string(b) == last {
		return last
	}
	tmp := file + ".tmp"
	if os.WriteFile(tmp, b, 0o600) != nil || os.Rename(tmp, file) != nil {
		return last // it is tried again
	}
	return string(b)
}
