package trim

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/buildcache"
)

// planTogether plans for both caches of a volume at once: what was used least
// recently goes first, from whichever of them. over is by how many bytes what
// has to stay exceeds the bound.
func planTogether(o Options) (build *buildTrim, modules *moduleTrim, over int64, err error) {
	t := together{Options: o}
	build, modules = &buildTrim{Options: o}, &moduleTrim{Options: o}
	if o.ModCache != "" {
		if err := t.findModules(modules); err != nil {
			return nil, nil, 0, fmt.Errorf("module cache: %w", err)
		}
	}
	bounds := buildcache.Bounds{MaxAge: o.MaxAge, MinAge: o.MinAge, KeepSince: o.Used.Since()}
	if o.MaxSize > 0 {
		bounds.MaxSize = max(1, o.MaxSize-t.staying) // what is kept uses space too
	}
	build.plan = buildcache.NewPlan(bounds, o.AsOf)
	if err := t.decide(build); err != nil {
		return nil, nil, 0, fmt.Errorf("build cache: %w", err)
	}
	if o.MaxSize > 0 {
		over = max(0, build.plan.Before()-build.plan.Bytes()+t.staying-o.MaxSize)
	}
	t.split(build, modules)
	if o.BuildCache != "" {
		err = build.survey()
	}
	return build, modules, over, err
}

// together is both caches as one: a module version is an entry of its own with an
// output of its own.
type together struct {
	Options
	versions []versionUse
	known    int64 // bytes of the versions
	staying  int64 // bytes of versions that stay whatever the bounds
}

// versionUse is a module version that may go, and its last use.
type versionUse struct {
	victim
	id   buildcache.ID
	used time.Time
}

func (t *together) findModules(modules *moduleTrim) error {
	versions, err := scanModules(t.ModCache)
	if err != nil {
		return err
	}
	newest := newestToolchain(versions)
	for i := range versions {
		v := &versions[i]
		modules.before += v.bytes
		// What came after the last warm-up is in no record, and stays until
		// one has seen it.
		use, known := t.Used.Modules[v.Version.Version]
		if !known || v.Version.Version == newest {
			t.staying += v.bytes
			continue
		}
		used := use.Contents
		if !v.hasContents() {
			used = use.GoMod
		}
		t.known += v.bytes
		t.versions = append(t.versions, versionUse{
			victim: victim{v.Escaped(), v.Version.Version, v.hasContents() && use.GoMod.After(use.Contents), v.bytes},
			id:     versionID(v.Version.Version), used: used,
		})
	}
	return nil
}

func versionID(v module.Version) buildcache.ID {
	return sha256.Sum256([]byte("module " + v.String()))
}

// decide lets the plan of the build cache decide on the versions, too.
func (t *together) decide(build *buildTrim) error {
	if t.BuildCache != "" {
		if err := build.addOutputs(); err != nil {
			return err
		}
	}
	for _, v := range t.versions {
		build.plan.AddOutput(v.id, v.bytes, v.used)
	}
	if t.BuildCache != "" {
		if err := build.addActions(); err != nil {
			return err
		}
	}
	for _, v := range t.versions {
		build.plan.AddAction(v.id, v.id, v.used)
	}
	build.plan.Decide()
	return nil
}

// split gives each cache its part of the plan.
func (t *together) split(build *buildTrim, modules *moduleTrim) {
	slices.SortStableFunc(t.versions, func(a, b versionUse) int { return a.used.Compare(b.used) })
	for i := range t.versions {
		if v := &t.versions[i]; build.plan.RemovesAction(v.id, v.used) {
			modules.victims = append(modules.victims, v.victim)
			modules.bytes += v.bytes
			extend(&modules.oldest, &modules.newest, v.used)
		}
	}
	build.before, build.bytes = build.plan.Before()-t.known, build.plan.Bytes()-modules.bytes
}

// extend widens a span of times by one.
func extend(oldest, newest **time.Time, used time.Time) {
	if *oldest == nil || used.Before(**oldest) {
		*oldest = &used
	}
	if *newest == nil || used.After(**newest) {
		*newest = &used
	}
}
