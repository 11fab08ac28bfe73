package probe_test

import (
	"archive/zip"
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/domain/probe"
)

const goMod = "module example.com/c\n"

// archive is a module's archive with some source, and its sum.
func archive(t *testing.T, source string) (content []byte, sum string) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, file := range [][2]string{{"go.mod", goMod}, {"c.go", source}} {
		f, err := z.Create("example.com/c@v1.0.0/" + file[0])
		if err == nil {
			_, err = f.Write([]byte(file[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum, err := goproxy.SumZip(bytes.NewReader(b.Bytes()), int64(b.Len()), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), sum
}

func serve(t *testing.T, handler http.HandlerFunc) probe.Target {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return probe.Target{Base: server.URL, Pages: server.URL, HTTP: server.Client()}
}

func TestReady(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    probe.Outcome
		message string
	}{
		"ready": {func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.URL.Path)) }, probe.Passed, ""},
		"not ready": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the disk is full", http.StatusServiceUnavailable)
		}, probe.Failed, "/readyz: status 503"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("o"))
		}, probe.Failed, "unexpected EOF"},
	} {
		got := serve(t, tt.handler).Ready(t.Context(), probe.OwnPage)
		if got.Outcome != tt.want || !strings.Contains(got.Message, tt.message) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := (probe.Target{Base: "http://127.0.0.1:1"}).Ready(t.Context(), probe.OwnPage); got.Outcome != probe.Failed {
		t.Errorf("nobody there: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := serve(t, func(http.ResponseWriter, *http.Request) {}).Ready(ctx, probe.OwnPage); got.Outcome != probe.Failed {
		t.Errorf("no time: %+v", got)
	}
}

// TestReferenceModules holds which faults are of the protocol and which of the
// content: only the latter may quarantine an instance.
func TestReferenceModules(t *testing.T) {
	right, sum := archive(t, "package c\n")
	wrong, _ := archive(t, "package c // evil\n")
	modSum, err := goproxy.SumMod([]byte(goMod))
	if err != nil {
		t.Fatal(err)
	}
	module := probe.ReferenceModule{Module: module.Version{Path: "example.com/c", Version: "v1.0.0"}, Zip: sum, Mod: modSum}
	files := func(zip []byte) map[string][]byte {
		return map[string][]byte{".info": []byte(`{"Version":"v1.0.0"}`), ".mod": []byte(goMod), ".zip": zip}
	}
	without := func(ext string) map[string][]byte {
		f := files(right)
		delete(f, ext)
		return f
	}
	with := func(ext, content string) map[string][]byte {
		f := files(right)
		f[ext] = []byte(content)
		return f
	}
	tests := []struct {
		name               string
		files              map[string][]byte
		status             int // of every answer; 0: 200, or 404
		module             probe.ReferenceModule
		protocol, checksum probe.Outcome
	}{
		{"right", files(right), 0, module, probe.Passed, probe.Passed},
		{"wrong archive", files(wrong), 0, module, probe.Passed, probe.Failed},
		{"wrong go.mod", with(".mod", goMod+"// evil\n"), 0, module, probe.Passed, probe.Failed},
		{"no archive at all", with(".zip", "hello"), 0, module, probe.Failed, probe.Failed},
		{"HTML in place of info", with(".info", "<html>"), 0, module, probe.Failed, probe.Unknown},
		{"info of another version", with(".info", `{"Version":"v1.0.1"}`), 0, module, probe.Failed, probe.Unknown},
		{"the upstream has no such module", nil, 0, module, probe.Unknown, probe.Unknown},
		{"no archive for the info", without(".zip"), 0, module, probe.Unknown, probe.Unknown},
		{"an error", nil, http.StatusInternalServerError, module, probe.Failed, probe.Unknown},
		{"no sum is known", files(wrong), 0, probe.ReferenceModule{Module: module.Module}, probe.Passed, probe.Unknown},
		{"only go.mod's sum is known", files(wrong), 0, probe.ReferenceModule{Module: module.Module, Mod: modSum}, probe.Passed, probe.Passed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := serve(t, func(w http.ResponseWriter, r *http.Request) {
				content, ok := tt.files[r.URL.Path[strings.LastIndex(r.URL.Path, "."):]]
				switch {
				case tt.status != 0:
					http.Error(w, "oh", tt.status)
				case !ok:
					http.NotFound(w, r)
				default:
					_, _ = w.Write(content)
				}
			})
			answers := target.ReferenceModules(t.Context(), []probe.ReferenceModule{tt.module})
			protocol, checksum := probe.Protocol(answers), probe.Checksum(answers)
			if protocol.Outcome != tt.protocol || checksum.Outcome != tt.checksum {
				t.Errorf("protocol %+v, checksum %+v", protocol, checksum)
			}
			if checksum.Outcome == probe.Failed && checksum.Message == "" {
				t.Error("a conviction without evidence")
			}
		})
	}
}

