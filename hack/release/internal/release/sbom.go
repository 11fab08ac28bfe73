package release

import (
	"bytes"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// writeSBOMs writes for each program which modules are linked into it, as the
// linker recorded it in the program itself. They differ by platform.
func writeSBOMs(o Options, programs []program) error {
	for _, p := range programs {
		info, err := buildinfo.ReadFile(p.file)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		var b bytes.Buffer
		if err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom(o, p.name, info)); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := o.write(fmt.Sprintf("%s_%s_%s_%s.cdx.json", p.name, o.Version, p.os, p.arch), b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func bom(o Options, name string, info *debug.BuildInfo) *cdx.BOM {
	main := module(cdx.ComponentTypeApplication, &debug.Module{Path: info.Path, Version: o.Version})
	main.Name = name
	components := []cdx.Component{module(cdx.ComponentTypeLibrary, &debug.Module{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")})}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		components = append(components, module(cdx.ComponentTypeLibrary, dep))
	}
	refs := make([]string, 0, len(components))
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	b := cdx.NewBOM()
	// Without a serial number, which would be random.
	b.Metadata = &cdx.Metadata{Timestamp: o.commit.time.Format(time.RFC3339), Component: &main}
	b.Components = &components
	b.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	return b
}

func module(kind cdx.ComponentType, m *debug.Module) cdx.Component {
	purl := "pkg:golang/" + m.Path + "@" + m.Version
	c := cdx.Component{Type: kind, BOMRef: purl, Name: m.Path, Version: m.Version, PackageURL: purl}
	// The h1 sum of go.sum is the SHA-256 of the module's list of files.
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && len(sum) > 0 {
		c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	}
	return c
}
