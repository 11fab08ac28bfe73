package store

import (
	"fmt"
	"slices"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/store"
)

// superseded are the versions that the server beside has replaced: what was recorded
// of their content before is no longer about the store.
func (w *Watch) superseded() []store.Superseded {
	all, err := store.ReadSuperseded(w.Store)
	if err != nil {
		_, _ = fmt.Fprintf(w.Stderr, "store %s: which versions were replaced: %v\n", w.Store, err)
		return nil
	}
	return all
}

// withoutSuperseded removes what was replaced from the records of an earlier check.
// A record of other content stays.
func withoutSuperseded(b integrity.Baseline, all []store.Superseded) {
	for _, s := range all {
		if base, ok := b[s.Version]; ok && replaced(s, base.H1.String(), base.GoMod.String()) {
			delete(b, s.Version)
		}
	}
}

// report is what is known now. A sampled module that was replaced is left out: the
// operator would take the server's answer for a wrong one.
func (w *Watch) report() probe.StoreReport {
	all := w.superseded()
	r := w.history.report(w.Clock())
	r.Sample = slices.DeleteFunc(slices.Clone(r.Sample), func(s probe.Sampled) bool { return isSuperseded(all, s) })
	if len(all) > 0 {
		r.Superseded, r.SupersededTotal = &all[len(all)-1], len(all)
	}
	return r
}

func isSuperseded(all []store.Superseded, sampled probe.Sampled) bool {
	return slices.ContainsFunc(all, func(s store.Superseded) bool {
		return s.Version == sampled.Version && replaced(s, sampled.Zip, sampled.Mod)
	})
}

// replaced reports whether a record is about content with these sums. The archive
// decides: two contents may have one go.mod.
func replaced(s store.Superseded, zip, mod string) bool {
	if s.Zip != "" {
		return s.Zip == zip
	}
	return s.Mod != "" && s.Mod == mod
}
