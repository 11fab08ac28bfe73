package scenario

import (
	"context"
	"fmt"
	"time"
)

// filler is a file that no writer leaves: a check finds it as long as it exists.
const filler = mount + "/filler"

// Fill leaves a file of so many MiB on the cache PVC.
func (s *Scenario) Fill(ctx context.Context, mib int) error {
	return s.fill(ctx, fmt.Sprintf("dd if=/dev/zero of=%s bs=1M count=%d && sync", filler, mib))
}

// Unfill removes that file.
func (s *Scenario) Unfill(ctx context.Context) error {
	return s.fill(ctx, "rm "+filler+" && sync")
}

func (s *Scenario) fill(ctx context.Context, script string) error {
	if err := s.start(ctx, task{name: "fill", script: script, claim: Cache}); err != nil {
		return err
	}
	_, err := s.finish(ctx, "fill", 2*time.Minute)
	return err
}
