package webhook

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// Namespaces is how many have calls that go on or wait.
func (c *Caller) Namespaces() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.turns)
}

// TestForget holds that results which were not read are remembered up to a number, and
// that calls which go on always are.
func TestForget(t *testing.T) {
	for _, tt := range []struct{ calls, goOn, left int }{{999, 0, 999}, {999, 5, 999}, {1000, 0, 0}, {1000, 5, 5}, {1001, 1001, 1001}} {
		c := New(func(types.NamespacedName) {})
		for i := range tt.calls {
			_, cancel := context.WithCancel(t.Context())
			c.calls[types.NamespacedName{Name: fmt.Sprint(i)}] = &state{cancel: cancel, done: i >= tt.goOn}
			cancel()
		}
		c.forget()
		if len(c.calls) != tt.left {
			t.Errorf("of %d, of which %d go on, %d are left, want %d", tt.calls, tt.goOn, len(c.calls), tt.left)
		}
	}
}
