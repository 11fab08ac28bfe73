package warm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"gocache.dev/operator/internal/domain/warmup"
)

// errSources means that nothing of any source was warmed: their reports have
// the reasons.
var errSources = errors.New("all sources failed")

// notBuilt is the message of a build that did not begin.
const notBuilt = "not built: the source failed before"

// result collects the report of one source.
type result struct {
	warmup.SourceReport
	errs  []error
	notes []string
	// warmed: a build was made.
	warmed bool
}

// note adds what is worth a look.
func (r *result) note(text string) {
	if !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
	}
}

// noted notes an error that does not fail the source, unless the run is over.
func (r *result) noted(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	r.note(warmup.OneLine(err.Error()))
	return nil
}

// fail adds why the source, or a part of it, was not warmed.
func (r *result) fail(err error) { r.errs = append(r.errs, err) }

// tooOld matches what the go command prints when a go.mod requires a newer one.
var tooOld = regexp.MustCompile(`requires go >= \S+ \(running go `)

func (r *result) report() warmup.SourceReport {
	text := strings.Join(r.notes, "; ")
	if err := errors.Join(r.errs...); err != nil {
		r.Failed, text = true, err.Error()
		if tooOld.MatchString(text) {
			r.Reason = warmup.ToolchainTooOld
		}
	}
	r.Message = warmup.OneLine(text)
	return r.SourceReport
}

// sources warms all sources. What fails of one costs itself only; an error means
// that nothing was warmed, or that the run is over.
func (w *warming) sources(ctx context.Context, temp string) error {
	warmed := len(w.Sources) == 0
	for i, s := range w.Sources {
		begun, before := w.Clock(), w.entries()
		r := &result{SourceReport: warmup.SourceReport{Name: s.Name}}
		for _, b := range s.Builds {
			r.Builds = append(r.Builds, warmup.BuildReport{Name: b.Name, Failed: true, Message: notBuilt})
		}
		do := w.moduleFiles
		if s.Repository {
			do = w.repository
		}
		_, _ = fmt.Fprintf(w.Stdout, "# source %s\n", s.Name)
		if err := errors.Join(s.Validate(), ctx.Err()); err != nil {
			r.fail(err)
		} else if s.Missing != "" {
			r.fail(errors.New(s.Missing))
		} else if err := do(ctx, s, filepath.Join(temp, fmt.Sprintf("source%d", i)), r); err != nil {
			r.fail(err)
		}
		r.Entries, r.Seconds = w.entries()-before, seconds(w.Clock().Sub(begun))
		w.made.Sources = append(w.made.Sources, r.report())
		warmed = warmed || r.warmed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !warmed {
		return errSources
	}
	return nil
}

// entries counts the entries of the build cache.
func (w *warming) entries() (n int64) {
	for i := range 256 {
		names, err := os.ReadDir(filepath.Join(w.BuildCache, fmt.Sprintf("%02x", i)))
		if err != nil {
			continue // there is none yet
		}
		for _, name := range names {
			if strings.HasSuffix(name.Name(), "-a") {
				n++
			}
		}
	}
	return n
}

func seconds(d time.Duration) float64 { return d.Round(100 * time.Millisecond).Seconds() }
