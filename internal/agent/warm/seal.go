package warm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/agent/repair"
	"gocache.dev/operator/internal/domain/integrity"
)

// settle is short: nothing else writes while a warm-up runs.
const settle = 10 * time.Millisecond

// unsealed removes what the go command must not start on. What the last writer of the
// volume did not leave there, it would use, and the manifest of this run would vouch
// for it. From what is corrupt it would derive entries that no check finds wrong.
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
	r, err := repair.Run(ctx, o, repair.Policy{ForWriter: true})
	w.noteRemoved(&r)
	if err != nil && !errors.Is(err, repair.ErrHopeless) {
		return fmt.Errorf("comparing the caches with what the last writer left: %w", err)
	}
	switch {
	case err == nil && r.Remaining == 0:
		return nil
	case r.Before.Corrupt == 0:
		return w.empty(layers, "they were not what the last writer left, and its manifest was not there to compare them with")
	}
	return w.empty(layers, "they were corrupt or not what the last writer left, and could not be repaired entry by entry: "+r.Before.Message)
}

// noteRemoved notes what was removed before the go command started. Corrupt entries
// are counted as well: a volume that damages files is to be replaced, and nothing else
// shows it once the entries are made again.
func (w *warming) noteRemoved(r *repair.Result) {
	var corrupt, foreign []string
	for _, gone := range r.Removed {
		if gone.Why == integrity.Unsealed {
			foreign = append(foreign, gone.Path)
		} else {
			corrupt = append(corrupt, fmt.Sprintf("%s (%s)", gone.Path, gone.Why))
		}
	}
	w.made.CorruptRemoved = int64(len(corrupt))
	if len(corrupt) > 0 {
		w.notes = append(w.notes, fmt.Sprintf("removed %d corrupt files and directories, such as %s, before the go command could use them: check the volume and its storage", len(corrupt), corrupt[0]))
	}
	if len(foreign) > 0 {
		w.notes = append(w.notes, fmt.Sprintf("removed %d files and directories that the last writer did not leave, such as %s", len(foreign), foreign[0]))
	}
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
	w.made.Outcome = ""
	if w.corrupt != "" {
		w.notes = append(w.notes, w.corrupt)
	}
	w.made.Message = strings.Join(w.notes, "; ")
}

// check checks what the caches hold and records its manifest, unless something is
// corrupt.
func (w *warming) check(ctx context.Context, now time.Time) error {
	v, err := record.Seal(ctx, w.Root, integrity.Options{ModCache: w.ModCache, BuildCache: w.BuildCache, Now: now})
	if err != nil {
		return fmt.Errorf("checking what was written: %w", err)
	}
	w.made.Modules, w.made.BuildEntries, w.made.ManifestDigest = int64(v.Counts.Modules), int64(v.Counts.BuildEntries), v.Digest
	if v.Verdict == integrity.OutcomeCorrupt {
		w.corrupt = v.Message
		if len(v.Examples) > 0 {
			w.corrupt += ": " + v.Examples[0].Path + ": " + v.Examples[0].Detail
		}
	}
	return nil
}
