package cachetree

import (
	"errors"
	"os"
	"path"
	"strings"
	"testing"
)

const (
	// nameMax is the longest name and pathMax the longest path, with the zero
	// at its end, that the kernel takes at once (linux/limits.h).
	nameMax = 255
	pathMax = 4096
)

// Deep makes directories with the longest names there are below dir until a
// file's path is n bytes longer than the longest path there is, or shorter if n
// is negative, puts that file there, and returns the path below dir. It goes
// step by step: no call can name the file at once.
func Deep(tb testing.TB, dir string, n int, content string) string {
	tb.Helper()
	at, err := os.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	rest := pathMax - 1 + n - len(dir) - len("/") // of the path below dir
	below := ""
	for rest > 2*nameMax {
		name := strings.Repeat("n", nameMax)
		if err := at.Mkdir(name, 0o700); err != nil {
			tb.Fatal(err)
		}
		next, err := at.OpenRoot(name)
		if err != nil {
			tb.Fatal(err)
		}
		_ = at.Close() // only read
		at, below, rest = next, path.Join(below, name), rest-nameMax-len("/")
	}
	last := strings.Repeat("m", rest-nameMax-len("/"))
	file := path.Join(last, strings.Repeat("f", nameMax))
	if err := errors.Join(at.Mkdir(last, 0o700), at.WriteFile(file, []byte(content), 0o600), at.Close()); err != nil {
		tb.Fatal(err)
	}
	return path.Join(below, file)
}
