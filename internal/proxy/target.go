package proxy

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/modcache"
)

// target is a file of the GOPROXY protocol that a client asks for.
type target struct {
	// name below the root of the store and below the address of an upstream.
	name string
	// module that it is about. Its version is the query if the file is an answer
	// to one, and "latest" for a list.
	module module.Version
	kind   modcache.Kind
	// mutable files may be others tomorrow: lists, @latest and answers to queries.
	mutable bool
}

// parseTarget reads the path of a request. An error is for the client: there is
// no such file in the protocol.
func parseTarget(urlPath string) (target, error) {
	if path.Clean(urlPath) != urlPath || !strings.HasPrefix(urlPath, "/") || urlPath == "/" {
		return target{}, errors.New("not a path of the GOPROXY protocol")
	}
	t := target{name: urlPath[1:]}
	escaped, file, ok := strings.Cut(t.name, "/@")
	if !ok {
		return target{}, errors.New("missing /@v/")
	}
	modulePath, err := module.UnescapePath(escaped)
	if err != nil {
		return target{}, err
	}
	t.module.Path = modulePath
	switch file {
	case "latest":
		t.module.Version, t.kind, t.mutable = "latest", modcache.Info, true
		return t, nil
	case "v/list":
		t.module.Version, t.kind, t.mutable = "latest", modcache.List, true
		return t, nil
	}
	file, ok = strings.CutPrefix(file, "v/")
	if !ok {
		return target{}, errors.New("missing /@v/")
	}
	ext := path.Ext(file)
	switch ext {
	case ".info":
		t.kind = modcache.Info
	case ".mod":
		t.kind = modcache.Mod
	case ".zip":
		t.kind = modcache.Zip
	case "":
		return target{}, fmt.Errorf("no file extension in filename %q", file)
	default:
		return target{}, fmt.Errorf("unexpected extension %q", ext)
	}
	t.module.Version, err = module.UnescapeVersion(strings.TrimSuffix(file, ext))
	if err != nil {
		return target{}, err
	}
	switch t.module.Version {
	case "latest", "upgrade", "patch":
		return target{}, errors.New("invalid version")
	}
	if module.Check(t.module.Path, t.module.Version) == nil && t.module.Version == module.CanonicalVersion(t.module.Version) {
		return t, nil
	}
	if t.kind != modcache.Info {
		return target{}, errors.New("unrecognized version")
	}
	t.mutable = true
	return t, nil
}

// contentType of the file, as the go command's own servers have it.
func (t target) contentType() string {
	switch {
	case t.kind == modcache.Info:
		return "application/json; charset=utf-8"
	case t.kind == modcache.Zip:
		return "application/zip"
	}
	return "text/plain; charset=utf-8"
}

// maxAge is how long a cache may keep the file, in seconds.
func (t target) maxAge() int {
	if t.mutable {
		return 60
	}
	return 7 * 24 * 60 * 60
}
