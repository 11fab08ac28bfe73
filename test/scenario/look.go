package scenario

import (
	"fmt"
	"path/filepath"
)

// category is what all kinds of the operator are listed under.
const category = "gocaching"

// LookAround is command lines for a person to paste into a shell.
func (s *Scenario) LookAround() string {
	text := ""
	if s.Kubeconfig != "" {
		text += fmt.Sprintf("  export KUBECONFIG=%s KUBECACHEDIR=%s PATH=%s:$PATH\n", s.Kubeconfig, s.KubeCache, filepath.Dir(s.Kubectl))
	}
	for _, c := range []string{
		"get " + category,
		"describe gocache " + Cache,
		"describe cachesnapshots",
		"describe modproxy " + Proxy,
		"get pods,pvc",
		"logs " + Runner + "-0 -c " + Runner,
	} {
		text += fmt.Sprintf("  kubectl -n %s %s\n", s.Namespace, c)
	}
	return text
}
