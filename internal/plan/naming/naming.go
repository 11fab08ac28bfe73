package naming

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Suffixes of children.
const (
	// Writer is the Job that writes to a cache's PVC. The name is the lock.
	Writer = "writer"
	// Verify is the integrity Job of a snapshot, and [Clone] the clone that it runs on.
	Verify = "verify"
	// Reverify is the same for a repaired snapshot, Repair the Job that
	// repairs, Repaired the CSI snapshot of the repaired clone, OfflineBuild
	// the Job of the offline build test, Repeat the integrity Job of a repeated
	// verification, and Reference the clone that a check compares with.
	Reverify     = "reverify"
	Repair       = "repair"
	Repaired     = "repaired"
	OfflineBuild = "offline-build"
	Repeat       = "repeat"
	Reference    = "reference"
	// Next is the PVC with the new volume in a replacement, and the
	// verification Job on it. ReplacementSource is the PVC that its content is
	// copied from, if it cannot be cloned, and Previous is the PVC that keeps
	// the old volume.
	Next              = "next"
	ReplacementSource = "next-source"
	Previous          = "previous"
	// Environment and OfflineEnvironment are a cache's ConfigMaps.
	Environment        = "env"
	OfflineEnvironment = "env-offline"
)

// maxLabel is the longest name that is also a label value and a host name.
const maxLabel = 63

// Child is the name of a parent's child. It is at most 63 characters long: a
// longer one is truncated and ends in a hash of the full name, so that it stays
// unique and is always the same.
func Child(parent, suffix string) string {
	name := parent + "-" + suffix
	if len(name) <= maxLabel {
		return name
	}
	hash := Hash(name)
	keep := maxLabel - len(suffix) - len(hash) - 2
	if keep < 1 { // a suffix that leaves no room
		return strings.Trim(name[:maxLabel-len(hash)-1], "-.") + "-" + hash
	}
	return strings.TrimRight(parent[:keep], "-.") + "-" + hash + "-" + suffix
}

// Clone is the name of a clone that a CacheSnapshot is verified on, by the uid of the
// CacheSnapshot. The admission policy "unassigned-volumes" finds it in a pod by that uid,
// and finds no PVC of others.
func Clone(uid, suffix string) string { return "clone-" + uid + "-" + suffix }

// Hash is eight hex digits that distinguish texts.
func Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}
