package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gocache.dev/operator/test/scenario"
)

// ofMachine matches what a recording must not have of the machine that it was made on:
// folders of users and temporary files, and addresses.
var ofMachine = regexp.MustCompile(`/(root|home|tmp|work|var/tmp|mnt)/|\b\d{1,3}(\.\d{1,3}){3}\b`)

// TestRecordings holds that each picture is there, that a page shows it, and that it has
// nothing of the machine that it was recorded on.
func TestRecordings(t *testing.T) {
	names := []string{"dashboard.svg"}
	for _, p := range pictures {
		names = append(names, p.name+".svg")
	}
	docs := filepath.Join(scenario.Root(), "docs")
	pages := ""
	err := filepath.WalkDir(docs, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // of this tree
		pages += string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(docs, "recordings", name)) //nolint:gosec // of this tree
		if err != nil {
			t.Errorf("%v: \"make recordings\" writes it", err)
			continue
		}
		if !strings.Contains(pages, "recordings/"+name+")") {
			t.Errorf("no page of docs links recordings/%s", name)
		}
		if found := ofMachine.FindString(string(data)); found != "" {
			t.Errorf("%s shows %q, which is of the machine that it was recorded on", name, found)
		}
		if strings.Contains(string(data), "-92233720368547") {
			t.Errorf("%s has marks outside of every picture, as of an axis without values", name)
		}
		if len(host) > 3 && strings.Contains(string(data), host) {
			t.Errorf("%s shows the name of the machine that it was recorded on", name)
		}
	}
}
