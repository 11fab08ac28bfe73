// Package faults is a client that dies at its nth write, as a process that is
// killed does: before the write reached the API server, or after it took
// effect and before the answer arrived.
//
// A crash-point suite first lets a flow run through and counts its writes, and
// then repeats it with a death at each of them.
package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// ErrDead is what every call answers once the process is dead.
var ErrDead = errors.New("killed")

// Point is where a process dies.
type Point struct {
	// Write that it dies at, counted from 1; 0 is never.
	Write int
	// After is set if the write still takes effect.
	After bool
}

// String names the point in a test's output.
func (p Point) String() string {
	if p.After {
		return fmt.Sprintf("after write %d", p.Write)
	}
	return fmt.Sprintf("before write %d", p.Write)
}

// Mortal is a process that dies at a point.
type Mortal struct {
	// Point of its death.
	Point Point
	// Writes that it was asked for, and what each was.
	Writes []string
	dead   bool
}

// Dead reports whether it has died.
func (m *Mortal) Dead() bool { return m.dead }

// Client is the process's access to the API server.
func (m *Mortal) Client(c client.WithWatch) client.Client {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if m.dead {
				return ErrDead
			}
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if m.dead {
				return ErrDead
			}
			return c.List(ctx, l, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return m.write(name("create", o), func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return m.write(name("update", o), func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return m.write(name("patch", o), func() error { return c.Patch(ctx, o, p, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return m.write(applied("apply", o), func() error { return c.Apply(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return m.write(name("delete", o), func() error { return c.Delete(ctx, o, opts...) })
		},
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteAllOfOption) error {
			return m.write(name("delete all of", o), func() error { return c.DeleteAllOf(ctx, o, opts...) })
		},
		SubResourceGet: func(ctx context.Context, c client.Client, sub string, o, into client.Object, opts ...client.SubResourceGetOption) error {
			if m.dead {
				return ErrDead
			}
			return c.SubResource(sub).Get(ctx, o, into, opts...)
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, sub string, o, what client.Object, opts ...client.SubResourceCreateOption) error {
			return m.write(name("create "+sub+" of", o), func() error { return c.SubResource(sub).Create(ctx, o, what, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return m.write(name("update "+sub+" of", o), func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, o runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
			return m.write(applied("apply "+sub+" of", o), func() error { return c.SubResource(sub).Apply(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return m.write(name("patch "+sub+" of", o), func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
	})
}

func name(verb string, o client.Object) string { return fmt.Sprintf("%s %T %s", verb, o, o.GetName()) }

// applied names what is applied: its content has the name, not its type.
func applied(verb string, o runtime.ApplyConfiguration) string {
	var what struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	text, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(text, &what)
	}
	if err != nil {
		return fmt.Sprintf("%s %T (%v)", verb, o, err)
	}
	return fmt.Sprintf("%s %s %s", verb, what.Kind, what.Metadata.Name)
}

func (m *Mortal) write(what string, do func() error) error {
	if m.dead {
		return ErrDead
	}
	m.Writes = append(m.Writes, what)
	if len(m.Writes) != m.Point.Write {
		return do()
	}
	m.dead = true
	if m.Point.After {
		if err := do(); err != nil {
			return errors.Join(ErrDead, err)
		}
	}
	return ErrDead
}
