package instances

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/policy"
	"gocache.dev/operator/internal/kube/read"
)

const (
	// maxRules bounds the rules of the advisories of a policy, in bytes: more do not fit
	// into the ConfigMap that the instances mount.
	maxRules = 1 << 20
	// maxRemembered bounds the rules that are remembered of all ConfigMaps, in bytes. In
	// memory they need about three times as much.
	maxRemembered = 4 << 20
)

// Advisories remembers what ConfigMaps contain: to parse one of a megabyte takes
// longer than the rest of a pass, and the passes of a failover must be short. The
// zero value remembers nothing yet.
type Advisories struct {
	mu    sync.Mutex
	known map[types.UID]remembered
	size  int // of all that are known
}

// remembered are the advisories of a ConfigMap at one of its versions.
type remembered struct {
	resourceVersion string
	all             []policy.Advisory
	size            int
}

// of are the advisories that spec.policy names. The ConfigMaps are read in each
// pass, past the caches, which do not hold those of users.
func (a *Advisories) of(ctx context.Context, live client.Reader, p *v1alpha1.ModProxy) (all []policy.Advisory, err error) {
	size := 0
	for i, source := range p.Spec.Policy.Advisories {
		name := source.ConfigMapRef.Name
		config, err := read.Object[corev1.ConfigMap](ctx, live, p.Namespace, name)
		if err != nil {
			return nil, err
		}
		found, n, err := a.in(config)
		if size += n; err == nil && size > maxRules {
			err = fmt.Errorf(" and those before it have more than %d KiB of rules", maxRules>>10)
		}
		if err != nil {
			return nil, pass.Invalid("spec.policy.advisories[%d]: ConfigMap %s%v. Correct it; until then the instances do not change", i, name, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// in are the advisories of one ConfigMap, and the size of their rules. One without any key is refused: an
// export that failed leaves that, and then what was denied would be served. The
// error continues a sentence that begins with the ConfigMap.
func (a *Advisories) in(config *corev1.ConfigMap) (all []policy.Advisory, size int, err error) {
	switch {
	case config == nil:
		return nil, 0, errors.New(" does not exist")
	case len(config.BinaryData) > 0:
		return nil, 0, errors.New(" has binaryData: advisories are text in the OSV format, under keys of data")
	case len(config.Data) == 0:
		return nil, 0, errors.New(" has no key: without advisories, set one to []")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if found, ok := a.known[config.UID]; ok && found.resourceVersion == config.ResourceVersion {
		return found.all, found.size, nil
	}
	for _, key := range slices.Sorted(maps.Keys(config.Data)) {
		found, err := policy.ParseOSV([]byte(config.Data[key]))
		if err != nil {
			return nil, 0, fmt.Errorf(", key %s: %w", key, err)
		}
		all = append(all, found...)
	}
	for i := range all {
		size += sizeOf(&all[i])
	}
	if size > maxRules {
		return all, size, nil // and refused
	}
	a.size += size - a.known[config.UID].size
	if a.known == nil || a.size > maxRemembered {
		a.known, a.size = map[types.UID]remembered{}, size
	}
	a.known[config.UID] = remembered{config.ResourceVersion, all, size}
	return all, size, nil
}

// sizeOf the rules of an advisory: a lower bound of what they need in the ConfigMap that
// the instances mount.
func sizeOf(a *policy.Advisory) int {
	const quotes = len(`"",`)
	n := len(`{"id":"","affected":[]},`) + len(a.ID) + len(a.Reason)
	for _, affected := range a.Affected {
		n += len(`{"module":""},`) + len(affected.Module)
		for _, v := range affected.Versions {
			n += len(v) + quotes
		}
	}
	return n
}
