package xpkg

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

type spdx struct {
	SPDXVersion       string         `json:"spdxVersion"`
	DataLicense       string         `json:"dataLicense"`
	SPDXID            string         `json:"SPDXID"`
	Name              string         `json:"name"`
	DocumentNamespace string         `json:"documentNamespace"`
	CreationInfo      spdxCreation   `json:"creationInfo"`
	Packages          []spdxPackage  `json:"packages"`
	Relationships     []spdxRelation `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	Name             string         `json:"name"`
	SPDXID           string         `json:"SPDXID"`
	VersionInfo      string         `json:"versionInfo,omitempty"`
	DownloadLocation string         `json:"downloadLocation"`
	FilesAnalyzed    bool           `json:"filesAnalyzed"`
	LicenseDeclared  string         `json:"licenseDeclared,omitempty"`
	Checksums        []spdxChecksum `json:"checksums,omitempty"`
	ExternalRefs     []spdxRef      `json:"externalRefs,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelation struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

// SBOM lists in SPDX 2.3 what a program was built from, as the Go linker
// recorded it in the program itself, and the Debian packages below it. The date is
// the caller's, so that the same commit gives the same list.
func SBOM(name, version string, program []byte, created time.Time, below ...DebianPackage) ([]byte, error) {
	bi, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("cannot read what %s was built from: %w", name, err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(program))
	const top = "SPDXRef-program"
	doc := spdx{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT", Name: name,
		DocumentNamespace: "https://" + bi.Main.Path + "/spdx/" + name + "/" + sum,
		CreationInfo:      spdxCreation{Created: created.UTC().Format(time.RFC3339), Creators: []string{"Tool: hack/xpkg"}},
		Packages: []spdxPackage{{
			Name: name, SPDXID: top, VersionInfo: version, DownloadLocation: "NOASSERTION", LicenseDeclared: "Apache-2.0",
			Checksums:    []spdxChecksum{{Algorithm: "SHA256", Value: sum}},
			ExternalRefs: purl(bi.Main.Path, version),
		}},
		Relationships: []spdxRelation{{Element: "SPDXRef-DOCUMENT", Type: "DESCRIBES", Related: top}},
	}
	add := func(path, version string, refs []spdxRef) {
		id := fmt.Sprintf("SPDXRef-module-%d", len(doc.Packages))
		doc.Packages = append(doc.Packages, spdxPackage{
			Name: path, SPDXID: id, VersionInfo: version, DownloadLocation: "NOASSERTION", ExternalRefs: refs,
		})
		doc.Relationships = append(doc.Relationships, spdxRelation{Element: top, Type: "DEPENDS_ON", Related: id})
	}
	goVersion := strings.TrimPrefix(bi.GoVersion, "go")
	add("stdlib", goVersion, purl("stdlib", goVersion))
	for _, m := range bi.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		add(m.Path, m.Version, purl(m.Path, m.Version))
	}
	for _, p := range below {
		add(p.Name, p.Version, []spdxRef{{Category: "PACKAGE-MANAGER", Type: "purl", Locator: "pkg:deb/debian/" + p.Name + "@" + url.QueryEscape(p.Version) + "?arch=" + p.Arch}})
	}
	return json.MarshalIndent(doc, "", "  ")
}

func purl(path, version string) []spdxRef {
	return []spdxRef{{Category: "PACKAGE-MANAGER", Type: "purl", Locator: "pkg:golang/" + strings.ToLower(path) + "@" + version}}
}
