package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/modsum"
)

const header = "gocache-manifest 1"

// Kind is what a record is about.
type Kind byte

// The kinds of record, in the order of the file.
const (
	Module     Kind = 'm'
	Stored     Kind = 's'
	Action     Kind = 'a'
	Output     Kind = 'd'
	Executable Kind = 'x'
)

// Record is one line.
type Record struct {
	Kind Kind

	// Of a module version. A zero sum or size means that there is none.
	module.Version
	Zip   modsum.Sum
	Raw   [sha256.Size]byte
	GoMod modsum.Sum
	Dir   modsum.Sum

	// Of a build cache.
	Action buildcache.ID
	Output buildcache.ID

	Size int64 // of the zip or the output, in bytes
}

// Key names what the record is about, apart from its contents.
func (r *Record) Key() string {
	switch r.Kind {
	case Module, Stored:
		return string(r.Kind) + " " + r.Path + "@" + r.Version.Version
	case Action:
		return "a " + r.Action.String()
	case Output, Executable:
	}
	return "d " + r.Output.String()
}

// order compares places in the file.
func order(a, b *Record) int {
	if c := group(a.Kind) - group(b.Kind); c != 0 {
		return c
	}
	switch a.Kind {
	case Module, Stored:
		return modsum.Compare(a.Version, b.Version)
	case Action, Output, Executable:
	}
	ida, idb := a.id(), b.id()
	if c := int(ida[0]) - int(idb[0]); c != 0 {
		return c
	}
	if c := rank(a.Kind) - rank(b.Kind); c != 0 {
		return c
	}
	return bytes.Compare(ida[:], idb[:])
}

func group(k Kind) int {
	switch k {
	case Module:
		return 0
	case Stored:
		return 1
	case Action, Output, Executable:
	}
	return 2
}

func rank(k Kind) int {
	if k == Action {
		return 0
	}
	return 1
}

func (r *Record) id() *buildcache.ID {
	if r.Kind == Action {
		return &r.Action
	}
	return &r.Output
}

// append writes the record as a line.
func (r *Record) append(b []byte) []byte {
	b = append(b, byte(r.Kind), ' ')
	switch r.Kind {
	case Module, Stored:
		b = append(b, r.Path...)
		b = append(b, ' ')
		b = append(b, r.Version.Version...)
		b = appendSum(b, r.Zip)
		if r.Raw == [sha256.Size]byte{} {
			b = append(b, " -"...)
		} else {
			b = append(b, ' ')
			b = hex.AppendEncode(b, r.Raw[:])
		}
		b = append(b, ' ')
		b = strconv.AppendInt(b, r.Size, 10)
		b = appendSum(b, r.GoMod)
		b = appendSum(b, r.Dir)
		return append(b, '\n')
	case Action:
		b = hex.AppendEncode(b, r.Action[:])
		b = append(b, ' ')
	case Output, Executable:
	}
	b = hex.AppendEncode(b, r.Output[:])
	b = append(b, ' ')
	b = strconv.AppendInt(b, r.Size, 10)
	return append(b, '\n')
}

func appendSum(b []byte, s modsum.Sum) []byte {
	b = append(b, ' ')
	if s.IsZero() {
		return append(b, '-')
	}
	return append(b, s.String()...)
}

// parseRecord reads a line without its end.
func parseRecord(line string) (Record, error) {
	f := strings.Split(line, " ")
	r := Record{}
	if len(f[0]) != 1 {
		return r, fmt.Errorf("unknown kind of record %.20q", f[0])
	}
	r.Kind = Kind(f[0][0])
	var err error
	switch {
	case (r.Kind == Module || r.Kind == Stored) && len(f) == 8:
		err = r.parseModule(f)
	case r.Kind == Action && len(f) == 4:
		err = errors.Join(parseID(&r.Action, f[1]), parseID(&r.Output, f[2]), parseSize(&r.Size, f[3]))
	case (r.Kind == Output || r.Kind == Executable) && len(f) == 3:
		err = errors.Join(parseID(&r.Output, f[1]), parseSize(&r.Size, f[2]))
	default:
		err = fmt.Errorf("record %.20q with %d fields", f[0], len(f))
	}
	if err != nil {
		return Record{}, err
	}
	return r, nil
}

func (r *Record) parseModule(f []string) error {
	r.Path, r.Version.Version = f[1], f[2]
	if err := spelled(r.Version); err != nil {
		return err
	}
	var raw buildcache.ID
	if f[4] != "-" {
		if err := parseID(&raw, f[4]); err != nil {
			return err
		}
		if raw == (buildcache.ID{}) {
			return errors.New("a sum of zeros")
		}
		r.Raw = raw
	}
	return errors.Join(parseSum(&r.Zip, f[3]), parseSize(&r.Size, f[5]), parseSum(&r.GoMod, f[6]), parseSum(&r.Dir, f[7]))
}

func parseID(id *buildcache.ID, text string) error {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(id) || strings.ToLower(text) != text {
		return fmt.Errorf("%.80q is not the hexadecimal of 32 bytes", text)
	}
	copy(id[:], b)
	return nil
}

func parseSum(s *modsum.Sum, text string) error {
	if text == "-" {
		return nil
	}
	sum, err := modsum.Parse([]byte(text))
	if err != nil {
		return fmt.Errorf("%.80q: %w", text, err)
	}
	if sum.IsZero() {
		return errors.New("a sum of zeros")
	}
	*s = sum
	return nil
}

func parseSize(n *int64, text string) error {
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < 0 || strconv.FormatInt(v, 10) != text {
		return fmt.Errorf("%.30q is no size", text)
	}
	*n = v
	return nil
}

// spelled is why a module version has no spelling for file names.
func spelled(m module.Version) error {
	if _, err := module.EscapePath(m.Path); err != nil {
		return err
	}
	_, err := module.EscapeVersion(m.Version)
	return err
}
