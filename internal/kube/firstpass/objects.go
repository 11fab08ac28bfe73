package firstpass

import (
	"hash/maphash"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Objects are those that a controller has read from the API server since this process
// started. The zero value is ready for use.
type Objects struct {
	once sync.Once
	seed maphash.Seed

	mu sync.Mutex
	// read are the hashes of their names: a few bytes for each of many. Two objects of
	// the same hash are both read from the API server.
	read map[uint64]struct{}
}

// Read reports whether an object was read from the API server.
func (o *Objects) Read(req reconcile.Request) bool {
	hash := o.hash(req)
	o.mu.Lock()
	defer o.mu.Unlock()
	_, read := o.read[hash]
	return read
}

// Add records that an object was read from the API server.
func (o *Objects) Add(req reconcile.Request) {
	hash := o.hash(req)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.read == nil {
		o.read = map[uint64]struct{}{}
	}
	o.read[hash] = struct{}{}
}

// Remove forgets an object that does not exist any more.
func (o *Objects) Remove(req reconcile.Request) {
	hash := o.hash(req)
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.read, hash)
}

func (o *Objects) hash(req reconcile.Request) uint64 {
	o.once.Do(func() { o.seed = maphash.MakeSeed() })
	return maphash.Comparable(o.seed, req)
}
