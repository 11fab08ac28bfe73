package prog_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/agent/prog"
	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/testing/tmpfs"
)

type id = [sha256.Size]byte

var clock = time.Unix(1_700_000_000, 0)

// served runs one session, and returns the answers by ID and what is printed for people.
func served(t *testing.T, o prog.Options, requests ...string) (map[int64]answer, string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	o.Stdin, o.Stdout, o.Stderr = strings.NewReader(strings.Join(requests, "")), &out, &errs
	if o.Clock == nil {
		o.Clock = func() time.Time { return clock }
	}
	_, failed := prog.Run(o)
	answers := map[int64]answer{}
	for d := json.NewDecoder(&out); ; {
		var a answer
		if err := d.Decode(&a); errors.Is(err, io.EOF) {
			return answers, errs.String(), failed
		} else if err != nil {
			t.Fatal(err)
		}
		answers[a.ID] = a
	}
}

// laid writes an entry of an action into a layer, as the go command does.
func laid(t *testing.T, dir string, action id, content string) (output string) {
	t.Helper()
	e := buildcache.Entry{Action: action, Output: sha256.Sum256([]byte(content)), Size: int64(len(content)), Time: clock}
	output = filepath.Join(dir, e.Output.OutputPath())
	for name, data := range map[string][]byte{filepath.Join(dir, e.Action.ActionPath()): e.Format(), output: []byte(content)} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return output
}

func actionFile(dir string, action id) string {
	return filepath.Join(dir, buildcache.ID(action).ActionPath())
}

const closing = `{"ID":99,"Command":"close"}` + "\n"

// TestEntries holds which entries of the lower layer are hits, and which of the others are
// reported as damaged: those that are not there are not.
func TestEntries(t *testing.T) {
	one := id{1}
	for name, tt := range map[string]struct {
		change  func(dir, output string) error
		hit     bool
		damaged string // what is reported; empty: nothing
	}{
		"as it is":        {func(string, string) error { return nil }, true, ""},
		"no action":       {func(dir, _ string) error { return os.Remove(actionFile(dir, one)) }, false, ""},
		"no shard":        {func(dir, _ string) error { return os.RemoveAll(filepath.Dir(actionFile(dir, one))) }, false, ""},
		"no output":       {func(_, output string) error { return os.Remove(output) }, false, ""},
		"another output":  {func(_, output string) error { return os.WriteFile(output, []byte("CONTENT"), 0o600) }, false, "does not match its name"},
		"a longer output": {func(_, output string) error { return os.WriteFile(output, []byte("content "), 0o600) }, false, "does not match its name"},
		"no entry":        {func(dir, _ string) error { return os.WriteFile(actionFile(dir, one), []byte("v1 none\n"), 0o600) }, false, "damaged entry"},
		"of another size": {func(dir, _ string) error {
			e := buildcache.Entry{Action: one, Output: sha256.Sum256([]byte("content")), Size: 8, Time: clock}
			return os.WriteFile(actionFile(dir, one), e.Format(), 0o600)
		}, false, "does not match its name"},
		"of another action": {func(dir, _ string) error {
			e := buildcache.Entry{Action: id{2}, Output: sha256.Sum256([]byte("content")), Size: 7, Time: clock}
			return os.WriteFile(actionFile(dir, one), e.Format(), 0o600)
		}, false, "damaged entry: " + buildcache.ID(one).ActionPath()},
		"too large for an entry": {func(dir, _ string) error { return os.Truncate(actionFile(dir, one), 1<<10+1) }, false, ""},
		"a directory with a file": {func(_, output string) error {
			return errors.Join(os.Remove(output), os.Mkdir(output, 0o700), os.WriteFile(filepath.Join(output, "program"), []byte("content"), 0o600))
		}, true, ""},
		"a directory with another": {func(_, output string) error {
			return errors.Join(os.Remove(output), os.Mkdir(output, 0o700), os.WriteFile(filepath.Join(output, "program"), []byte("CONTENT"), 0o600))
		}, false, "does not match its name"},
		"a directory with two": {func(_, output string) error {
			return errors.Join(os.Remove(output), os.Mkdir(output, 0o700), os.WriteFile(filepath.Join(output, "program"), []byte("content"), 0o600), os.WriteFile(filepath.Join(output, "x"), nil, 0o600))
		}, false, "holds 2 files"},
		"an empty directory": {func(_, output string) error { return errors.Join(os.Remove(output), os.Mkdir(output, 0o700)) }, false, "holds 0 files"},
	} {
		lower := t.TempDir()
		output := laid(t, lower, one, "content")
		if err := tt.change(lower, output); err != nil {
			t.Fatal(err)
		}
		answers, text, err := served(t, prog.Options{Lower: lower, Upper: t.TempDir(), Stats: true}, get(1, one), closing)
		a := answers[1]
		if err != nil || a.Err != "" || a.Miss == tt.hit || tt.hit && (a.Size != 7 || !strings.HasPrefix(a.DiskPath, output)) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		want := "gocache-agent prog: 1 lookups, 0 hits (0 of them shared, 0 private), 1 misses, 0 stored, 0 damaged\n"
		switch {
		case tt.hit:
			want = "gocache-agent prog: 1 lookups, 1 hits (1 of them shared, 0 private), 0 misses, 0 stored, 0 damaged\n"
		case tt.damaged != "":
			want = "gocache-agent prog: 1 damaged entries of " + lower + " counted as misses\n" + strings.Replace(want, "0 damaged", "1 damaged", 1)
		}
		if !strings.HasSuffix(text, want) || !strings.Contains(text, tt.damaged) || tt.damaged == "" && text != want {
			t.Errorf("%s: printed %q, want %q", name, text, want)
		}
	}
}

