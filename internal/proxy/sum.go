package proxy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/domain/store"
)

// hashFile hashes a file from its beginning and leaves it there again.
func hashFile(f *os.File) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read it: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("rewind it: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func copyAndHash(w io.Writer, r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, h), r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func writeSum(f *os.File, sum string) error {
	return onDescriptor(f, func(fd int) error { return unix.Fsetxattr(fd, store.SumAttribute, []byte(sum), 0) })
}

// readSum returns "" when no sum was recorded.
func readSum(f *os.File) (string, error) {
	buf := make([]byte, 2*sha256.Size)
	n := 0
	err := onDescriptor(f, func(fd int) (err error) {
		n, err = unix.Fgetxattr(fd, store.SumAttribute, buf)
		return err
	})
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("read its recorded sum: %w", err)
	}
	return string(buf[:n]), nil
}

func onDescriptor(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = do(int(fd)) }); err != nil {
		return err
	}
	return result
}
