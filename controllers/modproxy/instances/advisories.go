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

// maxRemembered bounds how many ConfigMaps with advisories are remembered.
const maxRemembered = 64

// Advisories remembers what ConfigMaps contain: to parse one of a megabyte takes
// longer than the rest of a pass, and the passes of a failover must be short. The
// zero value remembers nothing yet.
type Advisories struct {
	mu    sync.Mutex
	known map[types.UID]remembered
}

// remembered are the advisories of a ConfigMap at one of its versions.
type remembered struct {
	resourceVersion string
	all             []policy.Advisory
}

// of are the advisories that spec.policy names. The ConfigMaps are read in each
// pass, past the caches, which do not hold those of users.
func (a *Advisories) of(ctx context.Context, live client.Reader, p *v1alpha1.ModProxy) (all []policy.Advisory, err error) {
	for i, source := range p.Spec.Policy.Advisories {
		name := source.ConfigMapRef.Name
		config, err := read.Object[corev1.ConfigMap](ctx, live, p.Namespace, name)
		if err != nil {
			return nil, err
		}
		found, err := a.in(config)
		if err != nil {
			return nil, pass.Invalid("spec.policy.advisories[%d]: ConfigMap %s%v. Correct it; until then the instances do not change", i, name, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// in are the advisories of one ConfigMap. One without any key is refused: an
// export that failed leaves that, and then what was denied would be served. The
// error continues a sentence that begins with the ConfigMap.
func (a *Advisories) in(config *corev1.ConfigMap) (all []policy.Advisory, err error) {
	switch {
	case config == nil:
		return nil, errors.New(" does not exist")
	case len(config.BinaryData) > 0:
		return nil, errors.New(" has binaryData: advisories are text in the OSV format, under keys of data")
	case len(config.Data) == 0:
		return nil, errors.New(" has no key: without advisories, set one to []")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if found, ok := a.known[config.UID]; ok && found.resourceVersion == config.ResourceVersion {
		return found.all, nil
	}
	for _, key := range slices.Sorted(maps.Keys(config.Data)) {
		found, err := policy.ParseOSV([]byte(config.Data[key]))
		if err != nil {
			return nil, fmt.Errorf(", key %s: %w", key, err)
		}
		all = append(all, found...)
	}
	if a.known == nil || len(a.known) >= maxRemembered {
		a.known = map[types.UID]remembered{}
	}
	a.known[config.UID] = remembered{config.ResourceVersion, all}
	return all, nil
}
