//go:build !race

package fetch_test

const raced = false
