package check

import (
	"path"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/goenv"
	"gocache.dev/operator/internal/domain/store"
)

// Command of an agent that checks all that a volume holds, mounted at root.
func Command(of *v1alpha1.SourceRecord, root string) []string {
	return append([]string{"/gocache-agent", "verify", "--json", "--termination-log", "/dev/termination-log"}, VolumeFlags(of, root)...)
}

// VolumeFlags are those of ContentFlags, and the root of a volume of caches: only
// the operator writes to it, so that nothing else may be there.
func VolumeFlags(of *v1alpha1.SourceRecord, root string) []string {
	flags := ContentFlags(of, root)
	if of.Layout == "" {
		flags = append(flags, "--volume", root)
		if of.SealedDigest != "" {
			flags = append(flags, "--sealed-digest", of.SealedDigest)
		}
	}
	return flags
}

// ContentFlags name what a volume holds below the directory it is mounted at.
func ContentFlags(of *v1alpha1.SourceRecord, root string) []string {
	if of.Layout != "" {
		return []string{"--store", path.Join(root, store.Dir), "--layout", of.Layout}
	}
	var flags []string
	for _, layer := range of.Layers {
		switch layer {
		case v1alpha1.LayerModules:
			flags = append(flags, "--modcache", path.Join(root, goenv.ModulesDir))
		case v1alpha1.LayerBuild:
			flags = append(flags, "--buildcache", path.Join(root, goenv.BuildDir))
		}
	}
	return flags
}
