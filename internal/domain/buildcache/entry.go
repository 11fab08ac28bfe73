package buildcache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	hexLen = 2 * sha256.Size
	// EntryLen is the length of an action entry in bytes.
	EntryLen = len("v1 ") + hexLen + 1 + hexLen + 1 + 20 + 1 + 20 + 1
)

// ID names an action or an output.
type ID [sha256.Size]byte

// String is the hexadecimal form.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Shard is the name of the directory the ID belongs in.
func (id ID) Shard() string { return hex.EncodeToString(id[:1]) }

// ActionPath is the path of the action entry below the cache's root.
func (id ID) ActionPath() string { return id.Shard() + "/" + id.String() + "-a" }

// OutputPath is the path of the output below the cache's root.
func (id ID) OutputPath() string { return id.Shard() + "/" + id.String() + "-d" }

// Kind is what a file in a shard is.
type Kind uint8

// The kinds of file in a shard.
const (
	Other Kind = iota
	Action
	Output
)

// ParseName reads a file name in a shard.
func ParseName(name string) (ID, Kind) {
	var id ID
	if len(name) != hexLen+2 || name[hexLen] != '-' {
		return id, Other
	}
	kind := Other
	switch name[hexLen+1] {
	case 'a':
		kind = Action
	case 'd':
		kind = Output
	}
	if kind == Other || !parseHex(id[:], name[:hexLen]) {
		return ID{}, Other
	}
	return id, kind
}

// parseHex reads lower-case digits only: the go command writes no others, and
// would not find a file named with them.
func parseHex[T string | []byte](dst []byte, src T) bool {
	for i := range dst {
		hi, lo := digit(src[2*i]), digit(src[2*i+1])
		if hi > 15 || lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// Entry is an action entry.
type Entry struct {
	Action ID
	Output ID
	Size   int64     // of the output, in bytes
	Time   time.Time // when it was made
}

// ParseEntry reads an action entry. It accepts exactly what [Entry.Format]
// writes; the go command accepts a little more (signs, zeros and upper-case
// digits that it never writes) and takes everything else for absent.
func ParseEntry(data []byte) (Entry, error) {
	if len(data) != EntryLen {
		return Entry{}, fmt.Errorf("%d bytes instead of %d", len(data), EntryLen)
	}
	var e Entry
	const action, output, size, nano = 3, 3 + hexLen + 1, 3 + 2*(hexLen+1), 3 + 2*(hexLen+1) + 21
	if string(data[:3]) != "v1 " || data[output-1] != ' ' || data[size-1] != ' ' || data[nano-1] != ' ' || data[EntryLen-1] != '\n' {
		return Entry{}, errors.New("the fields are not where they belong")
	}
	if !parseHex(e.Action[:], data[action:output-1]) || !parseHex(e.Output[:], data[output:size-1]) {
		return Entry{}, errors.New("an ID is not hexadecimal")
	}
	n, err := parsePadded(data[size : nano-1])
	if err != nil {
		return Entry{}, fmt.Errorf("size: %w", err)
	}
	t, err := parsePadded(data[nano : EntryLen-1])
	if err != nil {
		return Entry{}, fmt.Errorf("time: %w", err)
	}
	e.Size, e.Time = n, time.Unix(0, t)
	return e, nil
}

func parsePadded(field []byte) (int64, error) {
	text := strings.TrimLeft(string(field), " ")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, err
	}
	if n < 0 || strconv.FormatInt(n, 10) != text {
		return 0, fmt.Errorf("%q is not a plain number", text)
	}
	return n, nil
}

// Format writes the entry as the go command does.
func (e Entry) Format() []byte {
	return fmt.Appendf(make([]byte, 0, EntryLen), "v1 %x %x %20d %20d\n", e.Action[:], e.Output[:], e.Size, e.Time.UnixNano())
}
