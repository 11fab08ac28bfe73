package store

import (
	"context"

	"golang.org/x/time/rate"
)

// pace makes a check read no faster than a number of bytes per second, 0: as
// fast as it can. A file is paid for before it is read.
func pace(bytesPerSecond int64) func(context.Context, int64) {
	if bytesPerSecond <= 0 {
		return nil
	}
	const burst = 4 << 20
	limiter := rate.NewLimiter(rate.Limit(bytesPerSecond), burst)
	return func(ctx context.Context, bytes int64) {
		for ; bytes > 0 && ctx.Err() == nil; bytes -= burst {
			_ = limiter.WaitN(ctx, int(min(bytes, burst))) // the check sees the end of ctx by itself
		}
	}
}
