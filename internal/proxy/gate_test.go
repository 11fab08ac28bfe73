package proxy

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestSharesOfClients holds that a client that asks for more and more leaves
// room for the next one, and that nothing is lost when it stops.
func TestSharesOfClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(16)
		var mu sync.Mutex // when all is released, several that waited go on at once
		counts := map[string]int{}
		ctx, cancel := context.WithCancel(t.Context())
		ask := func(client string, weight int64) {
			go func() {
				release, err := g.acquire(ctx, client, weight)
				if err != nil {
					return
				}
				mu.Lock()
				counts[client] += int(weight)
				mu.Unlock()
				<-ctx.Done()
				release()
			}()
			synctest.Wait()
		}
		for _, client := range []string{"greedy", "second", "third"} {
			for range 20 {
				ask(client, 1)
			}
		}
		if counts["greedy"] != 8 || counts["second"] != 4 || counts["third"] != 2 {
			t.Errorf("shares of 16: %v", counts)
		}
		ask("late", 1)
		if counts["late"] != 1 {
			t.Error("a client that comes late has to wait for others")
		}
		ask("large", 100) // more than there is: it waits until all is free
		if counts["large"] != 0 {
			t.Error("more was given than there is")
		}
		cancel()
		synctest.Wait()
		if g.used != 0 || len(g.clients) != 0 || len(g.waiting) != 0 {
			t.Errorf("left: %d used, %v, %d waiting", g.used, g.clients, len(g.waiting))
		}
		release, err := g.acquire(t.Context(), "large", 100)
		if err != nil || g.used != 16 {
			t.Errorf("all of it: %v, %d used", err, g.used)
		}
		if _, ok := g.try("other", 1); ok {
			t.Error("there was no room")
		}
		release()
		release() // the second time it does nothing
		if again, ok := g.try("other", 1); !ok || g.used != 1 {
			t.Errorf("after it: %v, %d used", ok, g.used)
		} else {
			again()
		}
	})
}

// TestTurns holds that the client with the least goes first.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(4)
		hold, err := g.acquire(t.Context(), "a", 2)
		if err != nil {
			t.Fatal(err)
		}
		block, err := g.acquire(t.Context(), "b", 1)
		if err != nil {
			t.Fatal(err)
		}
		var (
			mutex sync.Mutex
			order []string
		)
		ordered := func() []string {
			mutex.Lock()
			defer mutex.Unlock()
			return slices.Clone(order)
		}
		for _, client := range []string{"a", "a", "c"} {
			go func() {
				release, err := g.acquire(t.Context(), client, 1)
				if err != nil {
					return
				}
				mutex.Lock()
				order = append(order, client)
				mutex.Unlock()
				time.Sleep(time.Second)
				release()
			}()
			synctest.Wait()
		}
		block()
		synctest.Wait()
		if order := ordered(); len(order) == 0 || order[0] != "c" {
			t.Errorf("in this order: %v", order)
		}
		hold()
		time.Sleep(time.Minute)
		if order := ordered(); len(order) != 3 {
			t.Errorf("not all had a turn: %v", order)
		}
	})
}
