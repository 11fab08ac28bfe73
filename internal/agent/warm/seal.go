package warm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gocache.dev/operator/internal/agent/repair"
	"gocache.dev/operator/internal/domain/integrity"
)

// settle is short: nothing else writes while a warm-up runs.
const settle = 10 * time.Millisecond

// unsealed removes what the last writer of the volume did not leave there: the
// go command would use it, and the manifest of this run would vouch for it.
// Without the manifest of the last writer nothing is known of any entry, and the
// caches are filled again.
func (w *warming) unsealed(ctx context.Context) error {
	if w.Sealed == "" && !w.NeverSealed {
		return nil
	}
	o := integrity.Options{Volume: w.Root, Live: true, Sealed: w.Sealed, Now: w.Clock(), Settle: settle}
	var layers []string
	for _, layer := range []struct {
		to  *string
		dir string
	}{{&o.ModCache, w.ModCache}, {&o.BuildCache, w.BuildCache}} {
		if rel, err := filepath.Rel(w.Root, layer.dir); err == nil && filepath.IsLocal(rel) {
			*layer.to = layer.dir
			layers = append(layers, rel)
		}
	}
	if len(layers) == 0 {
		return nil
	}
	if w.Sealed == "" {
		return w.empty(layers, "no writer has recorded what it left in them")
	}
	r, err := repair.Run(ctx, o, repair.Policy{UnsealedOnly: true})
	if err != nil && !errors.Is(err, repair.ErrHopeless) {
		return fmt.Errorf("comparing the caches with what the last writer left: %w", err)
	}
	if err == nil && r.After.Findings[integrity.Unsealed] == 0 {
		if n := len(r.Removed); n > 0 {
			w.notes = append(w.notes, fmt.Sprintf("removed %d files and directories that the last writer did not leave, such as %s", n, r.Removed[0].Path))
		}
		return nil
	}
	return w.empty(layers, "they were not what the last writer left, and its manifest was not there to compare them with")
}

// empty removes all that caches hold. A note reports why, if they held anything.
func (w *warming) empty(layers []string, why string) error {
	held := false
	for _, dir := range layers {
		entries, err := os.ReadDir(filepath.Join(w.Root, dir))
		if err != nil {
			return fmt.Errorf("emptying the caches (%s): %w", why, err)
		}
		held = held || len(entries) > 0
	}
	if !held {
		return nil
	}
	if err := repair.Remove(w.Root, layers...); err != nil {
		return fmt.Errorf("emptying the caches (%s): %w", why, err)
	}
	for _, dir := range layers {
		if err := os.MkdirAll(filepath.Join(w.Root, dir), 0o777); err != nil { //nolint:gosec // the umask decides
			return err
		}
	}
	w.notes = append(w.notes, "emptied the caches: "+why)
	return nil
}

// sealFailed records what a warm-up that failed leaves: it was written by the go
// command of this run all the same. The outcome stays the failure; without a
// digest nothing vouches for the content.
func (w *warming) sealFailed(ctx context.Context) {
	if err := w.seal(ctx); err != nil {
		w.made.ManifestDigest = ""
	}
	w.made.Outcome, w.made.Message = "", ""
}
