package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/proxy"
)

// TestPathsOfTheProtocol holds which paths are of the protocol, in all spellings
// that reach a server, and that nothing else is asked of the upstream.
func TestPathsOfTheProtocol(t *testing.T) {
	u := startUpstream(t)
	server, _ := instance(t, u, nil)
	mustServe(t, server, modPath, modText)
	for path, want := range map[string]int{
		"/example.com/m/@v/v1.0.0.mod?go-get=1&x=%2F": http.StatusOK,
		"/example.com%2Fm/@v/v1.0.0.mod":              http.StatusOK,
		"/example.com/m/%40v/v1.0.0.mod":              http.StatusOK,
		"/example.com/%6d/@v/v1.0.0.mod":              http.StatusOK,
		"/example.com/m/@v/v1.0.0.mod/":               http.StatusNotFound,
		"//example.com/m/@v/v1.0.0.mod":               http.StatusNotFound,
		"/example.com//m/@v/v1.0.0.mod":               http.StatusNotFound,
		"/example.com/x/../m/@v/v1.0.0.mod":           http.StatusNotFound,
		"/example.com/x/%2e%2e/m/@v/v1.0.0.mod":       http.StatusNotFound,
		"/example.com/M/@v/v1.0.0.mod":                http.StatusNotFound, // not escaped
		"/example.com/m%00/@v/v1.0.0.mod":             http.StatusNotFound,
		"/example.com/m%20n/@v/v1.0.0.mod":            http.StatusNotFound,
		"/example.com/%ff/@v/v1.0.0.mod":              http.StatusNotFound,
		"/example.com/m/@v/":                          http.StatusNotFound,
		"/example.com/m/@v/list/":                     http.StatusNotFound,
		"/example.com/m/@latest/":                     http.StatusNotFound,
		"/example.com/m/@v/.info":                     http.StatusNotFound,
		"/example.com/m/@v/v1.0.0.ziphash":            http.StatusNotFound,
		"/example.com/m/@v/v1.0.0.lock":               http.StatusNotFound,
		"/example.com/m/@v/latest.info":               http.StatusNotFound,
		"/example.com/m/@v/main.mod":                  http.StatusNotFound, // only an .info answers a query
		"/example.com/m/@v/v2.0.0.zip":                http.StatusNotFound, // a version without +incompatible
		"/example.com/m/@v/feature/x.info":            http.StatusNotFound,
		"/" + proxy.MarkerFile:                        http.StatusNotFound,
		"/" + proxy.QuarantineDir + "/@v/v1.0.0.mod":  http.StatusNotFound,
		"/": http.StatusNotFound,
	} {
		asked := u.requests.Load()
		if w := get(t, server, path); w.Code != want || want == http.StatusOK && w.Body.String() != modText {
			t.Errorf("%s: %d %q, want %d", path, w.Code, w.Body, want)
		}
		if u.requests.Load() != asked {
			t.Errorf("%s: the upstream was asked", path)
		}
	}
}

// TestNamesThatCannotBeStored holds that a module whose name no file system takes
// is served all the same, and that the store is well.
func TestNamesThatCannotBeStored(t *testing.T) {
	m := module.Version{Path: "example.com/" + strings.Repeat("m", 300), Version: "v1.0.0"}
	u := startUpstream(t)
	archive := moduleZip(t, m)
	u.fail(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive) })
	server, _ := instance(t, u, nil)
	mustServe(t, server, "/"+m.Path+"/@v/v1.0.0.zip", string(archive))
	if w := get(t, server, "/readyz"); w.Code != http.StatusOK {
		t.Errorf("/readyz: %d %s", w.Code, w.Body)
	}
}

// TestPartsAndValidators holds what HEAD, ranges and conditions get, alike whether
// the store had the file before.
func TestPartsAndValidators(t *testing.T) {
	u := startUpstream(t)
	archive := moduleZip(t, theModule)
	for _, stored := range []bool{false, true} {
		server, _ := instance(t, u, nil)
		validator := get(t, server, modPath).Header().Get("ETag")
		if stored {
			mustServe(t, server, zipPath, string(archive))
		}
		for name, c := range map[string]struct {
			method, path, header, value string
			want                        int
			body                        string
		}{
			"head":              {http.MethodHead, zipPath, "", "", http.StatusOK, ""},
			"a part":            {http.MethodGet, zipPath, "Range", "bytes=0-3", http.StatusPartialContent, "PK\x03\x04"},
			"the end":           {http.MethodGet, zipPath, "Range", "bytes=-2", http.StatusPartialContent, "\x00\x00"},
			"beyond the end":    {http.MethodGet, zipPath, "Range", "bytes=999999-", http.StatusRequestedRangeNotSatisfiable, "invalid range"},
			"no range":          {http.MethodGet, zipPath, "Range", "lines=1-2", http.StatusRequestedRangeNotSatisfiable, "invalid range"},
			"same":              {http.MethodGet, modPath, "If-None-Match", validator, http.StatusNotModified, ""},
			"same, weakly":      {http.MethodGet, modPath, "If-None-Match", "W/" + validator, http.StatusNotModified, ""},
			"other":             {http.MethodGet, modPath, "If-None-Match", `"other"`, http.StatusOK, modText},
			"must be other":     {http.MethodGet, modPath, "If-Match", `"other"`, http.StatusPreconditionFailed, "Precondition Failed"},
			"not by time":       {http.MethodGet, modPath, "If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT", http.StatusOK, modText},
			"another method":    {http.MethodPost, modPath, "", "", http.StatusMethodNotAllowed, "method not allowed"},
			"a method of files": {http.MethodDelete, zipPath, "", "", http.StatusMethodNotAllowed, "method not allowed"},
		} {
			r := httptest.NewRequest(c.method, c.path, http.NoBody)
			if c.header != "" {
				r.Header.Set(c.header, c.value)
			}
			w := httptest.NewRecorder()
			server.ServeHTTP(w, r)
			if w.Code != c.want || !strings.HasPrefix(w.Body.String(), c.body) || c.body == "" && w.Body.Len() > 0 {
				t.Errorf("%s, stored %t: %d %q, want %d %q", name, stored, w.Code, w.Body, c.want, c.body)
			}
		}
	}
}
