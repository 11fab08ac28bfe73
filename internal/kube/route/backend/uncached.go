package backend

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// uncached reads past the cache: a kind that a cluster may lack cannot be
// watched.
type uncached struct {
	client.Client
	live client.Reader
}

// Get implements client.Reader.
func (u uncached) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	return u.live.Get(ctx, key, o, options...)
}
