package integrity

import "golang.org/x/mod/module"

// Class is the kind of a deviation.
type Class string

// The classes of findings.
const (
	// Corrupt content does not match its own hash.
	Corrupt Class = "Corrupt"
	// Truncated content ends early, is empty, or was zero-filled by a crash.
	Truncated Class = "Truncated"
	// Missing is a part of a set whose other parts are there.
	Missing Class = "Missing"
	// Inconsistent parts contradict each other.
	Inconsistent Class = "Inconsistent"
	// ChecksumMismatch is content that is consistent in itself but contradicts
	// trust data: it was forged, or the module was published twice.
	ChecksumMismatch Class = "ChecksumMismatch"
	// TrustConflict is trust data that require different contents of one version:
	// the content that one of them requires is not at fault.
	TrustConflict Class = "TrustConflict"
	// Unverifiable content has nothing to be compared with.
	Unverifiable Class = "Unverifiable"
	// BadMode is a file or directory whose mode allows no reading.
	BadMode Class = "BadMode"
	// Unreadable could not be read: no permission, or an error of the device.
	Unreadable Class = "Unreadable"
	// InFlight is being written, or was when its writer died.
	InFlight Class = "InFlight"
	// Malformed is a name or a content that does not parse.
	Malformed Class = "Malformed"
	// Stray is nothing that the go command ever looks at.
	Stray Class = "Stray"
	// Dangling is an action entry whose output is gone.
	Dangling Class = "Dangling"
	// Orphan is an output that no action entry names.
	Orphan Class = "Orphan"
	// Unexpected is an entry, on a volume that only the operator writes to, that
	// its writer never leaves there and that no check covers.
	Unexpected Class = "Unexpected"
	// Unsealed is an entry that the last writer of the volume left with other
	// content, or did not leave at all.
	Unsealed Class = "Unsealed"
)

// Meaning describes the class in a sentence.
func (c Class) Meaning() string {
	switch c {
	case Corrupt:
		return "the content does not match its own hash"
	case Truncated:
		return "it ends early, is empty, or was filled with zeros by a crash"
	case Missing:
		return "a part is gone whose other parts are there"
	case Inconsistent:
		return "two parts contradict each other"
	case ChecksumMismatch:
		return "it is consistent in itself, but contradicts trust data"
	case TrustConflict:
		return "trust data require different contents of one version: find out which is right, and correct the other"
	case Unverifiable:
		return "there is no checksum to compare it with"
	case BadMode:
		return "its mode allows no reading"
	case Unreadable:
		return "it could not be read"
	case InFlight:
		return "it was being written, now or when its writer died"
	case Malformed:
		return "the name, kind or content is not one that the go command makes"
	case Stray:
		return "the go command never looks at it"
	case Dangling:
		return "an action entry whose output is gone"
	case Orphan:
		return "an output that no action entry names: the go command's own trim takes it in time"
	case Unexpected:
		return "the writer of the volume leaves no such entry, and no check covers what it holds"
	case Unsealed:
		return "the last writer of the volume left other content, or none, in its place"
	}
	return ""
}

// Severity is the consequence of a finding for the go command.
type Severity uint8

// The severities, in ascending order.
const (
	// Note is harmless: the go command never reads the entry, or it is being
	// written.
	Note Severity = iota
	// Recoverable means that the go command treats the entry as missing and creates it
	// again.
	Recoverable
	// SeverityUnreadable means that the entry could not be checked: nothing is proven
	// either way.
	SeverityUnreadable
	// SeverityCorrupt means that the go command uses the entry silently, or fails on it
	// every time.
	SeverityCorrupt
)

// String is the name used in verdicts.
func (s Severity) String() string {
	switch s {
	case Note:
		return "note"
	case Recoverable:
		return "recoverable"
	case SeverityUnreadable:
		return "unreadable"
	case SeverityCorrupt:
		return "corrupt"
	}
	return "invalid"
}

// Cache is the tree in which a path lies.
type Cache string

// The trees that are checked.
const (
	Modules Cache = "modules"
	Build   Cache = "build"
	Store   Cache = "store"
	// Volume is the root of the volume that holds the caches.
	Volume Cache = "volume"
)

// Finding is one deviation.
type Finding struct {
	Class    Class
	Severity Severity
	Cache    Cache
	Path     string // below the root of its tree, slash-separated
	Detail   string
	// Module is the version that it is about, in a store.
	Module module.Version
	// Refused: the server finds by itself that it is not what it had stored, and
	// gives it to no client.
	Refused bool
	// Remove lists the paths to remove, in this order, for the go command to
	// create the entry again. It is empty for findings that cannot or need not
	// be repaired.
	Remove []string
}
