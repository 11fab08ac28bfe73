package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"gocache.dev/operator/internal/domain/modcache"
)

// RemoveRepositories removes the bare repositories that direct fetches left in a
// module cache. The go command runs git in them, git runs commands that their
// configuration names, and nothing vouches for that configuration. Without them
// a direct fetch clones again. The removal never leaves the cache, whatever
// links it holds; a cache that is not there, or "", holds none.
func RemoveRepositories(modCache string) error {
	if modCache == "" {
		return nil
	}
	root, err := os.OpenRoot(modCache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(root.RemoveAll(modcache.VCSDir), root.Close())
	}
	if err != nil {
		return fmt.Errorf("removing the repositories of direct fetches: %w", err)
	}
	return nil
}
