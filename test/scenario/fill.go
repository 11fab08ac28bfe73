package scenario

import (
	"context"
	"fmt"
	"time"
)

// Fill leaves a file of so many MiB on the cache PVC.
func (s *Scenario) Fill(ctx context.Context, mib int) error {
	script := fmt.Sprintf("dd if=/dev/zero of=%s/filler bs=1M count=%d && sync", mount, mib)
	if err := s.start(ctx, task{name: "fill", script: script, claim: Cache}); err != nil {
		return err
	}
	_, err := s.finish(ctx, "fill", 2*time.Minute)
	return err
}
