package naming

import (
	"fmt"
	"path"
	"strings"

	"gocache.dev/operator/api/v1alpha1"
)

// SourceLabels are the names of sources in the status, in their order: those of
// the spec, else those of what they are read from, with a number where two
// would be the same.
func SourceLabels(sources []v1alpha1.WarmUpSource) []string {
	used := map[string]bool{}
	for _, s := range sources {
		used[s.Name] = true
	}
	labels := make([]string, len(sources))
	for i, s := range sources {
		labels[i] = s.Name
		if s.Name != "" {
			continue
		}
		base := sourceOf(s)
		label := base
		for n := 2; used[label]; n++ {
			suffix := fmt.Sprintf("-%d", n)
			label = base[:min(len(base), maxLabel-len(suffix))] + suffix
		}
		labels[i], used[label] = label, true
	}
	return labels
}

// sourceOf is the name of a ConfigMap, or the last element of the path of a
// repository.
func sourceOf(s v1alpha1.WarmUpSource) string {
	name := ""
	switch {
	case s.ConfigMapRef != nil:
		name = s.ConfigMapRef.Name
	case s.Git != nil:
		name = strings.TrimSuffix(path.Base(strings.TrimRight(s.Git.URL, "/")), ".git")
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == '_':
			return r
		default:
			return '-'
		}
	}, name)
	if name == "" {
		name = "source"
	}
	return name[:min(len(name), maxLabel)]
}
