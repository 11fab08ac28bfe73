package integrity

import "golang.org/x/mod/module"

// Class says what kind of deviation a finding is.
type Class string

// The classes of findings.
const (
	// Corrupt content is not what its own hash says.
	Corrupt Class = "Corrupt"
	// Truncated content ends early, is empty, or was zero-filled by a crash.
	Truncated Class = "Truncated"
	// Missing is a part of a set whose other parts are there.
	Missing Class = "Missing"
	// Inconsistent parts contradict each other.
	Inconsistent Class = "Inconsistent"
	// ChecksumMismatch is content that is consistent in itself but contradicts
	// trust data: somebody forged it, or the module was published twice.
	ChecksumMismatch Class = "ChecksumMismatch"
	// Unverifiable content has nothing to be compared with.
	Unverifiable Class = "Unverifiable"
	// BadMode is a file or directory that nobody may read.
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
)

// Meaning says what the class stands for, for a person.
func (c Class) Meaning() string {
	switch c {
	case Corrupt:
		return "the content is not what its own hash says"
	case Truncated:
		return "it ends early, is empty, or was filled with zeros by a crash"
	case Missing:
		return "a part is gone whose other parts are there"
	case Inconsistent:
		return "two parts contradict each other"
	case ChecksumMismatch:
		return "it is sound in itself, but not what trust data says it must be"
	case Unverifiable:
		return "nothing says what it should be"
	case BadMode:
		return "its mode lets nobody read it"
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
	}
	return ""
}

// Severity says what the go command does with what was found.
type Severity uint8

// The severities, from harmless to convicting.
const (
	// Note is harmless: the go command never looks at it, or it is under way.
	Note Severity = iota
	// Torn is taken for absent by the go command, which heals it by itself.
	Torn
	// Unknown could not be checked: nothing is proven either way.
	Unknown
	// Wrong is used silently by the go command, or fails for ever.
	Wrong
)

// String is the name used in verdicts.
func (s Severity) String() string {
	switch s {
	case Note:
		return "note"
	case Torn:
		return "torn"
	case Unknown:
		return "unknown"
	case Wrong:
		return "wrong"
	}
	return "invalid"
}

// Cache says in which tree a path lies.
type Cache string

// The trees that are checked.
const (
	Modules Cache = "modules"
	Build   Cache = "build"
	Store   Cache = "store"
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
	// Remove lists what must go for the go command to heal it, in this order.
	// Empty for what cannot or need not be repaired.
	Remove []string
}
