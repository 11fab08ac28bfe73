package offlinebuild_test

import (
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/offlinebuild"
)

// Agents of one release report to operators of another: these names stay.
const written = `{"outcome":"Failed","step":"go build","message":"m","modules":2,"durationSeconds":1.5}`

func TestFormat(t *testing.T) {
	full := offlinebuild.Report{Outcome: offlinebuild.Failed, Step: "go build", Message: "m", Modules: 2, DurationSeconds: 1.5}
	if got := string(full.Fit(4096)); got != written {
		t.Errorf("got  %s\nwant %s", got, written)
	}
	if got, err := offlinebuild.Parse([]byte(written)); err != nil || got != full {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "{}", `{"outcome":"Splendid"}`, written[:len(written)-1]} {
		if got, err := offlinebuild.Parse([]byte(text)); err == nil {
			t.Errorf("%q passes for %+v", text, got)
		}
	}
	full.Message = strings.Repeat("a line\x01\n", 2000) + "the end"
	data := full.Fit(4096)
	if got, err := offlinebuild.Parse(data); err != nil || len(data) > 4096 || !strings.HasSuffix(got.Message, "the end") {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}
