package runners

import (
	_ "embed" // the stubs
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

//go:embed crds.yaml
var stubs string

// CRDs are stubs of the kinds of CI systems.
func CRDs(t *testing.T) (all []*apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	for text := range strings.SplitSeq(stubs, "\n---\n") {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict([]byte(text), crd); err != nil {
			t.Fatal(err)
		}
		all = append(all, crd)
	}
	return all
}
