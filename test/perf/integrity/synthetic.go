package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/testing/cachetree"
	"gocache.dev/operator/internal/testing/measure"
)

// sample copies intact entries of a build cache, up to a size: the machine's own
// is being written to.
func (b *bench) sample(from string, limit int64) (dir string, size int64, err error) {
	dir = filepath.Join(b.dir, "build")
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || size >= limit {
			return ignoreGone(err)
		}
		if _, kind := buildcache.ParseName(d.Name()); kind != buildcache.Output {
			return nil
		}
		data, err := os.ReadFile(path) //nolint:gosec // an entry of the cache
		if err != nil {
			return ignoreGone(err)
		}
		size += int64(len(data))
		return cachetree.BuildEntry(dir, data, uint64(size)) //nolint:gosec // a counter
	})
	return dir, size, err
}

func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// buildCache makes a build cache with entries files, half of them outputs.
func (b *bench) buildCache(entries int) (string, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("build-%d", entries))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	data := make([]byte, 700)
	for i := range entries / 2 {
		binary.LittleEndian.PutUint64(data, uint64(i))                     //nolint:gosec // a counter
		if err := cachetree.BuildEntry(dir, data, uint64(i)); err != nil { //nolint:gosec // likewise
			return "", err
		}
	}
	return dir, nil
}

// moduleCache makes a module cache with about entries files: versions of 50.
func (b *bench) moduleCache(entries int) (string, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("mod-%d", entries))
	files := map[string]string{"go.mod": "module example.com/m\n"}
	for i := range 45 {
		files[fmt.Sprintf("pkg%02d/file.go", i)] = fmt.Sprintf("package pkg\n\nconst N = %d\n", i)
	}
	for n := range entries / 50 {
		m := module.Version{Path: fmt.Sprintf("example.com/g%03d/m", n/100), Version: fmt.Sprintf("v1.%d.0", n%100)}
		if _, err := cachetree.Version(dir, m, files); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// hashRate is how fast one core hashes memory, in bytes a second.
func hashRate() float64 {
	data := make([]byte, 64<<20)
	best := 0.0
	for range 5 {
		start := time.Now()
		sha256.Sum256(data)
		best = max(best, float64(len(data))/time.Since(start).Seconds())
	}
	return best
}

// growth is how time grows with the number of entries.
func (b *bench) growth() error {
	var last time.Duration
	for _, entries := range []int{10_000, 100_000, 1_000_000} {
		dir, err := b.buildCache(entries)
		if err != nil {
			return err
		}
		var costs []measure.Cost
		for range b.rounds {
			c, err := measure.Run(b.verify("--buildcache", dir))
			if err != nil {
				return err
			}
			costs = append(costs, c)
		}
		cpu := median(costs, func(c measure.Cost) time.Duration { return c.CPU })
		times := "-"
		if last > 0 {
			times = fmt.Sprintf("%.2f", cpu.Seconds()/last.Seconds())
		}
		fmt.Printf("%-24s %8.3fs %8.3fs %6s  (processor time against a tenth of the entries; %.1f µs for each)\n",
			fmt.Sprintf("growth/%d", entries), cpu.Seconds(), last.Seconds(), times, cpu.Seconds()*1e6/float64(entries))
		last = cpu
	}
	return nil
}

// memory is the most that a check of a million entries takes, in either cache.
func (b *bench) memory() error {
	const limit = 128 << 20
	entries := 1_000_000
	if n, err := strconv.Atoi(os.Getenv("BENCH_ENTRIES")); err == nil && n > 0 {
		entries = n
	}
	build, err := b.buildCache(entries)
	if err != nil {
		return err
	}
	mod, err := b.moduleCache(entries)
	if err != nil {
		return err
	}
	for name, args := range map[string][]string{"memory/buildcache": {"--buildcache", build}, "memory/modcache": {"--modcache", mod}} {
		c, err := measure.Peak(b.verify(args...))
		if err != nil {
			return err
		}
		fmt.Printf("%-24s %6dMiB %6dMiB %6.2f  (at most, of %d entries, in %.1fs)\n", name, c.Resident>>20, int64(limit)>>20, float64(limit)/float64(c.Resident), entries, c.Wall.Seconds())
	}
	return nil
}
