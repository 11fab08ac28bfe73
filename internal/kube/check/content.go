package check

import (
	"path"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/goenv"
	"gocache.dev/operator/internal/domain/store"
)

// Content is all that a volume holds, mounted at root. Only the operator writes to
// a volume of caches, so that nothing else may be there.
func Content(of *v1alpha1.SourceRecord, root string) agentcommand.Content {
	if of.Layout != "" {
		return agentcommand.Content{Store: path.Join(root, store.Dir), Layout: of.Layout}
	}
	c := Layers(of.Layers, root)
	c.Volume, c.SealedDigest = root, of.SealedDigest
	return c
}

// Layers are the directories of layers on a volume that is mounted at root.
func Layers(layers []v1alpha1.CacheLayer, root string) (c agentcommand.Content) {
	for _, layer := range layers {
		switch layer {
		case v1alpha1.LayerModules:
			c.ModCache = path.Join(root, goenv.ModulesDir)
		case v1alpha1.LayerBuild:
			c.BuildCache = path.Join(root, goenv.BuildDir)
		}
	}
	return c
}
