package manager

import (
	"os"
	"strings"
)

// serviceAccountNamespace is where a pod finds the name of its namespace.
const serviceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// ownNamespace is the namespace of this process; empty: it runs in no pod.
func ownNamespace(file string) string {
	if v := os.Getenv("POD_NAMESPACE"); v != "" {
		return v
	}
	name, err := os.ReadFile(file) //nolint:gosec // a fixed path
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}
