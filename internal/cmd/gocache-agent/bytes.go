package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// bytesValue is a flag for a size in the manner of Kubernetes: a number with an
// optional suffix such as Mi or G.
type bytesValue int64

var units = []struct {
	suffix string
	factor float64
}{
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40},
	{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"", 1},
}

// String is the size in bytes.
func (b *bytesValue) String() string { return strconv.FormatInt(int64(*b), 10) }

// Type names the kind of value in help.
func (b *bytesValue) Type() string { return "size" }

// Set reads a size.
func (b *bytesValue) Set(text string) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || n < 0 || math.IsInf(n, 0) || math.IsNaN(n) || n*u.factor > math.MaxInt64/2 {
			return fmt.Errorf("%q is no size such as 10Gi", text)
		}
		*b = bytesValue(n * u.factor)
		return nil
	}
	return nil
}
