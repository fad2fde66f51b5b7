package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// described is what git describe --tags --always --dirty prints: a tag with the number of commits
// since then, or a commit's hash where there is no tag.
var (
	described = regexp.MustCompile(`^v?(\d+(?:\.\d+)*)(?:-([0-9A-Za-z.]+?))??(?:-(\d+)-g([0-9a-f]+))?(-dirty)?$`)
	hashAlone = regexp.MustCompile(`^([0-9a-f]{7,40})(-dirty)?$`)
)

// packageVersion turns a description into a version that dpkg and rpm read alike: no hyphen, "~"
// before what comes ahead of a release, "+" before what comes after it. What has no tag is older
// than any release, and ordered by the time of its commit.
func packageVersion(description string, at time.Time) (string, error) {
	dirty := func(mark string) string { return strings.Replace(mark, "-", ".", 1) }
	if m := hashAlone.FindStringSubmatch(description); m != nil {
		return "0~git" + at.UTC().Format("20060102150405") + "." + m[1] + dirty(m[2]), nil
	}
	if description == "unreleased" { // no git here, as the Makefile says it
		return "0~" + at.UTC().Format("20060102150405"), nil
	}
	m := described.FindStringSubmatch(description)
	if m == nil {
		return "", fmt.Errorf("%q is no version: name one as 1.2.3 or 1.2.3-rc.1", description)
	}
	version := m[1]
	if m[2] != "" {
		version += "~" + m[2]
	}
	switch {
	case m[3] != "":
		version += "+" + m[3] + ".g" + m[4] + dirty(m[5])
	case m[5] != "":
		version += "+dirty"
	}
	return version, nil
}
