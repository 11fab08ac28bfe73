package vcs

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
)

// failure is an answer other than a file.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

// maxText of an answer, in bytes.
const maxText = 2 << 10

// absent are texts of the go command and of git for what is not there: a
// repository, a version, a module in a directory. All else may be trouble that
// passes, and must not be taken for an absence.
var absent = regexp.MustCompile(`(?i)` + strings.Join([]string{
	`unknown revision`, `no matching versions`, `invalid version: `, `malformed module path`, `invalid github\.com import path`,
	`no go-import meta tags`, `go-import .* does not match`, `404 Not Found`, `410 Gone`, `remote: .*not found`, `repository '[^']*' not found`,
	`repository not found`, `does not appear to be a git repository`, `no such repository`, `repository does not exist`, `project .* could not be found`,
	`missing .*go\.mod at revision`, `does not contain a go\.mod`, `has no go\.mod`, `but does not contain package`, `has post-v\d+ module path`, `go\.mod has non-`,
	`module declares its path as`, `unrecognized import path .*: parse https`, `could not find a ref`, `couldn't find remote ref`, `has malformed module path`,
	`disallowed version string`, `not a valid version`, `no tags? `, `invalid character .* in (version|path)`,
}, "|"))

// refused are texts for what may not be read.
var refused = regexp.MustCompile(`(?i)` + strings.Join([]string{
	`could not read (Username|Password)`, `terminal prompts disabled`, `Authentication failed`, `401 Unauthorized`, `403 Forbidden`, `The requested URL returned error: 40[13]`,
	`HTTP Basic: Access denied`, `unable to authenticate`, `Permission denied`, `the identity may not be used`, `knownhosts: `, `needs the keys identity and known_hosts`,
	`GOVCS disallows`, `transport '[^']*' not allowed`,
}, "|"))

// noise are parts of texts that are of no use to a client: progress, directories,
// and advice about the settings of a user's git.
var noise = regexp.MustCompile(`(?m)^go: (finding|downloading) .*$| in [^ \n]*/cache/vcs/[0-9a-f]+|^\s*(Confirm the import path was entered correctly|If this is a private repository, see ).*$`)

// tooNew are modules that only a newer go command packs.
var tooNew = regexp.MustCompile(`requires go >= .*\(running go`)

// explain is what an error of the go command means. The text names no directory of
// this server.
func explain(out, text []byte, directories ...string) error {
	message := string(text)
	var printed struct{ Error string }
	if json.Unmarshal(out, &printed) == nil && printed.Error != "" { // go mod download -json
		message = printed.Error
	}
	message = noise.ReplaceAllString(message, "")
	for _, dir := range directories {
		message = strings.ReplaceAll(message, dir, "")
	}
	var lines []string
	for line := range strings.Lines(message) {
		if line = strings.TrimSpace(strings.TrimPrefix(line, "go: ")); line != "" {
			lines = append(lines, line)
		}
	}
	message = strings.Join(lines, "\n")
	if tooNew.MatchString(message) {
		message += ": name an image with a newer Go release in spec.privateModules.versionControl.image"
	}
	if len(message) > maxText {
		message = strings.ToValidUTF8(message[:maxText], "") + "…"
	}
	switch {
	case refused.MatchString(message):
		return &failure{http.StatusForbidden, "version control: " + message}
	case absent.MatchString(message):
		return &failure{http.StatusNotFound, "not found: " + message}
	}
	return &failure{http.StatusBadGateway, "version control: " + message}
}
