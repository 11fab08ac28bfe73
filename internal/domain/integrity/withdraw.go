package integrity

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/store"
)

// A store is a cache: what is wrong in it is removed, and fetched again at the
// next request. Only what that does not cure is left in the verdict.

const (
	// broadEntries and broadShare are how many versions, and what part of all in
	// percent, must be damaged for a store to be left as it is: then the volume is
	// at fault rather than single files. A crash of a server that does not sync
	// spoils what it wrote in the last half minute, some dozen versions.
	broadEntries, broadShare = 50, 10
	// withdrawals is how often the same entry is removed in one check.
	withdrawals = 3
)

// broad reports whether so many of all versions are damaged that the volume is
// not to be trusted with new ones.
func broad(damaged, all int) bool {
	return damaged > broadEntries && damaged*100 > all*broadShare
}

// ofTheVolume reports whether only the volume, or a process with write access to it, can do this:
// to a file that is not what the server had stored, or to an archive, which
// servers look into before they store it. Everything else may be what an upstream
// gave, as a client asked for it: that is no evidence against the store.
func (f *Finding) ofTheVolume() bool {
	archive := strings.HasSuffix(f.Path, modcache.Zip.Suffix()) && (f.Class == Corrupt || f.Class == Truncated)
	return f.Refused || f.Class == BadMode || archive
}

// removable are the findings that name files to remove.
func removable(all []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f Finding) bool {
		return len(f.Remove) == 0 || f.Severity != Recoverable && f.Severity != SeverityCorrupt
	})
}

// repair holds what a check of a store has found wrong until all is known.
type repair struct {
	*stores
	all     []store.Version
	account func(int32, outcome)

	mu    sync.Mutex
	held  map[int32]outcome
	loose []loose
}

// loose is a finding about something else than a version.
type loose struct {
	found Finding
	again func(Finding) []Finding
}

func (s *stores) repair(all []store.Version, account func(int32, outcome)) *repair {
	return &repair{stores: s, all: all, account: account, held: map[int32]outcome{}}
}

// take accounts for an outcome, or holds it.
func (r *repair) take(i int32, o outcome) {
	if r.Withdraw == nil || len(removable(o.findings)) == 0 {
		r.account(i, o)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[i] = o
}

// others does so for findings that are not about a version.
func (r *repair) others(found []Finding, again func(Finding) []Finding) {
	for _, f := range found {
		if r.Withdraw == nil || len(removable([]Finding{f})) == 0 {
			r.found.add(f)
			continue
		}
		r.loose = append(r.loose, loose{f, again})
	}
}

// finish withdraws what is held, and accounts for what is left.
func (r *repair) finish(ctx context.Context) error {
	damaged := 0
	for _, o := range r.held {
		if slices.ContainsFunc(o.findings, func(f Finding) bool { return f.ofTheVolume() }) {
			damaged++
		}
	}
	spare := broad(damaged, len(r.all))
	if spare {
		r.spared = fmt.Sprintf("%d of %d versions are damaged, too many to be withdrawn one by one: the volume is at fault", damaged, len(r.all))
	}
	for i := range r.all {
		o, held := r.held[int32(i)] //nolint:gosec // as in checkStore
		if !held {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if !spare {
			o = r.cure(&r.all[i], o)
		}
		r.account(int32(i), o) //nolint:gosec // as in checkStore
	}
	for _, l := range r.loose {
		left := []Finding{l.found}
		if err := r.Withdraw(left); err != nil {
			left[0].Detail += "; it cannot be withdrawn: " + err.Error()
		} else {
			r.found.withdrew(left...)
			left = returned(l.again(l.found))
		}
		r.found.add(left...)
	}
	return nil
}

// cure removes what is wrong with a version, and looks again.
func (r *repair) cure(v *store.Version, o outcome) outcome {
	for range withdrawals {
		wrong := removable(o.findings)
		if len(wrong) == 0 {
			return o
		}
		if err := r.Withdraw(wrong); err != nil {
			for i := range o.findings {
				o.findings[i].Detail += "; it cannot be withdrawn: " + err.Error()
			}
			return o
		}
		r.found.withdrew(wrong...)
		before := o
		o = r.version(r.workers[0], v)
		if len(removable(o.findings)) > 0 && o.still(&before) {
			return o // it was removed, and is the same file
		}
	}
	o.findings = returned(o.findings)
	return o
}

// returned judges what is wrong although it was removed: the server has stored
// it again. What its upstream may have given is the upstream's fault, and leaves
// open whether the store is intact; damage done once more is the volume's.
func returned(found []Finding) []Finding {
	for i := range found {
		f := &found[i]
		if f.Severity != SeverityCorrupt {
			continue
		}
		f.Detail = fmt.Sprintf("is wrong again after it was withdrawn: %s", f.Detail)
		if !f.ofTheVolume() {
			f.Severity, f.Remove = SeverityUnreadable, nil
		}
	}
	return found
}
