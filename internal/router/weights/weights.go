package weights

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Key is the key of the ConfigMap, and File the name that it gets when
// mounted.
const (
	Key  = "weights.json"
	File = Key
)

// MaxWeight is the largest weight of a server.
const MaxWeight = 256

const (
	version = 1
	// maxSize is far above what maxServers need, and far below what would
	// hurt a reader.
	maxSize    = 64 << 10
	maxServers = 64
)

// State is what a server may be used for.
type State string

// The states; the package comment explains each.
const (
	Ready State = "ready"
	Drain State = "drain"
	Down  State = "down"
)

// Server is the intent for one server.
type Server struct {
	State State `json:"state"`
	// Weight is the server's share, 1 to MaxWeight when ready and 0 otherwise.
	Weight int `json:"weight,omitempty"`
}

// Weights is the intent for one router.
type Weights struct {
	Owner      string            `json:"owner"`
	Generation int64             `json:"generation"`
	Servers    map[string]Server `json:"servers"`
}

type document struct {
	Version int `json:"version"`
	Weights
}

var serverName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$`)

// Validate returns the first error in w, or nil.
func (w Weights) Validate() error {
	if w.Owner == "" || len(w.Owner) > 64 {
		return fmt.Errorf("owner %q: want 1 to 64 characters", w.Owner)
	}
	if w.Generation < 1 {
		return fmt.Errorf("generation %d: want a positive number", w.Generation)
	}
	if len(w.Servers) == 0 || len(w.Servers) > maxServers {
		return fmt.Errorf("%d servers: want 1 to %d", len(w.Servers), maxServers)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Servers)) {
		if !serverName.MatchString(name) {
			return fmt.Errorf("server %q: the name is no DNS-1035 label of at most 40 characters", name)
		}
		if err := w.Servers[name].validate(); err != nil {
			return fmt.Errorf("server %q: %w", name, err)
		}
	}
	return nil
}

func (s Server) validate() error {
	switch s.State {
	case Ready:
		if s.Weight < 1 || s.Weight > MaxWeight {
			return fmt.Errorf("ready with weight %d: want 1 to %d", s.Weight, MaxWeight)
		}
	case Drain, Down:
		if s.Weight != 0 {
			return fmt.Errorf("%s with weight %d: want none", s.State, s.Weight)
		}
	default:
		return fmt.Errorf("unknown state %q", s.State)
	}
	return nil
}

// Newer reports whether w is to replace current: it is of another owner, or
// of the same with a higher generation.
func (w Weights) Newer(current Weights) bool {
	return w.Owner != current.Owner || w.Generation > current.Generation
}

// Equal reports whether both are equal for every server.
func (w Weights) Equal(other Weights) bool {
	return w.Owner == other.Owner && maps.Equal(w.Servers, other.Servers)
}

// Format writes w as indented JSON with sorted names, ending in a newline.
func Format(w Weights) ([]byte, error) {
	if err := w.Validate(); err != nil {
		return nil, fmt.Errorf("format weights: %w", err)
	}
	text, err := json.MarshalIndent(document{Version: version, Weights: w}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("format weights: %w", err)
	}
	return append(text, '\n'), nil
}

// Parse reads what Format wrote. The error names the cause.
func Parse(text []byte) (Weights, error) {
	w, err := parse(text)
	if err != nil {
		return Weights{}, fmt.Errorf("parse weights: %w", err)
	}
	return w, nil
}

func parse(text []byte) (Weights, error) {
	if len(text) > maxSize {
		return Weights{}, fmt.Errorf("%d bytes: want at most %d", len(text), maxSize)
	}
	if err := noDuplicates(text); err != nil {
		return Weights{}, err
	}
	var doc document
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return Weights{}, err
	}
	if doc.Version != version {
		return Weights{}, fmt.Errorf("version %d: want %d", doc.Version, version)
	}
	return doc.Weights, doc.Validate()
}

// noDuplicates refuses what encoding/json lets pass: of two members with one
// name the last would win silently. It also refuses a second value.
func noDuplicates(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := checkValue(dec); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is text after the document")
	}
	return nil
}

func checkValue(dec *json.Decoder) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('['):
		return errors.New("there is a list, and the format has none")
	case json.Delim('{'):
	default:
		return nil
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		// encoding/json matches names without regard to case.
		name := strings.ToLower(fmt.Sprint(token))
		if seen[name] {
			return fmt.Errorf("member %q is given twice", name)
		}
		seen[name] = true
		if err := checkValue(dec); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}
