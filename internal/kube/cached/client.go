package cached

import (
	"context"
	"fmt"
	"reflect"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// New makes the client of a manager, whose cache has the transform [Trim].
func New(config *rest.Config, o client.Options) (client.Client, error) {
	cached, err := client.New(config, o)
	if err != nil {
		return nil, fmt.Errorf("make the client: %w", err)
	}
	o.Cache = nil
	live, err := client.New(config, o)
	if err != nil {
		return nil, fmt.Errorf("make the client without a cache: %w", err)
	}
	return Client{Client: cached, Live: live}, nil
}

// Client reads from a cache whose transform is [Trim].
type Client struct {
	client.Client
	// Live reads past the cache.
	Live client.Reader
}

// Get reads an object, all of it. Objects in lists may be reduced.
func (c Client) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	if err := c.Client.Get(ctx, key, o, options...); err != nil || !Reduced(o) {
		return err
	}
	kind := o.GetObjectKind().GroupVersionKind()
	reflect.ValueOf(o).Elem().SetZero() // or what is decoded would be added to it
	o.GetObjectKind().SetGroupVersionKind(kind)
	return c.Live.Get(ctx, key, o, options...)
}
