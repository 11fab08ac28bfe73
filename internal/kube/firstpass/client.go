package firstpass

import (
	"context"
	"errors"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ErrRefused is the error of all writes by a [Client].
var ErrRefused = errors.New("a pass on what the cache holds does not write")

// Client reads, and refuses to write.
type Client struct {
	client.Client
	refused atomic.Bool
}

// Refused reports whether something was to be written.
func (c *Client) Refused() bool { return c.refused.Load() }

func (c *Client) refuse() error {
	c.refused.Store(true)
	return ErrRefused
}

// Apply refuses.
func (c *Client) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	return c.refuse()
}

// Create refuses.
func (c *Client) Create(context.Context, client.Object, ...client.CreateOption) error {
	return c.refuse()
}

// Delete refuses.
func (c *Client) Delete(context.Context, client.Object, ...client.DeleteOption) error {
	return c.refuse()
}

// DeleteAllOf refuses.
func (c *Client) DeleteAllOf(context.Context, client.Object, ...client.DeleteAllOfOption) error {
	return c.refuse()
}

// Patch refuses.
func (c *Client) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	return c.refuse()
}

// Update refuses.
func (c *Client) Update(context.Context, client.Object, ...client.UpdateOption) error {
	return c.refuse()
}

// Status is a client of the status that refuses to write.
func (c *Client) Status() client.SubResourceWriter { return c.SubResource("status") }

// SubResource is a client of a subresource that refuses to write.
func (c *Client) SubResource(name string) client.SubResourceClient {
	return subresource{c.Client.SubResource(name), c}
}

type subresource struct {
	client.SubResourceReader
	of *Client
}

// Apply refuses.
func (s subresource) Apply(context.Context, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	return s.of.refuse()
}

// Create refuses.
func (s subresource) Create(context.Context, client.Object, client.Object, ...client.SubResourceCreateOption) error {
	return s.of.refuse()
}

// Patch refuses.
func (s subresource) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return s.of.refuse()
}

// Update refuses.
func (s subresource) Update(context.Context, client.Object, ...client.SubResourceUpdateOption) error {
	return s.of.refuse()
}
