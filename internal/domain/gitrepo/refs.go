package gitrepo

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// A server may have a million refs, of which one is needed. The library builds
// several maps of all of them, so the others are removed from the answer before
// it reads it.

// maxKept bounds the refs that are kept, where many match.
const maxKept = 256

// maxPacket is the longest packet of git's protocol, with its length.
const maxPacket = 65520

var errNotRefs = errors.New("the answer is not a list of git refs")

// refFilter reads an advertisement of refs in the pkt-line format and leaves out
// the refs that picking one ref does not need.
type refFilter struct {
	from *bufio.Reader
	ref  string // as in Remote

	packet [maxPacket]byte
	out    []byte // rest of the packet that is being passed on
	kept   int    // refs; the first one carries the capabilities, and always is
	head   string // the commit of the first ref
	target string // what HEAD points to, if the server reports it
	err    error
}

func newRefFilter(body io.Reader, ref string) *refFilter {
	return &refFilter{from: bufio.NewReader(body), ref: ref}
}

// Read returns the packets that are kept.
func (f *refFilter) Read(p []byte) (int, error) {
	for len(f.out) == 0 {
		if f.err != nil {
			return 0, f.err
		}
		f.err = f.next()
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

// next reads one packet, and passes it on if it is to be kept.
func (f *refFilter) next() error {
	if _, err := io.ReadFull(f.from, f.packet[:4]); err != nil {
		return err
	}
	length, err := strconv.ParseUint(string(f.packet[:4]), 16, 16)
	if err != nil || length > maxPacket || 0 < length && length < 4 {
		return errNotRefs
	}
	packet := f.packet[:max(length, 4)]
	if _, err := io.ReadFull(f.from, packet[4:]); err != nil {
		return err
	}
	if f.keeps(bytes.TrimSuffix(packet[4:], []byte("\n"))) {
		f.out = packet
	}
	return nil
}

func (f *refFilter) keeps(line []byte) bool {
	if len(line) == 0 || line[0] == '#' { // the end of a part, or the name of the service
		return true
	}
	text, capabilities, _ := strings.Cut(string(line), "\x00")
	commit, name, _ := strings.Cut(text, " ")
	if f.kept == 0 {
		f.kept, f.head = 1, commit
		for capability := range strings.FieldsSeq(capabilities) {
			if target, ok := strings.CutPrefix(capability, "symref=HEAD:"); ok {
				f.target = target
			}
		}
		return true
	}
	if f.kept >= maxKept || !f.selects(commit, strings.TrimSuffix(name, "^{}")) {
		return false
	}
	f.kept++
	return true
}

// selects reports whether [Remote.pick] may choose a ref.
func (f *refFilter) selects(commit, name string) bool {
	switch {
	case isCommit.MatchString(f.ref):
		return commit == f.ref
	case f.ref == "" && f.target != "":
		return name == f.target
	case f.ref == "":
		return commit == f.head
	default:
		return name == "refs/heads/"+f.ref || name == "refs/tags/"+f.ref || name == f.ref
	}
}
