package integrity

import (
	"encoding/binary"
	"fmt"
	"slices"

	"gocache.dev/operator/internal/domain/buildcache"
)

// outputs finds the outputs that no action entry names. A cache may have millions of both, so
// it holds four bytes of each hash, in lists by the first byte. In a cache with a million
// entries, it misses one of a million such outputs.
type outputs struct {
	named, there [shards][]uint32
}

// key is where an output is held, and as what.
type key struct {
	list uint8
	is   uint32
}

func keyOf(id buildcache.ID) key {
	return key{id[0], binary.BigEndian.Uint32(id[1:])}
}

func (o *outputs) add(named, there []key) {
	for _, k := range named {
		o.named[k.list] = append(o.named[k.list], k.is)
	}
	for _, k := range there {
		o.there[k.list] = append(o.there[k.list], k.is)
	}
}

// orphans reports the outputs that are there and that no entry names.
func (o *outputs) orphans(report func(...Finding)) {
	for list := range o.there {
		slices.Sort(o.named[list])
		for _, is := range o.there[list] {
			if _, ok := slices.BinarySearch(o.named[list], is); !ok {
				report(Finding{Class: Orphan, Severity: Note, Cache: Build, Path: fmt.Sprintf("%02x/%02[1]x%08[2]x...-d", list, is), Detail: "no action entry names this output"})
			}
		}
		o.named[list], o.there[list] = nil, nil
	}
}