// TestReports holds that one damaged entry is described, and all are counted, and that counts
// are printed only where they are asked for.
func TestReports(t *testing.T) {
	lower := t.TempDir()
	for _, action := range []id{{1}, {2}, {3}} {
		output := laid(t, lower, action, fmt.Sprint(action))
		if action != (id{3}) {
			if err := os.WriteFile(output, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, text, err := served(t, prog.Options{Lower: lower, Upper: t.TempDir()}, get(1, id{1}), get(2, id{2}), get(3, id{3}), get(4, id{4}), closing)
	if err != nil || strings.Count(text, "damaged entry: ") != 1 || !strings.HasSuffix(text, "gocache-agent prog: 2 damaged entries of "+lower+" counted as misses\n") || strings.Contains(text, "lookups") {
		t.Errorf("%q, %v", text, err)
	}
	if _, text, err := served(t, prog.Options{Lower: lower, Upper: t.TempDir()}, get(3, id{3})); err != nil || text != "" {
		t.Errorf("a session without an end: %q, %v", text, err)
	}
}

// TestUpperFirst holds that the upper layer is asked first, and that only its entries are
// marked as used.
func TestUpperFirst(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	laid(t, lower, id{1}, "lower")
	laid(t, lower, id{2}, "shared")
	laid(t, upper, id{1}, "upper")
	before := clock.Add(-24 * time.Hour)
	for _, name := range []string{actionFile(upper, id{1}), actionFile(lower, id{1}), actionFile(lower, id{2})} {
		if err := os.Chtimes(name, before, before); err != nil {
			t.Fatal(err)
		}
	}
	answers, text, err := served(t, prog.Options{Lower: lower, Upper: upper, Stats: true}, get(1, id{1}), get(2, id{2}), get(3, id{3}), closing)
	if err != nil || !strings.HasPrefix(answers[1].DiskPath, upper) || !strings.HasPrefix(answers[2].DiskPath, lower) || !answers[3].Miss || text != "gocache-agent prog: 3 lookups, 2 hits (1 of them shared, 1 private), 1 misses, 0 stored, 0 damaged\n" {
		t.Errorf("%+v, %q, %v", answers, text, err)
	}
	for name, want := range map[string]time.Time{actionFile(upper, id{1}): clock, actionFile(lower, id{1}): before, actionFile(lower, id{2}): before} {
		if info, err := os.Stat(name); err != nil || !info.ModTime().Equal(want) {
			t.Errorf("%s was used %v, %v", name, info.ModTime(), err)
		}
	}
}

// TestStored holds what is stored, and that a body that cannot be stored ends neither the
// session nor is left.
func TestStored(t *testing.T) {
	upper := t.TempDir()
	answers, _, err := served(t, prog.Options{Upper: upper}, "\n  \n", strings.Replace(put(1, id{1}, "content"), "\n\"", "\n \r\t\n\"", 1), get(2, id{1}), put(3, id{3}, ""), closing)
	if err != nil || answers[1].Err != "" || answers[1].DiskPath == "" || answers[3].Err != "" {
		t.Fatalf("%+v, %v", answers, err)
	}
	text, err := os.ReadFile(actionFile(upper, id{1}))
	if err != nil {
		t.Fatal(err)
	}
	if e, err := buildcache.ParseEntry(text); err != nil || e.Action != (id{1}) || e.Output != sha256.Sum256([]byte("content")) || e.Size != 7 || !e.Time.Equal(clock) {
		t.Errorf("stored %+v, %v", e, err)
	}
	wrong := strings.Replace(put(1, id{1}, "content"), "Y29udGVudA==", "Q09OVEVOVA==", 1)
	for name, tt := range map[string]struct {
		prepare func(dir string) error
		put     string
		want    string
	}{
		"another body": {func(string) error { return nil }, wrong, "the body does not match its ID"},
		"no place for outputs": {func(dir string) error {
			s := sha256.Sum256([]byte("content"))
			return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02x", s[0])), nil, 0o600)
		}, put(1, id{1}, "content"), "not a directory"},
		"no place for actions":        {func(dir string) error { return os.WriteFile(filepath.Join(dir, "01"), nil, 0o600) }, put(1, id{1}, "content"), "not a directory"},
		"an ID that is none":          {func(string) error { return nil }, request(1, "put", `,"ActionID":"AAAA","OutputID":"AAAA","BodySize":3`) + "\"AAAA\"\n", "an ID of 3 bytes instead of 32"},
		"an action ID that is none":   {func(string) error { return nil }, request(1, "put", `,"ActionID":"AAAA"`+idField("OutputID", id{1})+`,"BodySize":3`) + "\"AAAA\"\n", "an ID of 3 bytes instead of 32"},
		"an output ID that is none":   {func(string) error { return nil }, request(1, "put", `,"OutputID":"AAAA"`+idField("ActionID", id{1})+`,"BodySize":3`) + "\"AAAA\"\n", "an ID of 3 bytes instead of 32"},
		"without a body, not a match": {func(string) error { return nil }, request(1, "put", idField("ActionID", id{1})+idField("OutputID", id{1})), "the body does not match its ID"},
	} {
		upper := t.TempDir()
		if err := tt.prepare(upper); err != nil {
			t.Fatal(err)
		}
		answers, _, err := served(t, prog.Options{Upper: upper}, tt.put, put(2, id{2}, "other"), get(3, id{1}), closing)
		if err != nil || !strings.Contains(answers[1].Err, tt.want) || answers[1].DiskPath != "" || answers[2].Err != "" || !answers[3].Miss {
			t.Errorf("%s: %+v, %v", name, answers, err)
		}
		if left, err := filepath.Glob(filepath.Join(upper, ".put-*")); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
	full := tmpfs.Mount(t, "size=1m")
	answers, _, err = served(t, prog.Options{Upper: full}, put(1, id{1}, strings.Repeat("x", 2<<20)), put(2, id{2}, "small"), closing)
	if err != nil || answers[1].Err != "the upper layer is not writable, or full" || answers[2].Err != "" {
		t.Errorf("a full layer: %q, %+v, %v", answers[1].Err, answers[2], err)
	}
	if left, err := filepath.Glob(filepath.Join(full, ".put-*")); err != nil || len(left) > 0 {
		t.Errorf("a full layer: left %v, %v", left, err)
	}
}

// TestRequestsThatAreNone holds that a line that is too long, or a body that does not begin,
// ends the session.
func TestRequestsThatAreNone(t *testing.T) {
	head, _, _ := strings.Cut(put(1, id{1}, "content"), "\n")
	for name, in := range map[string]string{
		"a long line": request(1, "close", `,"x":"`+strings.Repeat("x", 64<<10)+`"`), "other than a body": head + "\nx\"Y29udGVudA==\"\n", "a number": head + "\n7\n",
	} {
		if answers, _, err := served(t, prog.Options{Upper: t.TempDir()}, in); err == nil || len(answers) != 1 {
			t.Errorf("%s: %+v, %v", name, answers, err)
		}
	}
	if answers, _, err := served(t, prog.Options{Upper: t.TempDir()}, request(1, "close", `,"x":"`+strings.Repeat("x", 60<<10)+`"`)); err != nil || len(answers) != 2 {
		t.Errorf("a line that is not too long: %+v, %v", answers, err)
	}
	if answers, _, err := served(t, prog.Options{Upper: t.TempDir()}, get(1, id{}), strings.TrimSuffix(closing, "\n")); err != nil || len(answers) != 3 {
		t.Errorf("without a line break at the end: %+v, %v", answers, err)
	}
}

// after is a pipe that breaks after so many answers.
type after struct{ n int }

func (a *after) Write(p []byte) (int, error) {
	if a.n--; a.n < 0 {
		return 0, syscall.EPIPE
	}
	return len(p), nil
}

// TestAnswersThatAreNotRead holds that a session ends with an error, whichever answer the go
// command does not read.
func TestAnswersThatAreNotRead(t *testing.T) {
	for name, in := range map[string]string{"a put": put(1, id{1}, "content"), "a get": get(1, id{1}), "a get before the end": get(1, id{1}) + closing, "the end": closing, "an unknown command": request(1, "dance", "")} {
		o := prog.Options{Upper: t.TempDir(), Clock: time.Now, Stdin: strings.NewReader(in), Stdout: &after{1}, Stderr: io.Discard}
		if _, err := prog.Run(o); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEviction holds which entries of an upper layer are removed: those that were used least
// recently, until the others fit, and none while another go command uses it.
func TestEviction(t *testing.T) {
	const line = "gocache-agent prog: the upper layer has %d entries, %d MiB; %d evicted\n"
	fill := func(t *testing.T, sizes ...int) (dir string) {
		t.Helper()
		dir = t.TempDir()
		for i, size := range sizes { // each was used an hour after the one before
			laid(t, dir, id{byte(i + 1)}, strings.Repeat(fmt.Sprint(i), size))
			used := clock.Add(time.Duration(i) * time.Hour)
			if err := os.Chtimes(actionFile(dir, id{byte(i + 1)}), used, used); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for name, tt := range map[string]struct {
		sizes         []int
		limit         int64
		left, evicted int
		mebibytes     int64
		first         bool // the first stays
	}{
		"all fit":               {[]int{4096, 1, 4097}, 8192 + 8192 + 12288, 3, 0, 0, true},
		"a byte too many":       {[]int{4096, 1, 4097}, 8192 + 8192 + 12288 - 1, 2, 1, 0, false},
		"the second as well":    {[]int{4096, 1, 4097}, 8192 + 12288 - 1, 1, 2, 0, false},
		"none fits":             {[]int{4096, 1, 4097}, 12287, 0, 3, 0, false},
		"an empty output":       {[]int{0, 4095}, 4096 + 8192, 2, 0, 0, true},
		"an empty one too many": {[]int{0, 4095}, 4096 + 8192 - 1, 1, 1, 0, false},
		"large ones":            {[]int{1 << 20, 1 << 20}, 8 << 20, 2, 0, 2, true},
	} {
		dir := fill(t, tt.sizes...)
		// At the end: the layer is within its limit at the beginning.
		all := int64(1 << 30)
		_, text, err := served(t, prog.Options{Upper: dir, UpperBytes: all, Stats: true}, closing)
		if err != nil || !strings.HasPrefix(text, fmt.Sprintf(line, len(tt.sizes), tt.mebibytes, 0)) {
			t.Errorf("%s: with enough space: %q, %v", name, text, err)
		}
		if err := os.WriteFile(filepath.Join(dir, ".put-left"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, text, err = served(t, prog.Options{Upper: dir, UpperBytes: tt.limit, Stats: true}, closing)
		if err != nil || !strings.HasPrefix(text, fmt.Sprintf(line, tt.left, tt.mebibytes, 0)) { // what is removed was so at the beginning
			t.Errorf("%s: %q, %v", name, text, err)
		}
		actions, _ := filepath.Glob(filepath.Join(dir, "??", "*-a"))
		outputs, err := filepath.Glob(filepath.Join(dir, "??", "*-d"))
		if err != nil || len(actions) != tt.left || len(outputs) != tt.left {
			t.Errorf("%s: left are %d actions and %d outputs, %v", name, len(actions), len(outputs), err)
		}
		if _, err := os.Stat(actionFile(dir, id{1})); (err == nil) != tt.first {
			t.Errorf("%s: the first: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, ".put-left")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: what was left by another: %v", name, err)
		}
	}

	// What a session stores is removed at its end, but for what it used last.
	dir := fill(t, 4096, 4096)
	var days atomic.Int64 // requests are answered beside each other
	tick := func() time.Time { return clock.Add(time.Duration(days.Add(1)) * 24 * time.Hour) }
	_, text, err := served(t, prog.Options{Upper: dir, UpperBytes: 16384, Stats: true, Clock: tick}, get(1, id{1}), put(3, id{3}, "new"), closing)
	if err != nil || !strings.HasPrefix(text, fmt.Sprintf(line, 2, 0, 1)) {
		t.Errorf("at the end: %q, %v", text, err)
	}
	if _, err := os.Stat(actionFile(dir, id{2})); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an entry that was not used stays: %v", err)
	}
	if _, text, err := served(t, prog.Options{Upper: dir, UpperBytes: 16384}, closing); err != nil || text != "" {
		t.Errorf("without counts: %q, %v", text, err)
	}

	dir = fill(t, 4096, 4096)
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_SH)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if _, text, err := served(t, prog.Options{Upper: dir, UpperBytes: 1, Stats: true}, get(1, id{1}), closing); err != nil || strings.Contains(text, "evicted") || !strings.Contains(text, "1 hits") {
		t.Errorf("beside another go command: %q, %v", text, err)
	}
	if actions, _ := filepath.Glob(filepath.Join(dir, "??", "*-a")); len(actions) != 2 {
		t.Errorf("beside another go command: left are %v", actions)
	}
}

// TestUnreadableEntries holds that an entry of an upper layer that cannot be read goes first,
// and that what is no entry stays.
func TestUnreadableEntries(t *testing.T) {
	for name, text := range map[string][]byte{
		"no entry": []byte("v1 none\n"), "of another action": (&buildcache.Entry{Action: id{9}, Output: sha256.Sum256([]byte("x")), Size: 1, Time: clock}).Format(),
		"too large": append((&buildcache.Entry{Action: id{1}, Output: sha256.Sum256([]byte("x")), Size: 1, Time: clock}).Format(), make([]byte, 4096)...),
	} {
		dir := t.TempDir()
		for i, content := range []string{"x", "y", "z"} {
			laid(t, dir, id{byte(i + 1)}, content)
		}
		for action, used := range map[id]time.Time{{1}: clock.Add(2 * time.Hour), {2}: clock, {3}: clock.Add(time.Hour)} {
			if err := os.Chtimes(actionFile(dir, action), used, used); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.WriteFile(actionFile(dir, id{1}), text, 0o600), os.Chtimes(actionFile(dir, id{1}), clock.Add(2*time.Hour), clock.Add(2*time.Hour)), os.WriteFile(filepath.Join(dir, "01", "note"), nil, 0o600), os.Mkdir(filepath.Join(dir, "01", "directory"), 0o700)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := served(t, prog.Options{Upper: dir, UpperBytes: 8192}, closing); err != nil {
			t.Fatal(err)
		}
		left, err := filepath.Glob(filepath.Join(dir, "??", "*-a"))
		if err != nil || len(left) != 1 || left[0] != actionFile(dir, id{3}) {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
		for _, other := range []string{"note", "directory"} {
			if _, err := os.Stat(filepath.Join(dir, "01", other)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestOwners holds for what an upper layer is used: for what it names, for the first one if
// it is empty, and for nothing if it has entries and no name.
func TestOwners(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(dir string) error
		of      string
		want    string // in the error; empty: it is used
	}{
		"empty":                 {func(string) error { return nil }, "a", ""},
		"of the same":           {func(dir string) error { return os.WriteFile(filepath.Join(dir, ".of"), []byte("a"), 0o600) }, "a", ""},
		"of another":            {func(dir string) error { return os.WriteFile(filepath.Join(dir, ".of"), []byte("b"), 0o600) }, "a", `it is of "b", and this build is of "a"`},
		"of another, not asked": {func(dir string) error { return os.WriteFile(filepath.Join(dir, ".of"), []byte("b"), 0o600) }, "", ""},
		"with entries":          {func(dir string) error { return os.Mkdir(filepath.Join(dir, "ab"), 0o700) }, "a", "it has entries, and no file .of that names their branch"},
		"with something else": {func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "abc"), 0o700), os.WriteFile(filepath.Join(dir, "ab"), nil, 0o600))
		}, "a", ""},
		"a name that is no file": {func(dir string) error { return os.Mkdir(filepath.Join(dir, ".of"), 0o700) }, "a", "is a directory"},
		"a lock that is no file": {func(dir string) error { return os.Mkdir(filepath.Join(dir, ".lock"), 0o700) }, "a", "a layer with a limit must be writable"},
	} {
		dir := t.TempDir()
		if err := tt.prepare(dir); err != nil {
			t.Fatal(err)
		}
		answers, _, err := served(t, prog.Options{Upper: dir, UpperOf: tt.of, UpperBytes: 1 << 20}, closing)
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || len(answers) > 0) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if text, err := os.ReadFile(filepath.Join(dir, ".of")); tt.want == "" && tt.of != "" && (err != nil || string(text) != tt.of) {
			t.Errorf("%s: it is of %q, %v", name, text, err)
		}
	}
}
