package probe

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/goproxy"
)

// ReferenceModule is a module version with a known checksum that a healthy instance
// serves.
type ReferenceModule struct {
	// Module and its version.
	Module module.Version
	// Zip and Mod are the h1 hashes that go.sum has of it; empty: not known.
	Zip, Mod string
	// OnlyStored: it is never fetched; if it is not in the store, the result is
	// neither good nor bad.
	OnlyStored bool
}

const (
	// maxReferenceModule bounds the archive of a reference module, in bytes: it is held
	// in memory.
	maxReferenceModule = 32 << 20
	// maxText bounds its other files.
	maxText = 2 << 20
)

// Answer is an instance's answer to the request for a reference module.
type Answer struct {
	// Module that was asked for.
	Module module.Version
	// Protocol is whether it was served at all, Checksum whether its checksum
	// matched. The zero Result is neither good nor bad.
	Protocol, Checksum Result
	// Sums of what was served; empty: it was not.
	Sums goproxy.Sums
}

// ReferenceModules requests each reference module. A checksum mismatch counts if it
// occurs twice in a row: a single answer can be damaged on its way.
func (t Target) ReferenceModules(ctx context.Context, modules []ReferenceModule) []Answer {
	var answers []Answer
	for _, c := range modules {
		answer := t.module(ctx, c)
		if first := answer.Checksum; first.Outcome == Failed {
			if answer = t.module(ctx, c); answer.Checksum.Outcome != Failed {
				answer.Checksum = Result{Unknown, "checksum mismatch once, and not when requested again at once: " + first.Message}
			}
		}
		answers = append(answers, answer)
	}
	return answers
}

// Protocol is the result of answers for the protocol: the first failure decides.
func Protocol(answers []Answer) (all Result) {
	for _, a := range answers {
		all = worse(all, a.Protocol)
	}
	return all
}

// Checksum is the result of answers for the checksums: the first failure
// decides.
func Checksum(answers []Answer) (all Result) {
	for _, a := range answers {
		all = worse(all, a.Checksum)
	}
	return all
}

func (t Target) module(ctx context.Context, c ReferenceModule) Answer {
	answer := Answer{Module: c.Module}
	client := &goproxy.Client{Base: t.Base, HTTP: t.http(), MaxZip: maxReferenceModule, MaxText: maxText, CacheOnly: true, Own: t.Own}
	_, err := client.Info(ctx, c.Module)
	if errors.Is(err, goproxy.ErrNotFound) {
		if c.OnlyStored {
			return answer
		}
		client.CacheOnly = false // not in the store yet: fetch it once
		_, err = client.Info(ctx, c.Module)
	}
	if err != nil {
		answer.Protocol, answer.Checksum = cannot(err), Result{Unknown, err.Error()} // an info has no checksum
		return answer
	}
	sums, err := client.Sums(ctx, c.Module)
	switch {
	case errors.Is(err, goproxy.ErrMalformed): // complete and unreadable: the content is corrupt
		answer.Protocol, answer.Checksum = fail(err), fail(err)
	case err != nil:
		answer.Protocol, answer.Checksum = cannot(err), Result{Unknown, err.Error()}
	default:
		answer.Protocol, answer.Checksum, answer.Sums = Result{Outcome: Passed}, compare(c, sums), sums
	}
	return answer
}

// cannot sorts an error: what the upstream lacks, and what lies elsewhere, is no
// evidence about the instance.
func cannot(err error) Result {
	if errors.Is(err, goproxy.ErrNotFound) || errors.Is(err, goproxy.ErrRedirected) {
		return Result{Unknown, err.Error()}
	}
	return fail(err)
}

func compare(c ReferenceModule, got goproxy.Sums) Result {
	for _, sum := range []struct{ file, want, got string }{
		{"archive", c.Zip, got.Zip},
		{"go.mod", c.Mod, got.Mod},
	} {
		if sum.want != "" && sum.want != sum.got {
			return Result{Failed, fmt.Sprintf("the %s of %s has sum %s, want %s", sum.file, c.Module, sum.got, sum.want)}
		}
	}
	if c.Zip == "" && c.Mod == "" {
		return Result{} // there is nothing to compare with
	}
	return Result{Outcome: Passed}
}

// worse keeps a failure, then what could not be found out, then success.
func worse(a, b Result) Result {
	rank := map[Outcome]int{Passed: 0, Unknown: 1, Failed: 2}
	switch {
	case a == Result{}: // neither good nor bad
		return b
	case b == Result{}:
		return a
	case rank[b.Outcome] > rank[a.Outcome]:
		return b
	default:
		return a
	}
}
