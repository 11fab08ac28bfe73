package modcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"gocache.dev/operator/internal/domain/modsum"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// SumGoMod is the sum that go.sum records for a go.mod file.
func SumGoMod(data []byte) modsum.Sum { return sumOne(sha256.Sum256(data)) }

func sumOne(content [sha256.Size]byte) modsum.Sum {
	return sha256.Sum256(fmt.Appendf(nil, "%x  go.mod\n", content))
}

// Meta is the content of an .info file.
type Meta struct {
	Version string
	Time    time.Time
	Origin  json.RawMessage `json:",omitempty"`
}

// ParseInfo reads an .info file.
func ParseInfo(data []byte) (Meta, error) {
	var m Meta
	if err := json.Unmarshal(data, &m); err != nil {
		return Meta{}, err
	}
	if m.Version == "" {
		return Meta{}, errors.New("names no version")
	}
	return m, nil
}

// IsVersion reports whether files of a module can have a version: a canonical
// one that fits the module's path. Anything else that a GOPROXY is asked for the
// .info of is a query, such as a branch, v1, or v2.0.0 of a module without /v2
// in its path: the answer names the version, and another one tomorrow.
func IsVersion(m module.Version) bool {
	_, major, ok := module.SplitPathVersion(m.Path)
	return ok && m.Version != "" && m.Version == module.CanonicalVersion(m.Version) && module.CheckPathMajor(m.Version, major) == nil
}

// CheckInfo is why an .info cannot be a right answer to a request for the
// .info of m: that of a version names just this version, the answer to a query
// names one that the module can have.
func CheckInfo(m module.Version, data []byte) error {
	info, err := ParseInfo(data)
	switch {
	case err != nil:
		return err
	case IsVersion(m) && info.Version != m.Version:
		return fmt.Errorf("names the version %.60q", info.Version)
	case !IsVersion(module.Version{Path: m.Path, Version: info.Version}):
		return fmt.Errorf("names %.60q, which is no version of this module", info.Version)
	}
	return nil
}

// ParseList reads a list file: one semantic version a line.
func ParseList(data []byte) ([]string, error) {
	if len(data) == 0 {
		return nil, nil
	}
	text, ok := strings.CutSuffix(string(data), "\n")
	if !ok {
		return nil, errors.New("the last line does not end")
	}
	lines := strings.Split(text, "\n")
	for i, v := range lines {
		if !semver.IsValid(v) {
			return nil, fmt.Errorf("line %d is no version: %.40q", i+1, v)
		}
	}
	return lines, nil
}

// FormatList writes a list file.
func FormatList(versions []string) []byte {
	var b bytes.Buffer
	for _, v := range versions {
		b.WriteString(v)
		b.WriteByte('\n')
	}
	return b.Bytes()
}
