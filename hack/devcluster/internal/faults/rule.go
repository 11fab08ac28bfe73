package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Operation is something that the driver is asked to do.
type Operation string

// The operations that can go wrong.
const (
	// Create makes an empty volume.
	Create Operation = "create"
	// Restore makes a volume from a snapshot.
	Restore Operation = "restore"
	// Clone makes a volume from another volume.
	Clone Operation = "clone"
	// Snapshot is a snapshot of a volume.
	Snapshot Operation = "snapshot"
	// Expand makes a volume larger.
	Expand Operation = "expand"
	// Delete removes a volume.
	Delete Operation = "delete"
	// DeleteSnapshot removes a snapshot.
	DeleteSnapshot Operation = "delete-snapshot"
	// Mount makes a volume usable on the node.
	Mount Operation = "mount"
	// Attach and Detach give a node a volume, and take it away, if there are several.
	Attach Operation = "attach"
	Detach Operation = "detach"
)

// Operations are all of them, in the order in which a person meets them.
var Operations = []Operation{Create, Restore, Clone, Snapshot, Expand, Delete, DeleteSnapshot, Mount, Attach, Detach}

// Rule is one fault.
type Rule struct {
	// Operation is what goes wrong.
	Operation Operation `json:"operation"`
	// Namespace and Name, if set, are patterns (path.Match) for the PVC or the
	// VolumeSnapshot. The driver learns them only for create, restore, clone, and
	// snapshot; for all else Name is matched against the volume's or snapshot's id.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Delay is how long the operation takes longer than it would.
	Delay Duration `json:"delay,omitzero"`
	// Error, if set, makes it fail, after Delay, with this message.
	Error string `json:"error,omitempty"`
	// Code is the gRPC code of the failure, Internal unless set.
	Code string `json:"code,omitempty"`
	// Times is how many calls it applies to; 0 means all.
	Times int `json:"times,omitempty"`
	// Each counts Times for each volume or snapshot, and not in all.
	Each bool `json:"each,omitempty"`
	// NotReady makes a snapshot whose readyToUse stays false as long as the rule stands.
	NotReady bool `json:"notReady,omitempty"`
	// ReadyAfter makes a snapshot whose readyToUse is false until it is this old.
	ReadyAfter Duration `json:"readyAfter,omitzero"`
	// Unsynced creates a snapshot without freezing the file system: what is not
	// yet on disk is not in it, as when the power fails.
	Unsynced bool `json:"unsynced,omitempty"`
	// SizeUnknown makes a snapshot whose size is 0: the driver does not report one.
	SizeUnknown bool `json:"sizeUnknown,omitempty"`
	// SameSize refuses a copy that is to have another size than its source, as thin
	// LVM does.
	SameSize bool `json:"sameSize,omitempty"`
	// Every limits the rate, as clouds do: of one source, one snapshot or copy is made
	// in such a time. Others fail meanwhile.
	Every Duration `json:"every,omitzero"`
	// Lazy makes a volume whose content is loaded when it is first read, each 512 KiB in this
	// time, as clouds restore snapshots.
	Lazy Duration `json:"lazy,omitzero"`
	// WhileCopied refuses to delete a snapshot as long as a volume that was made from
	// it exists.
	WhileCopied bool `json:"whileCopied,omitempty"`
}

// Set is the content of the file.
type Set struct {
	Rules []Rule `json:"rules"`
}

// Codes are the gRPC codes that a failure may have, as gRPC names them.
var Codes = []string{
	"Internal", "ResourceExhausted", "Unavailable", "Aborted", "DeadlineExceeded",
	"FailedPrecondition", "InvalidArgument", "NotFound", "OutOfRange", "Unimplemented", "Unknown",
}

