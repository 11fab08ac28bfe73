package prog_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"gocache.dev/operator/internal/agent/prog"
)

// answer is what the go command reads.
type answer struct {
	ID            int64
	Err           string
	KnownCommands []string
	Miss          bool
	OutputID      []byte
	Size          int64
	DiskPath      string
}

// session runs one session and returns the answers by ID; 0 is the greeting.
func session(t *testing.T, lower, upper string, in io.Reader) (map[int64]answer, *prog.Stats, error) {
	t.Helper()
	var out bytes.Buffer
	clock := func() time.Time { return time.Unix(1_700_000_000, 0) }
	stats, failed := prog.Run(prog.Options{Lower: lower, Upper: upper, Clock: clock, Stdin: in, Stdout: &out, Stderr: io.Discard})
	answers := map[int64]answer{}
	for d := json.NewDecoder(&out); ; {
		var a answer
		if err := d.Decode(&a); errors.Is(err, io.EOF) {
			return answers, stats, failed
		} else if err != nil {
			t.Fatal(err)
		}
		answers[a.ID] = a
	}
}

func request(id int, command string, fields string) string {
	return fmt.Sprintf(`{"ID":%d,"Command":%q%s}`+"\n", id, command, fields)
}

func idField(name string, id [sha256.Size]byte) string {
	return fmt.Sprintf(`,%q:%q`, name, base64.StdEncoding.EncodeToString(id[:]))
}

// put is a request to store content as the output of an action.
func put(id int, action [sha256.Size]byte, content string) string {
	fields := idField("ActionID", action) + idField("OutputID", sha256.Sum256([]byte(content)))
	if content == "" {
		return request(id, "put", fields)
	}
	return request(id, "put", fmt.Sprintf(`%s,"BodySize":%d`, fields, len(content))) +
		`"` + base64.StdEncoding.EncodeToString([]byte(content)) + `"` + "\n"
}

func get(id int, action [sha256.Size]byte) string {
	return request(id, "get", idField("ActionID", action))
}

// What one session puts, the next one gets from the layer below; nothing else
// is a hit.
func TestSession(t *testing.T) {
	one, two, three, four := [sha256.Size]byte{1}, [sha256.Size]byte{2}, [sha256.Size]byte{3}, [sha256.Size]byte{4}
	lower, upper := t.TempDir(), filepath.Join(t.TempDir(), "made")
	answers, stats, err := session(t, "", lower, strings.NewReader(
		put(1, one, "content")+put(2, two, "")+put(3, three, strings.Repeat("long ", 50_000))+
			request(4, "put", `,"ActionID":"AAAA","OutputID":"AAAA"`)+request(5, "dance", "")+request(6, "close", "")+"not read any more"))
	if err != nil || stats.Puts.Load() != 4 {
		t.Fatalf("%d puts, %v", stats.Puts.Load(), err)
	}
	if greeting := answers[0].KnownCommands; len(greeting) != 3 {
		t.Errorf("greeting %v", greeting)
	}
	if _, closed := answers[6]; !closed || answers[4].Err == "" || answers[5].Err == "" {
		t.Errorf("answers %+v", answers)
	}
	for id, want := range map[int64]string{1: "content", 2: "", 3: strings.Repeat("long ", 50_000)} {
		got, err := os.ReadFile(answers[id].DiskPath)
		if err != nil || string(got) != want {
			t.Errorf("put %d: %d bytes at %q, %v", id, len(got), answers[id].DiskPath, err)
		}
	}

	// No longer the content that its name stands for, with the same size.
	if err := os.WriteFile(answers[3].DiskPath, []byte(strings.Repeat("l0ng ", 50_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	answers, stats, err = session(t, lower, upper, strings.NewReader(get(1, one)+get(2, two)+get(3, three)+get(4, four)+request(5, "get", "")))
	if err != nil || stats.Hits.Load() != 2 || stats.Misses.Load() != 2 || stats.Damaged.Load() != 1 {
		t.Errorf("%d hits, %d misses, %d damaged, %v", stats.Hits.Load(), stats.Misses.Load(), stats.Damaged.Load(), err)
	}
	if a := answers[1]; a.Miss || a.Size != 7 || !strings.HasPrefix(a.DiskPath, lower) || fmt.Sprintf("%x", a.OutputID) != fmt.Sprintf("%x", sha256.Sum256([]byte("content"))) {
		t.Errorf("hit %+v", a)
	}
	if !answers[3].Miss || !answers[4].Miss || answers[5].Err == "" {
		t.Errorf("answers %+v", answers)
	}
}

// A session that breaks ends with an error, and leaves no part of a body.
func TestSessionBreaks(t *testing.T) {
	full := put(1, [sha256.Size]byte{1}, "some content")
	for name, tt := range map[string]struct {
		in   io.Reader
		want error // nil: any
	}{
		"in the middle of a body":  {strings.NewReader(full[:len(full)-8]), io.ErrUnexpectedEOF},
		"before a body":            {strings.NewReader(full[:strings.Index(full, "\n")+1]), nil},
		"a read error in a body":   {io.MultiReader(strings.NewReader(full[:len(full)-8]), iotest.ErrReader(syscall.EIO)), syscall.EIO},
		"a read error":             {io.MultiReader(strings.NewReader(full), iotest.ErrReader(syscall.EIO)), syscall.EIO},
		"a body of another size":   {strings.NewReader(strings.Replace(full, `"BodySize":12`, `"BodySize":13`, 1)), nil},
		"a body that is no base64": {strings.NewReader(strings.Replace(full, "\n\"", "\n\"!", 1)), nil},
		"no body":                  {strings.NewReader(full[:strings.Index(full, "\n")+1] + get(2, [sha256.Size]byte{1})), nil},
		"no request":               {strings.NewReader("{]\n"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			upper := t.TempDir()
			if _, _, err := session(t, "", upper, tt.in); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
			if left, err := filepath.Glob(filepath.Join(upper, ".put-*")); err != nil || len(left) > 0 {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}

func TestSessionWithoutAReader(t *testing.T) {
	o := prog.Options{Upper: t.TempDir(), Clock: time.Now, Stdin: strings.NewReader(request(1, "close", "")), Stderr: io.Discard, Stdout: brokenPipe{}}
	if _, err := prog.Run(o); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("err = %v, want EPIPE", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// Without its layers no session begins.
func TestLayersThatCannotBeOpened(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		lower, upper string
		want         error
	}{
		"no lower layer":       {filepath.Join(t.TempDir(), "none"), t.TempDir(), fs.ErrNotExist},
		"a file for the lower": {file, t.TempDir(), syscall.ENOTDIR},
		"a file for the upper": {t.TempDir(), file, syscall.ENOTDIR},
		"no upper layer":       {t.TempDir(), "", nil},
	} {
		answers, stats, err := session(t, tt.lower, tt.upper, strings.NewReader(request(1, "close", "")))
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || stats != nil || len(answers) != 0 {
			t.Errorf("%s: %v, answers %v; want %v", name, err, answers, tt.want)
		}
	}
}
