package trim

import (
	"crypto/sha256"
	"fmt"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/buildcache"
)

// planTogether plans for both caches of a volume at once: what was used least
// recently goes first, from whichever of them. over is by how many bytes what
// has to stay exceeds the bound.
func planTogether(o Options) (build *buildTrim, modules *moduleTrim, over int64, err error) {
	t := together{Options: o, outputs: map[buildcache.ID]buildcache.Aged{}, versions: map[buildcache.ID]victim{}}
	build, modules = &buildTrim{Options: o}, &moduleTrim{Options: o}
	if o.BuildCache != "" {
		if t.actions, err = build.scan(t.outputs); err != nil {
			return nil, nil, 0, fmt.Errorf("build cache: %w", err)
		}
	}
	if o.ModCache != "" {
		if err := t.addModules(modules); err != nil {
			return nil, nil, 0, fmt.Errorf("module cache: %w", err)
		}
	}
	bounds := buildcache.Bounds{MaxAge: o.MaxAge, MinAge: o.MinAge, KeepSince: o.Used.Since()}
	if o.MaxSize > 0 {
		bounds.MaxSize = max(1, o.MaxSize-t.staying) // what is kept uses space too
	}
	plan := buildcache.PlanTrim(t.actions, t.outputs, bounds, o.AsOf)
	if o.MaxSize > 0 {
		over = max(0, plan.Before-plan.Bytes+t.staying-o.MaxSize)
	}
	t.split(plan, build, modules)
	return build, modules, over, nil
}

// together is both caches as one: a module version is an action of its own
// with an output of its own.
type together struct {
	Options
	actions  []buildcache.Aged
	outputs  map[buildcache.ID]buildcache.Aged
	versions map[buildcache.ID]victim
	staying  int64 // bytes of versions that stay whatever the bounds
}

func (t *together) addModules(modules *moduleTrim) error {
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
		id := versionID(v.Version.Version)
		entry := buildcache.Aged{Entry: buildcache.Entry{Action: id, Output: id, Size: v.bytes}, Used: used}
		t.actions, t.outputs[id] = append(t.actions, entry), entry
		t.versions[id] = victim{v.Escaped(), v.Version.Version, v.hasContents() && use.GoMod.After(use.Contents), v.bytes}
	}
	return nil
}

func versionID(v module.Version) buildcache.ID {
	return sha256.Sum256([]byte("module " + v.String()))
}

// split gives each cache its part of the plan.
func (t *together) split(plan buildcache.Plan, build *buildTrim, modules *moduleTrim) {
	for i, id := range plan.Actions { // the first of the actions, in the same order
		used := t.actions[i].Used
		if v, ok := t.versions[id]; ok {
			modules.victims = append(modules.victims, v)
			modules.bytes += v.bytes
			extend(&modules.oldest, &modules.newest, used)
			continue
		}
		build.plan.Actions = append(build.plan.Actions, id)
		extend(&build.oldest, &build.newest, used)
	}
	for _, id := range plan.Outputs {
		if _, ok := t.versions[id]; !ok {
			build.plan.Outputs = append(build.plan.Outputs, id)
			build.plan.Bytes += t.outputs[id].Size
		}
	}
	build.plan.Before = plan.Before + t.staying - modules.before
}

func extend(oldest, newest **time.Time, used time.Time) {
	if *oldest == nil {
		*oldest = &used
	}
	*newest = &used
}