// Validate returns the faults of a rule.
func (r Rule) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains(Operations, r.Operation) {
		bad("operation %q: want one of %s", r.Operation, join(Operations))
	}
	for _, pattern := range []string{r.Namespace, r.Name} {
		if _, err := path.Match(pattern, ""); err != nil {
			bad("pattern %q: %w", pattern, err)
		}
	}
	if r.Code != "" && !slices.Contains(Codes, r.Code) {
		bad("code %q: want one of %s", r.Code, strings.Join(Codes, ", "))
	}
	if r.Code != "" && r.Error == "" {
		bad("code %s without an error message", r.Code)
	}
	if r.Delay < 0 || r.ReadyAfter < 0 || r.Times < 0 || r.Every < 0 || r.Lazy < 0 {
		bad("delay, readyAfter, every, lazy and times must not be negative")
	}
	if r.Operation != Snapshot && (r.NotReady || r.ReadyAfter != 0 || r.Unsynced || r.SizeUnknown) {
		bad("notReady, readyAfter, unsynced and sizeUnknown are for operation %s only", Snapshot)
	}
	if r.SameSize && r.Operation != Restore && r.Operation != Clone {
		bad("sameSize is for the operations %s and %s only", Restore, Clone)
	}
	if r.Every != 0 && r.Operation != Restore && r.Operation != Clone && r.Operation != Snapshot {
		bad("every is for the operations %s, %s and %s only", Restore, Clone, Snapshot)
	}
	if r.Lazy != 0 && r.Operation != Restore {
		bad("lazy is for operation %s only", Restore)
	}
	if r.WhileCopied && r.Operation != DeleteSnapshot {
		bad("whileCopied is for operation %s only", DeleteSnapshot)
	}
	if r.Each && r.Times == 0 {
		bad("each is for a rule with times")
	}
	if r == (Rule{Operation: r.Operation, Namespace: r.Namespace, Name: r.Name, Code: r.Code, Times: r.Times, Each: r.Each}) {
		bad("the rule for %q does nothing: want a delay, an error, or another fault", r.Operation)
	}
	return errors.Join(errs...)
}

// Matches reports whether the rule is about this call.
func (r Rule) Matches(op Operation, namespace, name string) bool {
	return r.Operation == op && match(r.Namespace, namespace) && match(r.Name, name)
}

func match(pattern, s string) bool {
	if pattern == "" {
		return true
	}
	ok, err := path.Match(pattern, s)
	return err == nil && ok
}

// Load reads the file; no file means no faults.
func Load(file string) (Set, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Set{}, nil
	}
	if err != nil {
		return Set{}, err
	}
	return Parse(b)
}

// Parse reads the content of the file.
func Parse(b []byte) (Set, error) {
	var s Set
	decoder := json.NewDecoder(strings.NewReader(string(b)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return Set{}, fmt.Errorf("faults: %w", err)
	}
	for i, r := range s.Rules {
		if err := r.Validate(); err != nil {
			return Set{}, fmt.Errorf("faults: rule %d: %w", i, err)
		}
	}
	return s, nil
}

const parameterPrefix = "fault/"

// FromParameters returns the rule that a class's parameters stand for, if they do.
func FromParameters(op Operation, parameters map[string]string) (Rule, bool, error) {
	r := Rule{Operation: op}
	found := false
	for key, value := range parameters {
		field, isFault := strings.CutPrefix(key, parameterPrefix)
		if !isFault {
			continue
		}
		found = true
		if err := r.setParameter(field, value); err != nil {
			return Rule{}, false, fmt.Errorf("parameter %s: %w", key, err)
		}
	}
	if !found || r.Operation != op {
		return Rule{}, false, nil
	}
	return r, true, r.Validate()
}

func (r *Rule) setParameter(field, value string) (err error) {
	switch field {
	case "operation":
		r.Operation = Operation(value)
	case "delay":
		err = r.Delay.UnmarshalText([]byte(value))
	case "error":
		r.Error = value
	case "code":
		r.Code = value
	case "times":
		r.Times, err = strconv.Atoi(value)
	case "notReady":
		r.NotReady, err = strconv.ParseBool(value)
	case "readyAfter":
		err = r.ReadyAfter.UnmarshalText([]byte(value))
	case "unsynced":
		r.Unsynced, err = strconv.ParseBool(value)
	case "sizeUnknown":
		r.SizeUnknown, err = strconv.ParseBool(value)
	case "sameSize":
		r.SameSize, err = strconv.ParseBool(value)
	case "every":
		err = r.Every.UnmarshalText([]byte(value))
	case "lazy":
		err = r.Lazy.UnmarshalText([]byte(value))
	default:
		err = errors.New("no such fault")
	}
	return err
}

// Duration is a time.Duration that JSON writes as "1m30s".
type Duration time.Duration

// MarshalText writes it as time.ParseDuration reads it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads it as time.ParseDuration does.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

func join(ops []Operation) string {
	s := make([]string, len(ops))
	for i, op := range ops {
		s[i] = string(op)
	}
	return strings.Join(s, ", ")
}
