package buildcache_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/buildcache"
)

func anEntry() buildcache.Entry {
	e := buildcache.Entry{Size: 12345, Time: time.Unix(1_700_000_000, 42)}
	for i := range e.Action {
		e.Action[i], e.Output[i] = byte(i), byte(200-i)
	}
	return e
}

func TestEntryRoundTrip(t *testing.T) {
	data := anEntry().Format()
	if len(data) != buildcache.EntryLen || buildcache.EntryLen != 175 {
		t.Fatalf("%d bytes, EntryLen %d; the go command writes 175", len(data), buildcache.EntryLen)
	}
	got, err := buildcache.ParseEntry(data)
	if err != nil || got != anEntry() {
		t.Fatalf("ParseEntry = %+v, %v", got, err)
	}
}

func TestParseEntryRejects(t *testing.T) {
	good := anEntry().Format()
	edit := func(at int, b byte) []byte { d := bytes.Clone(good); d[at] = b; return d }
	for name, data := range map[string][]byte{
		"empty": nil, "short": good[:174], "long": append(bytes.Clone(good), 0), "nul": make([]byte, 175),
		"version": edit(1, '2'), "separator": edit(67, 'x'), "action digit": edit(5, 'g'), "upper case": edit(100, 'A'),
		"no number": edit(152, 'x'), "no time": edit(173, 'x'), "leading zero of the time": edit(154, '0'), "no newline": edit(174, ' '), "leading zero": edit(140, '0'),
	} {
		if e, err := buildcache.ParseEntry(data); err == nil {
			t.Errorf("%s: accepted as %+v", name, e)
		}
	}
}

func TestParseName(t *testing.T) {
	want := anEntry().Action
	id := want.String()
	for name, kind := range map[string]buildcache.Kind{
		id + "-a": buildcache.Action, id + "-d": buildcache.Output,
		"": buildcache.Other, "-a": buildcache.Other, id[:63] + "-a": buildcache.Other, "0" + id + "-a": buildcache.Other, id + "-ad": buildcache.Other,
		id: buildcache.Other, id + "-": buildcache.Other, id + "-x": buildcache.Other, id + "_a": buildcache.Other,
		"g" + id[1:] + "-a": buildcache.Other, id[:63] + "/-a": buildcache.Other, strings.ToUpper(id) + "-a": buildcache.Other,
	} {
		got, gotKind := buildcache.ParseName(name)
		if gotKind != kind || (got == want) != (kind != buildcache.Other) || kind == buildcache.Other && got != (buildcache.ID{}) {
			t.Errorf("%q: %s, %d; want kind %d", name, got, gotKind, kind)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add(anEntry().Format())
	f.Add([]byte("v1 "))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := buildcache.ParseEntry(data)
		if err == nil && !bytes.Equal(e.Format(), data) {
			t.Fatalf("accepted %q, which formats as %q", data, e.Format())
		}
	})
}

func FuzzParseName(f *testing.F) {
	f.Add(anEntry().Action.String() + "-a")
	f.Fuzz(func(t *testing.T, name string) {
		id, kind := buildcache.ParseName(name)
		if kind != buildcache.Other && name[:64] != id.String() {
			t.Fatalf("%q parses as %s", name, id)
		}
	})
}

func TestKeptIsUndone(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, used := range []time.Time{now, now.Add(-90 * 24 * time.Hour), now.Add(30 * time.Minute)} {
		if got := buildcache.LastUsed(buildcache.Kept(used), now); !got.Equal(used) {
			t.Errorf("LastUsed(Kept(%v)) = %v", used, got)
		}
		if got := buildcache.LastUsed(used, now); !got.Equal(used) {
			t.Errorf("LastUsed(%v) = %v", used, got)
		}
	}
}
