package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

const module = "gocache.dev/operator"

// packages is the table of all packages, in the order of their folders.
func packages() (string, error) {
	cmd := exec.Command("go", "list", "-find", "-json=ImportPath,Name,Doc", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w\n%s", err, &stderr)
	}
	var b strings.Builder
	b.WriteString("| folder | content |\n|---|---|\n")
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Name, Doc string }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return b.String(), nil
		} else if err != nil {
			return "", fmt.Errorf("read the output of go list: %w", err)
		}
		dir := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		file := dir
		if dir == "" {
			dir, file = "main.go", "main.go"
		}
		fmt.Fprintf(&b, "| [%s](../../%s) | %s |\n", dir, file, cell(summary(p.Name, p.Doc)))
	}
}

// summary is the first sentence of a package's comment without the words that
// every such sentence begins with.
func summary(name, doc string) string {
	for _, prefix := range []string{"Package " + name + " ", "Command "} {
		if rest, ok := strings.CutPrefix(doc, prefix); ok {
			return rest
		}
	}
	return doc
}
