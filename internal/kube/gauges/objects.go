package gauges

import (
	"context"
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Objects reads the objects of all namespaces.
type Objects interface {
	// Each has all objects of the kind that is given, in any order. They must not be changed.
	Each(ctx context.Context, of client.Object, do func(client.Object)) error
}

// Each has all objects of the kind that do takes.
func Each[T any, P interface {
	*T
	client.Object
}](ctx context.Context, all Objects, do func(P)) error {
	of := P(new(T))
	if err := all.Each(ctx, of, func(o client.Object) { do(o.(P)) }); err != nil {
		return fmt.Errorf("read each %T: %w", of, err)
	}
	return nil
}

// cached reads a manager's cache.
type cached struct {
	cache  cache.Cache
	scheme *runtime.Scheme
}

// Each implements [Objects]. A list has a copy of each object, which is a large part of the
// memory of a manager with many; a store has none.
func (c cached) Each(ctx context.Context, of client.Object, do func(client.Object)) error {
	informer, err := c.cache.GetInformer(ctx, of)
	if err != nil {
		return fmt.Errorf("find what is cached: %w", err)
	}
	if held, ok := informer.(interface{ GetStore() toolscache.Store }); ok {
		for _, o := range held.GetStore().List() {
			do(o.(client.Object))
		}
		return nil
	}
	return c.list(ctx, of, do) // a cache of chosen namespaces, which has less to copy
}

func (c cached) list(ctx context.Context, of client.Object, do func(client.Object)) error {
	kind, err := apiutil.GVKForObject(of, c.scheme)
	if err != nil {
		return fmt.Errorf("find the kind: %w", err)
	}
	kind.Kind += "List"
	made, err := c.scheme.New(kind)
	if err != nil {
		return fmt.Errorf("make a list: %w", err)
	}
	list := made.(client.ObjectList)
	if err := c.cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list what is cached: %w", err)
	}
	return apimeta.EachListItem(list, func(o runtime.Object) error {
		do(o.(client.Object))
		return nil
	})
}
