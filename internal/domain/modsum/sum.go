package modsum

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/module"
)

// Sum is the 256 bits of an "h1:" hash.
type Sum [sha256.Size]byte

// Len is the length of the text form: "h1:" and 44 base64 digits.
const Len = len("h1:") + 44

// String is the text form, as in go.sum and .ziphash.
func (s Sum) String() string { return "h1:" + base64.StdEncoding.EncodeToString(s[:]) }

// IsZero reports whether there is no sum.
func (s Sum) IsZero() bool { return s == Sum{} }

// ErrHealing means that the go command treats the file as missing and writes it
// again, so it never uses the content.
var ErrHealing = errors.New("the go command ignores it and writes it again")

// Parse reads the text form of a sum.
//
// The go command's own test (isValidSum in cmd/go/internal/modfetch/fetch.go)
// looks only at the length and for NUL bytes; what fails that is [ErrHealing].
// A text that passes it but is no base64 is used by the go command and never
// matches: that is another error.
func Parse(data []byte) (Sum, error) {
	if len(data) != Len {
		return Sum{}, fmt.Errorf("%d bytes instead of %d: %w", len(data), Len, ErrHealing)
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return Sum{}, fmt.Errorf("contains NUL bytes: %w", ErrHealing)
	}
	b64, ok := bytes.CutPrefix(data, []byte("h1:"))
	if !ok {
		return Sum{}, fmt.Errorf("does not begin with h1: but with %q", data[:3])
	}
	var buf [sha256.Size + 1]byte
	n, err := base64.StdEncoding.Strict().Decode(buf[:], b64)
	if err != nil {
		return Sum{}, err
	}
	if n != sha256.Size {
		return Sum{}, fmt.Errorf("decodes to %d bytes", n)
	}
	s := Sum(buf[:sha256.Size])
	if s.String() != string(data) {
		return Sum{}, errors.New("is not in canonical base64")
	}
	return s, nil
}

// Compare orders versions as a manifest lists them: by path, then version, both
// as bytes.
func Compare(a, b module.Version) int {
	if c := strings.Compare(a.Path, b.Path); c != 0 {
		return c
	}
	return strings.Compare(a.Version, b.Version)
}
