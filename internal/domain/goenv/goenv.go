package goenv

import (
	"maps"
	"path"
	"strings"
)

// Folders of the two caches below the mount path.
const (
	ModulesDir = "mod"
	BuildDir   = "build"
)

// Settings of an environment.
type Settings struct {
	// MountPath of the volume, absolute.
	MountPath string
	// Modules and Build report whether the volume holds these caches.
	Modules, Build bool
	// Proxy is the value of GOPROXY; empty leaves the toolchain's default.
	Proxy string
	// ManagedProxy means that Proxy serves private modules too.
	ManagedProxy bool
	// Fallback is the last entry of GOPROXY, after Proxy: "direct" or a URL; empty:
	// none.
	Fallback string
	// PrivatePatterns of module paths.
	PrivatePatterns []string
	// ChecksumDatabase is the value of GOSUMDB; empty leaves the default.
	ChecksumDatabase string
	// Strict keeps settings of the surroundings out: configuration files, go.work
	// files, and GOFLAGS.
	Strict bool
}

// ModuleCache is GOMODCACHE below a mount path.
func ModuleCache(mountPath string) string { return path.Join(mountPath, ModulesDir) }

// BuildCache is GOCACHE below a mount path.
func BuildCache(mountPath string) string { return path.Join(mountPath, BuildDir) }

// Online is the environment of a build that may ask the proxy.
func Online(s Settings) map[string]string {
	// The cache belongs to one toolchain: the go command must not fetch another.
	env := map[string]string{"GOTOOLCHAIN": "local"}
	if s.Modules {
		env["GOMODCACHE"] = ModuleCache(s.MountPath)
	}
	if s.Build {
		env["GOCACHE"] = BuildCache(s.MountPath)
	}
	if s.Proxy != "" {
		env["GOPROXY"] = s.Proxy
		if s.Fallback != "" {
			// After any error: with a comma the go command would go on after 404 and
			// 410 alone, and not while the proxy is down.
			env["GOPROXY"] += "|" + s.Fallback
		}
	}
	if patterns := strings.Join(s.PrivatePatterns, ","); patterns != "" {
		if s.ManagedProxy {
			// Our proxy serves them: only the public checksum database must
			// not be asked. GOPRIVATE would bypass the proxy too.
			env["GONOSUMDB"] = patterns
			env["GONOPROXY"] = "none"
			if s.Fallback != "" && s.Fallback != "direct" {
				// No entry of GOPROXY can be for some modules only, and the fallback
				// must not learn the names of these. With "direct" they come from
				// their own servers, from which no name is kept.
				env["GONOPROXY"] = patterns
			}
		} else {
			env["GOPRIVATE"] = patterns
		}
	}
	if s.ChecksumDatabase != "" {
		env["GOSUMDB"] = s.ChecksumDatabase
	}
	if s.Strict {
		env["GOENV"] = "off"
		env["GOWORK"] = "off"
		env["GOFLAGS"] = "" // in place of flags of the image
	}
	return env
}

// Offline is the environment of a build that has the caches and nothing else.
// It does not choose -mod: by default the go command uses vendor directories, and
// leaves go.mod files as they are.
func Offline(s Settings) map[string]string {
	env := maps.Clone(Online(s))
	env["GOPROXY"] = "off"
	return env
}
