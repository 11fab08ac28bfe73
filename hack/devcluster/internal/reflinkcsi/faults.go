package reflinkcsi

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gocache.dev/operator/hack/devcluster/internal/faults"
)

// Parameters that the sidecars add with --extra-create-metadata.
const (
	claimNamespaceKey    = "csi.storage.k8s.io/pvc/namespace"
	claimNameKey         = "csi.storage.k8s.io/pvc/name"
	snapshotNamespaceKey = "csi.storage.k8s.io/volumesnapshot/namespace"
	snapshotNameKey      = "csi.storage.k8s.io/volumesnapshot/name"
)

// call is one request as a fault sees it.
type call struct {
	op faults.Operation
	// id is the volume or snapshot; namespace and name the object, where known.
	id, namespace, name string
	// source is what is copied, if anything is.
	source string
	// parameters are those of the class.
	parameters map[string]string
}

// injector decides which fault a call meets.
type injector struct {
	file string

	mu sync.Mutex
	// last is the set that used counts for: changing the file resets it.
	last faults.Set
	used map[string]int
	// copied is when each source was copied last under a rule that limits the rate.
	copied map[string]time.Time
}

func newInjector(file string) *injector {
	return &injector{file: file, used: map[string]int{}, copied: map[string]time.Time{}}
}

// inject waits, and fails, according to the first matching rule, and returns the rule
// for what else it asks for.
func (i *injector) inject(ctx context.Context, c call) (faults.Rule, error) {
	rule, err := i.next(c)
	if err != nil {
		return faults.Rule{}, err
	}
	if rule.Delay > 0 {
		select {
		case <-ctx.Done():
			return faults.Rule{}, status.FromContextError(ctx.Err()).Err()
		case <-time.After(time.Duration(rule.Delay)):
		}
	}
	if rule.Error != "" {
		return faults.Rule{}, status.Error(codeOf(rule.Code), rule.Error)
	}
	if wait := i.limited(c, time.Duration(rule.Every), time.Now()); wait > 0 {
		return faults.Rule{}, status.Errorf(codes.ResourceExhausted, "operation rate exceeded for %s: the next one is possible in %s", c.source, wait)
	}
	return rule, nil
}

// limited is how long a source is not to be copied again; 0: it is copied now.
func (i *injector) limited(c call, every time.Duration, now time.Time) time.Duration {
	if every == 0 || c.source == "" {
		return 0
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if last, ok := i.copied[c.source]; ok && now.Sub(last) < every {
		return every - now.Sub(last)
	}
	i.copied[c.source] = now
	return 0
}

// next finds the rule and counts its use.
func (i *injector) next(c call) (faults.Rule, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	set, err := faults.Load(i.file)
	if err != nil {
		return faults.Rule{}, status.Error(codes.Internal, err.Error())
	}
	if !slices.Equal(set.Rules, i.last.Rules) {
		i.last = set
		clear(i.used)
	}
	for n, rule := range set.Rules {
		key := fmt.Sprint("rule ", n)
		if rule.Each {
			key += " object " + c.id
		}
		if rule.Matches(c.op, c.namespace, c.objectName()) && i.take(key, rule) {
			return rule, nil
		}
	}
	rule, found, err := faults.FromParameters(c.op, c.parameters)
	if err != nil {
		return faults.Rule{}, status.Error(codes.InvalidArgument, err.Error())
	}
	// A class's count is per object: one test must not use up another's.
	if found && i.take("object "+c.id, rule) {
		return rule, nil
	}
	return faults.Rule{}, nil
}

// stillNotReady reports whether a rule that holds a snapshot back stands for a
// snapshot that already exists. It uses nothing up.
func (i *injector) stillNotReady(c call) (bool, error) {
	set, err := faults.Load(i.file)
	if err != nil {
		return false, status.Error(codes.Internal, err.Error())
	}
	return slices.ContainsFunc(set.Rules, func(r faults.Rule) bool {
		return r.NotReady && r.Matches(c.op, c.namespace, c.objectName())
	}), nil
}

func (i *injector) take(key string, rule faults.Rule) bool {
	if rule.Times > 0 && i.used[key] >= rule.Times {
		return false
	}
	i.used[key]++
	return true
}

func (c call) objectName() string {
	if c.name != "" {
		return c.name
	}
	return c.id
}

func codeOf(name string) codes.Code {
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		if c.String() == name {
			return c
		}
	}
	return codes.Internal
}
