package agentcommand

import "time"

// terminationLog is where the kubelet reads the report of a container. It is the
// default of the field terminationMessagePath.
const terminationLog = "/dev/termination-log"

// Content is what a check reads: directories of caches, or a store.
type Content struct {
	ModCache   string `flag:"modcache"`
	BuildCache string `flag:"buildcache"`
	Store      string `flag:"store"`
	// Layout of the store.
	Layout string `flag:"layout"`
	// Volume is the root of a volume that only the operator writes to.
	Volume string `flag:"volume"`
	// Live: a writer runs on the volume before a snapshot of it is created.
	Live bool `flag:"live"`
	Seal
}

// Seal is what vouches for the content of a volume.
type Seal struct {
	// SealedDigest of the manifest that the last writer reported.
	SealedDigest string `flag:"sealed-digest"`
	// NeverSealed: no writer has reported one.
	NeverSealed bool `flag:"never-sealed"`
}

// Trust is the data from outside a cache that checksums are compared with.
type Trust struct {
	// GoSum files must exist, OptionalGoSum files may be absent.
	GoSum []string `flag:"gosum"`
	// SumDB is a checksum database in the syntax of GOSUMDB.
	SumDB string `flag:"sumdb"`
	// FullCoverage: module versions that no trust data names make the check
	// inconclusive.
	FullCoverage  bool     `flag:"full-coverage"`
	OptionalGoSum []string `flag:"gosum-if-present"`
}

// Reference is a volume that was verified earlier, to compare with.
type Reference struct {
	Dir    string `flag:"reference"`
	Digest string `flag:"reference-digest"`
}

// Verify checks content, and reports a verdict.
type Verify struct {
	Content
	// Root of the volume, where its writer leaves records, if it is not above the
	// caches.
	Root string `flag:"root"`
	Trust
	Reference
}

// Args of the command.
func (c Verify) Args() []string {
	return arguments(c, "verify", "--json", "--termination-log", terminationLog)
}

// Repair removes corrupt entries, and checks what is left.
type Repair struct {
	Content
	// SpareMismatches: nothing is removed if anything contradicts trust data.
	SpareMismatches bool `flag:"spare-mismatches"`
	Trust
}

// Args of the command.
func (c Repair) Args() []string {
	return arguments(c, "repair", "--json", "--termination-log", terminationLog)
}

// Warm fills caches.
type Warm struct {
	// Root of the volume.
	Root string `flag:"root"`
	// ExpectGo is the Go release that the image must have.
	ExpectGo   string `flag:"expect-go"`
	ModCache   string `flag:"modcache"`
	BuildCache string `flag:"buildcache"`
	Seal
	// ProxyURL of the module proxy that requires the credentials in the directory
	// ProxyCredentials.
	ProxyURL         string `flag:"proxy-url"`
	ProxyCredentials string `flag:"proxy-credentials"`
	// StopAfter ends the work while there is time left to record it; 0: never.
	StopAfter time.Duration `flag:"stop-after"`
	// Sources in the form of warmup.Source.
	Sources []string `flag:"source"`
}

// Args of the command.
func (c Warm) Args() []string { return arguments(c, "warm", "--termination-log", terminationLog) }

// Cleanup makes a plan of what is to be removed, or applies one.
type Cleanup struct {
	// Root of the volume.
	Root       string `flag:"root"`
	ModCache   string `flag:"modcache"`
	BuildCache string `flag:"buildcache"`
	// MaxSize of both caches in bytes; 0: no bound.
	MaxSize int64 `flag:"max-size"`
	// MaxAge since the last use; 0: no bound.
	MaxAge time.Duration `flag:"max-age"`
	Seal
	// Apply is the digest of the plan to apply, which was made for the time AsOf.
	// Empty: a plan is made.
	Apply string    `flag:"apply"`
	AsOf  time.Time `flag:"as-of"`
}

// Args of the command.
func (c Cleanup) Args() []string {
	return arguments(c, "cleanup", "--json", "--termination-log", terminationLog)
}

// Fetch writes the files of a commit to a directory.
type Fetch struct {
	URL    string `flag:"url"`
	Commit string `flag:"commit"`
	// Dir must be empty.
	Dir string `flag:"dir"`
	// ReportInDir leaves the reason of a failure to the container that uses the
	// directory, and succeeds.
	ReportInDir bool `flag:"report-in-dir"`
	// Ref that named the commit; empty: the default branch.
	Ref string `flag:"ref"`
	// Secret is a directory with credentials.
	Secret string `flag:"secret"`
	// CAFile has certificates in PEM format.
	CAFile string `flag:"ca-file"`
	// Sparse are the directories to write; none: all.
	Sparse []string `flag:"sparse"`
	// Submodules are written as well.
	Submodules bool `flag:"submodules"`
	// MaxBytes of disk that the files may take; 0: any.
	MaxBytes int64 `flag:"max-bytes"`
	// MaxMemory in bytes that the command may take; 0: that of the variable
	// [FetchMemoryVariable].
	MaxMemory int64 `flag:"max-memory"`
	// Timeout of a fetch with ReportInDir; 0: none.
	Timeout time.Duration `flag:"timeout"`
}

