package router

import (
	"strings"

	"golang.org/x/mod/module"
)

// asked is what a request is for.
type asked struct {
	// line identifies its line in go.sum, or the lines of a lookup; zero: none.
	line module.Version
	// archive of a module; database: something of a checksum database, and
	// lookup: the lines of a module.
	archive, database, lookup bool
}

// readPath reads the path of a request: that of a GOPROXY, as the go command
// writes it.
func readPath(path string) (a asked) {
	if rest, ok := strings.CutPrefix(path, "/sumdb/"); ok {
		a.database = true
		if _, name, ok := strings.Cut(rest, "/lookup/"); ok {
			escaped, version, _ := strings.Cut(name, "@")
			a.line, a.lookup = unescape(escaped, version), true
		}
		return a
	}
	escaped, name, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/@v/")
	if !ok {
		return a
	}
	if version, ok := strings.CutSuffix(name, ".zip"); ok {
		a.archive, a.line = true, unescape(escaped, version)
	} else if version, ok := strings.CutSuffix(name, ".mod"); ok {
		a.line = goMod(unescape(escaped, version))
	}
	return a
}

// unescape returns nothing when the go command would not have written it.
func unescape(path, version string) module.Version {
	path, err := module.UnescapePath(path)
	if err != nil {
		return module.Version{}
	}
	if version, err = module.UnescapeVersion(version); err != nil {
		return module.Version{}
	}
	return module.Version{Path: path, Version: version}
}

// goMod is how go.sum names the go.mod file of a version.
func goMod(v module.Version) module.Version {
	if v.Path != "" {
		v.Version += "/go.mod"
	}
	return v
}
