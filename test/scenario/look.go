package scenario

import (
	"fmt"
	"path/filepath"
)

// category is what all kinds of the operator are listed under.
const category = "gocaching"

// LookAround is command lines for a person to paste into a shell.
func (s *Scenario) LookAround() string {
	text, plugin := "", ""
	switch s.Kind {
	case Kind:
		text = fmt.Sprintf("  export KUBECONFIG=%s\n", s.Kubeconfig)
	case Local:
		// The plugin was built together with the image.
		text += fmt.Sprintf("  export KUBECONFIG=%s KUBECACHEDIR=%s PATH=%s:%s:$PATH\n", s.Kubeconfig, s.KubeCache, filepath.Dir(s.Kubectl), filepath.Join(Root(), "bin"))
		plugin = fmt.Sprintf("  kubectl gocache status -n %s\n", s.Namespace)
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
	return text + plugin
}
