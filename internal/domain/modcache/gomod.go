package modcache

import (
	"errors"

	"golang.org/x/mod/modfile"
)

const (
	// maxLines and maxTokens bound a go.mod file that is parsed. Parsed, a line takes up
	// to 400 bytes, and a file may have 16 MiB. The largest files have some thousand
	// lines of four tokens each.
	maxLines  = 100_000
	maxTokens = 10 * maxLines
)

// ParseGoMod parses a go.mod file as the go command parses that of a dependency. name is
// for errors. One with more lines, blocks or words than any has is not parsed, since
// that would take several GiB of memory: [ErrLimit].
func ParseGoMod(name string, data []byte) (*modfile.File, error) {
	lines, tokens, space := 0, 0, true
	for _, c := range data {
		switch c {
		case '\n', '(', ')':
			lines++
			tokens++
			space = true
		case '[', ']', '{', '}', ',', '"', '`':
			tokens++
			space = true
		case ' ', '\t', '\r':
			space = true
		default:
			if space {
				tokens++
			}
			space = false
		}
	}
	if lines > maxLines || tokens > maxTokens {
		return nil, beyondLimit("%s: has %d lines and blocks and %d words, more than are parsed (%d and %d)", name, lines, tokens, maxLines, maxTokens)
	}
	return modfile.ParseLax(name, data, nil)
}

// RequiresNothing reports whether a go.mod can be one that was made up for a module
// whose zip has none: the go command's (LegacyGoMod in
// cmd/go/internal/modfetch/coderepo.go) has the module's path alone, that of
// another server may have more, and neither requires anything. An error is [ErrLimit].
func RequiresNothing(goMod []byte) (bool, error) {
	file, err := ParseGoMod("go.mod", goMod)
	if errors.Is(err, ErrLimit) {
		return false, err
	}
	return err == nil && len(file.Require) == 0, nil
}