// FetchMemoryVariable is how much memory the container of a [Fetch] has, in bytes. It is
// set by the kubelet, since the limit may be that of a LimitRange.
const FetchMemoryVariable = "GOCACHE_FETCH_MAX_MEMORY"

// Args of the command.
func (c Fetch) Args() []string { return arguments(c, "fetch") }

// OfflineBuild builds a program from caches alone.
type OfflineBuild struct {
	// Program is a directory with go.mod, go.sum and a package main.
	Program    string `flag:"program"`
	ModCache   string `flag:"modcache"`
	BuildCache string `flag:"buildcache"`
	// Vendor: go mod vendor must succeed, too.
	Vendor bool `flag:"vendor"`
}

// Args of the command.
func (c OfflineBuild) Args() []string {
	return arguments(c, "offline-build", "--termination-log", terminationLog)
}

// Restore copies a volume of caches.
type Restore struct {
	From     string `flag:"from"`
	To       string `flag:"to"`
	NoVerify bool   `flag:"no-verify"`
	// ModDir and BuildDir are the directories of the caches, relative to the roots.
	ModDir   string `flag:"mod-dir"`
	BuildDir string `flag:"build-dir"`
}

// Args of the command.
func (c Restore) Args() []string { return arguments(c, "restore") }

// Store monitors the store of a module proxy.
type Store struct {
	Store string `flag:"store"`
	// Prepare creates the directory of the store, and marks its volume.
	Prepare bool `flag:"prepare"`
	// Once ends the command after the first check.
	Once bool `flag:"once"`
	// Listen is the address of its pages.
	Listen string `flag:"listen"`
	// MinFree is the space that the volume must have left, as a quantity.
	MinFree string `flag:"min-free"`
	// VolumeSize in bytes, on which the volume may share a larger file system.
	VolumeSize int64 `flag:"volume-size"`
	// Server is the URL of a page of the server that uses the store.
	Server string `flag:"server"`
	// Layout of the store; empty: it is not checked.
	Layout string `flag:"layout"`
	// State is the file that lists what was found intact.
	State string `flag:"state"`
	// TokenFile has what a request for a check must bring.
	TokenFile string `flag:"token-file"`
	// Interval between checks; 0: on request only; nil: the default of the agent.
	Interval *time.Duration `flag:"interval"`
	// BytesPerSecond that a check reads; 0: no bound.
	BytesPerSecond int64 `flag:"bytes-per-second"`
	// Withdraw removes corrupt entries.
	Withdraw bool `flag:"withdraw"`
	Trust
}

// Args of the command.
func (c Store) Args() []string { return arguments(c, "store") }

// VCS serves private modules from version control.
type VCS struct {
	Listen string `flag:"listen"`
	// Modules are patterns of paths in the syntax of GOPRIVATE.
	Modules string `flag:"modules"`
	// Dir for repositories is emptied first.
	Dir string `flag:"dir"`
	// MaxBytes is the disk space for repositories.
	MaxBytes int64 `flag:"max-bytes"`
	// Secret is a directory with credentials, for Hosts alone.
	Secret string `flag:"secret"`
	Hosts  string `flag:"hosts"`
	// CAFile has certificates in PEM format.
	CAFile string `flag:"ca-file"`
}

// Args of the command.
func (c VCS) Args() []string { return arguments(c, "vcs") }

// Install copies the agent to a directory, for a container of another image.
type Install struct{ Dir string }

// Args of the command.
func (c Install) Args() []string { return []string{"install", c.Dir} }

// Diff compares two manifests.
type Diff struct{ From, To string }

// Args of the command.
func (c Diff) Args() []string {
	return []string{"diff", "--json", "--termination-log", terminationLog, c.From, c.To}
}

// VolumeTestWrite writes files of known content to a directory.
type VolumeTestWrite struct{ Dir string }

// Args of the command.
func (c VolumeTestWrite) Args() []string { return []string{"volume-test", "write", c.Dir} }

// VolumeTestCheck compares these files with what was written.
type VolumeTestCheck struct {
	Dir string
	// Hold keeps the volume mounted until a signal comes.
	Hold bool `flag:"hold"`
}

// Args of the command.
func (c VolumeTestCheck) Args() []string {
	return arguments(c, "volume-test", "check", "--termination-log", terminationLog, c.Dir)
}
