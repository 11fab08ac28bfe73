package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"

	"github.com/klauspost/compress/zstd"
)

// archiveName is the object that holds both caches.
const archiveName = "caches.tar.zst"

// save sends an archive of the caches below dir, compressed while tar writes it.
func save(ctx context.Context, url, dir string) error {
	cmd := exec.CommandContext(ctx, "tar", "-C", dir, "-cf", "-", "mod", "build")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	body, compressed := io.Pipe()
	put, err := http.NewRequestWithContext(ctx, http.MethodPut, url+"/"+archiveName, body)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	packed := make(chan error, 1)
	go func() {
		err := compress(compressed, out)
		err = errors.Join(err, cmd.Wait())
		_ = compressed.CloseWithError(err)
		packed <- err
	}()
	answer, err := http.DefaultClient.Do(put)
	if err != nil {
		_ = body.CloseWithError(err)
		return errors.Join(err, <-packed)
	}
	_ = answer.Body.Close()
	if err := <-packed; err != nil {
		return err
	}
	if answer.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the object store answers %s", answer.Status)
	}
	return nil
}

// compress uses the level that the zstd command has by default.
func compress(to io.Writer, from io.Reader) error {
	w, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return err
	}
	_, err = io.Copy(w, from)
	return errors.Join(err, w.Close())
}

// restore extracts the archive below dir while it arrives.
func restore(ctx context.Context, url, dir string) error {
	get, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/"+archiveName, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(get)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the object store answers %s", answer.Status)
	}
	content, err := zstd.NewReader(answer.Body)
	if err != nil {
		return err
	}
	defer content.Close()
	cmd := exec.CommandContext(ctx, "tar", "-C", dir, "-xf", "-")
	cmd.Stdin = content
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %.2000s", cmd, err, out)
	}
	return nil
}
