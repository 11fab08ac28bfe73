package version

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by the linker.
var version, commit string

// unknown is reported for what was neither set nor recorded.
const unknown = "unknown"

// Info describes one build of a program.
type Info struct {
	// Version is a release such as v0.1.0, or what git describe printed, or
	// "unknown".
	Version string
	// Commit is the git commit, with the suffix -dirty when the work tree
	// differed from it, or "unknown".
	Commit string
	// Go is the Go release that compiled the program, such as go1.26.8.
	Go string
	// Platform is the target, such as linux/amd64.
	Platform string
}

// Get returns the build that is running.
func Get() Info {
	recorded, _ := debug.ReadBuildInfo()
	return describe(version, commit, recorded)
}

// describe prefers what the linker set to what the go command recorded.
func describe(version, commit string, recorded *debug.BuildInfo) Info {
	i := Info{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if recorded == nil {
		recorded = &debug.BuildInfo{}
	}
	if main := recorded.Main.Version; main != "(devel)" {
		i.Version = cmp.Or(i.Version, main)
	}
	settings := map[string]string{}
	for _, s := range recorded.Settings {
		settings[s.Key] = s.Value
	}
	if i.Commit == "" && settings["vcs.revision"] != "" {
		i.Commit = settings["vcs.revision"]
		if settings["vcs.modified"] == "true" {
			i.Commit += "-dirty"
		}
	}
	i.Version, i.Commit = cmp.Or(i.Version, unknown), cmp.Or(i.Commit, unknown)
	return i
}

// String is one line: version, commit, Go release and platform.
func (i Info) String() string {
	return fmt.Sprintf("%s (commit %s, %s, %s)", i.Version, i.Commit, i.Go, i.Platform)
}
