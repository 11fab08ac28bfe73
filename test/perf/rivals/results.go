package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// result is what one run cost.
type result struct {
	Round int    `json:"round"`
	Way   string `json:"way"`
	// Ready is how long it took until the caches could be used, First until the
	// first result of a test, and End until the job had ended.
	Ready time.Duration `json:"ready"`
	First time.Duration `json:"first"`
	End   time.Duration `json:"end"`
	// Processor is the processor time of the job's own processes.
	Processor time.Duration `json:"processor"`
	// Received and Sent are the bytes of bodies over HTTP, and Read the bytes that
	// the device of the caches has read.
	Received int64 `json:"received"`
	Sent     int64 `json:"sent"`
	Read     int64 `json:"read"`
	// Left is how much of the image was in memory after it was dropped, in bytes.
	Left int64 `json:"left"`
	// Load is the load average of a minute when the run began.
	Load float64 `json:"load"`
}

func readResults(file string) ([]result, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []result
	for line := range bytes.Lines(data) {
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, r)
	}
	return all, nil
}

func appendResults(file string, all []result) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(f)
	for _, r := range all {
		err = errors.Join(err, encoder.Encode(r))
	}
	return errors.Join(err, f.Close())
}

// median is the middle one of some values, of two the higher one.
func median[T cmp.Ordered](values []T) T {
	var none T
	if len(values) == 0 {
		return none
	}
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

func medianOf[T cmp.Ordered](all []result, of func(result) T) T {
	var values []T
	for _, r := range all {
		values = append(values, of(r))
	}
	return median(values)
}

// table is the medians of each way in Markdown, in the order in which the ways
// occur first in round 0, with how many times sooner than nothing and the archive
// each had its first result.
func table(results []result) string {
	byWay := map[string][]result{}
	for _, r := range results {
		byWay[r.Way] = append(byWay[r.Way], r)
	}
	first := func(way string) float64 {
		return medianOf(byWay[way], func(r result) time.Duration { return r.First }).Seconds()
	}
	var text strings.Builder
	text.WriteString("| the job begins with | runs | caches ready | first test result | whole job | processor time | received | sent | read from the volume | nothing / this | archive / this |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, way := range order {
		all := byWay[way]
		if len(all) == 0 {
			continue
		}
		seconds := func(of func(result) time.Duration) string { return fmt.Sprintf("%.2f s", medianOf(all, of).Seconds()) }
		size := func(of func(result) int64) string { return mebibytes(medianOf(all, of)) }
		fmt.Fprintf(&text, "| %s | %d | %s | %s (%s) | %s | %s | %s | %s | %s | %s | %s |\n", way, len(all),
			seconds(func(r result) time.Duration { return r.Ready }),
			seconds(func(r result) time.Duration { return r.First }), spread(all),
			seconds(func(r result) time.Duration { return r.End }),
			seconds(func(r result) time.Duration { return r.Processor }),
			size(func(r result) int64 { return r.Received }), size(func(r result) int64 { return r.Sent }), size(func(r result) int64 { return r.Read }),
			ratio(first(wayNothing), first(way)), ratio(first(wayArchive), first(way)))
	}
	lowest, highest, left := loads(results)
	fmt.Fprintf(&text, "\nload average when a run began: %.1f to %.1f; of the image in memory after it was dropped: at most %s\n", lowest, highest, mebibytes(left))
	return text.String()
}

// spread is the shortest and the longest time to the first result.
func spread(all []result) string {
	var values []time.Duration
	for _, r := range all {
		values = append(values, r.First)
	}
	return fmt.Sprintf("%.2f to %.2f", slices.Min(values).Seconds(), slices.Max(values).Seconds())
}

// loads are the lowest and the highest load, and the most that was still in memory.
func loads(all []result) (lowest, highest float64, left int64) {
	for i, r := range all {
		if i == 0 {
			lowest = r.Load
		}
		lowest, highest, left = min(lowest, r.Load), max(highest, r.Load), max(left, r.Left)
	}
	return lowest, highest, left
}

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f ×", a/b)
}

func mebibytes(n int64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