// TestOneCorruptReferenceModuleDecides holds that one failure counts among many successes,
// wherever it stands.
func TestOneCorruptReferenceModuleDecides(t *testing.T) {
	content, sum := archive(t, "package c\n")
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, ".info"):
			_, _ = w.Write([]byte(`{"Version":"v1.0.0"}`))
		case strings.HasSuffix(r.URL.Path, ".mod"):
			_, _ = w.Write([]byte(goMod))
		default:
			_, _ = w.Write(content)
		}
	})
	good := probe.ReferenceModule{Module: module.Version{Path: "example.com/c", Version: "v1.0.0"}, Zip: sum}
	bad := good
	bad.Zip = "h1:other"
	for _, all := range [][]probe.ReferenceModule{{bad, good, good}, {good, bad, good}, {good, good, bad}} {
		if checksum := probe.Checksum(target.ReferenceModules(t.Context(), all)); checksum.Outcome != probe.Failed {
			t.Errorf("%+v", checksum)
		}
	}
}

// TestWorstAnswerDecides holds that a failure counts more than an answer that did not
// come, and that counts more than success, in whatever order they stand.
func TestWorstAnswerDecides(t *testing.T) {
	passed, unknown, failed := probe.Result{Outcome: probe.Passed}, probe.Result{Outcome: probe.Unknown, Message: "no answer"}, probe.Result{Outcome: probe.Failed, Message: "wrong"}
	for _, tt := range []struct {
		all  []probe.Result
		want probe.Result
	}{
		{nil, probe.Result{}},
		{[]probe.Result{{}, passed, {}}, passed},
		{[]probe.Result{unknown, passed}, unknown},
		{[]probe.Result{passed, unknown}, unknown},
		{[]probe.Result{unknown, failed, passed}, failed},
		{[]probe.Result{failed, unknown}, failed},
	} {
		var answers []probe.Answer
		for _, r := range tt.all {
			answers = append(answers, probe.Answer{Protocol: r, Checksum: r})
		}
		if protocol, checksum := probe.Protocol(answers), probe.Checksum(answers); protocol != tt.want || checksum != tt.want {
			t.Errorf("%+v: protocol %+v, checksum %+v, want %+v", tt.all, protocol, checksum, tt.want)
		}
	}
}

// TestReferenceModulesCauseNoUpstreamRequest holds that the store is asked first, and
// the upstream only for what the store lacks.
func TestReferenceModulesCauseNoUpstreamRequest(t *testing.T) {
	content, sum := archive(t, "package c\n")
	stored, fetches := false, 0
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Disable-Module-Fetch") == "" && !stored {
			fetches++
			stored = true
		}
		switch {
		case !stored:
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, ".info"):
			_, _ = w.Write([]byte(`{"Version":"v1.0.0"}`))
		case strings.HasSuffix(r.URL.Path, ".mod"):
			_, _ = w.Write([]byte(goMod))
		default:
			_, _ = w.Write(content)
		}
	})
	modules := []probe.ReferenceModule{{Module: module.Version{Path: "example.com/c", Version: "v1.0.0"}, Zip: sum}}
	for range 3 {
		if checksum := probe.Checksum(target.ReferenceModules(t.Context(), modules)); checksum.Outcome != probe.Passed {
			t.Errorf("%+v", checksum)
		}
	}
	if fetches != 1 {
		t.Errorf("%d fetches, want 1", fetches)
	}
}

// TestChecksumMismatchIsConfirmed holds that an answer which was spoiled once does
// not quarantine, and that one which is wrong again does.
func TestChecksumMismatchIsConfirmed(t *testing.T) {
	right, sum := archive(t, "package c\n")
	wrong, _ := archive(t, "package c // evil\n")
	modules := []probe.ReferenceModule{{Module: module.Version{Path: "example.com/c", Version: "v1.0.0"}, Zip: sum}}
	for name, tt := range map[string]struct {
		archives [][]byte // one answer after the other; the last goes on
		want     probe.Outcome
		asked    int
	}{
		"right":              {[][]byte{right}, probe.Passed, 1},
		"wrong":              {[][]byte{wrong}, probe.Failed, 2},
		"wrong once":         {[][]byte{wrong, right}, probe.Unknown, 2},
		"cut short":          {[][]byte{right[:len(right)/2]}, probe.Failed, 2},
		"cut short once":     {[][]byte{right[:len(right)/2], right}, probe.Unknown, 2},
		"wrong in two ways":  {[][]byte{[]byte("hello"), wrong}, probe.Failed, 2},
		"wrong, then nobody": {[][]byte{wrong, nil}, probe.Unknown, 2},
	} {
		asked := 0
		target := serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, ".info"):
				_, _ = w.Write([]byte(`{"Version":"v1.0.0"}`))
			case strings.HasSuffix(r.URL.Path, ".mod"):
				_, _ = w.Write([]byte(goMod))
			default:
				content := tt.archives[min(asked, len(tt.archives)-1)]
				if asked++; content == nil {
					http.Error(w, "oh", http.StatusInternalServerError)
				}
				_, _ = w.Write(content)
			}
		})
		got := probe.Checksum(target.ReferenceModules(t.Context(), modules))
		if got.Outcome != tt.want || asked != tt.asked {
			t.Errorf("%s: %+v after %d downloads", name, got, asked)
		}
	}
}
