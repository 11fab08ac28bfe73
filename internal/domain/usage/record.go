package usage

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/modsum"
)

const (
	header = "gocache-usage 1"
	never  = "-"
	// maxVersions bounds what is read: a module cache with more is none that
	// one warm-up made.
	maxVersions = 1 << 20
	maxLine     = 4 << 10
)

// MarkInterval is how coarse the marks of use in a build cache are: the go
// command moves a time only when it is an hour old.
const MarkInterval = time.Hour

// Record is what warm-ups have used.
type Record struct {
	// Began and Ended are the times of the last warm-up.
	Began, Ended time.Time
	// Modules that the cache held then.
	Modules map[module.Version]Use
}

// Use is when a module version was last used; a zero time is never.
type Use struct {
	Contents time.Time // the zip, or what was extracted from it
	GoMod    time.Time
}

// Since is from when on an entry of either cache must have been used to count
// as used by the last warm-up. For a build cache it may be an hour too early,
// never too late.
func (r *Record) Since() time.Time { return r.Began.Add(-MarkInterval) }

// Write writes the canonical text.
func (r *Record) Write(to io.Writer) error {
	w := bufio.NewWriter(to)
	_, _ = fmt.Fprintf(w, "%s\nwarm-up %s %s\n", header, format(r.Began), format(r.Ended)) // Flush returns the error
	versions := make([]module.Version, 0, len(r.Modules))
	for v := range r.Modules {
		versions = append(versions, v)
	}
	slices.SortFunc(versions, modsum.Compare)
	for _, v := range versions {
		u := r.Modules[v]
		_, _ = fmt.Fprintf(w, "m %s %s %s %s\n", v.Path, v.Version, format(u.Contents), format(u.GoMod))
	}
	_, _ = fmt.Fprintf(w, "end %d\n", len(versions))
	return w.Flush()
}

func format(t time.Time) string {
	if t.IsZero() {
		return never
	}
	return t.UTC().Format(time.RFC3339)
}

// Parse reads a record and refuses any text that [Record.Write] would not have
// written: what is cleaned away must not hang on a guess.
func Parse(from io.Reader) (*Record, error) {
	s := bufio.NewScanner(from)
	s.Buffer(make([]byte, 0, maxLine), maxLine)
	s.Split(line)
	p := parser{scan: s, record: &Record{Modules: map[module.Version]Use{}}}
	if err := p.all(); err != nil {
		return nil, fmt.Errorf("usage record, line %d: %w", p.line, err)
	}
	return p.record, nil
}

// line splits at newlines alone, and lets no last line be without one.
func line(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, errTruncated
	}
	return 0, nil, nil
}

type parser struct {
	scan   *bufio.Scanner
	line   int
	last   module.Version
	record *Record
}

var errTruncated = errors.New("the record is truncated")

// next is the fields of the next line.
func (p *parser) next() ([]string, error) {
	p.line++
	if !p.scan.Scan() {
		if err := p.scan.Err(); err != nil {
			return nil, err
		}
		return nil, errTruncated
	}
	return strings.Split(p.scan.Text(), " "), nil
}

func (p *parser) all() error {
	first, err := p.next()
	if err != nil {
		return err
	}
	if strings.Join(first, " ") != header {
		return fmt.Errorf("%.40q is not %q", strings.Join(first, " "), header)
	}
	f, err := p.next()
	if err != nil {
		return err
	}
	if len(f) != 3 || f[0] != "warm-up" {
		return errors.New("expected: warm-up, when it began, when it ended")
	}
	if p.record.Began, p.record.Ended, err = times(f[1], f[2]); err != nil {
		return err
	}
	if p.record.Began.IsZero() || p.record.Ended.Before(p.record.Began) {
		return errors.New("the warm-up has no time, or ended before it began")
	}
	for {
		f, err := p.next()
		switch {
		case err != nil:
			return err
		case f[0] == "end":
			return p.end(f)
		}
		if err := p.version(f); err != nil {
			return err
		}
	}
}

func (p *parser) version(f []string) error {
	if len(f) != 5 || f[0] != "m" {
		return errors.New("expected: m, path, version, when its contents and its go.mod were used")
	}
	if len(p.record.Modules) == maxVersions {
		return fmt.Errorf("more than %d versions", maxVersions)
	}
	v := module.Version{Path: f[1], Version: f[2]}
	if _, err := modcache.Escape(v); err != nil {
		return err
	}
	if p.last.Path != "" && modsum.Compare(p.last, v) >= 0 {
		return fmt.Errorf("%s is not in order", v)
	}
	var u Use
	var err error
	if u.Contents, u.GoMod, err = times(f[3], f[4]); err != nil {
		return err
	}
	p.last, p.record.Modules[v] = v, u
	return nil
}

func (p *parser) end(f []string) error {
	if len(f) != 2 || f[1] != strconv.Itoa(len(p.record.Modules)) {
		return fmt.Errorf("the end does not count %d versions", len(p.record.Modules))
	}
	p.line++
	if p.scan.Scan() {
		return errors.New("text behind the end")
	}
	return p.scan.Err()
}

func times(a, b string) (x, y time.Time, err error) {
	if x, err = parseTime(a); err != nil {
		return x, y, err
	}
	y, err = parseTime(b)
	return x, y, err
}

func parseTime(text string) (time.Time, error) {
	if text == never {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, err
	}
	if format(t) != text {
		return t, fmt.Errorf("%q is not a time in UTC with whole seconds", text)
	}
	return t.UTC(), nil
}
