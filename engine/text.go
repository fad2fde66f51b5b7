package engine

import (
	"maps"
	"slices"
	"strings"

	"github.com/footbridge-net/footbridge/internal/visible"
)

// Texts that clients choose reach terminals, logs and files of others: lists,
// events, /etc/hosts, the answers to questions for names. So what could be taken
// for a line, a column or a command of a terminal there is refused where it enters.

// maxText bounds a text that is a name of something, in bytes; it is also what a
// part of a path may have (NAME_MAX).
const maxText = 255

// printable: only characters that show as themselves.
func printable(s string) bool { return visible.Is(s) }

// shown makes a text printable that was refused for not being so, for the refusal.
func shown(s string) string { return visible.Text(s) }

// prose is printable that may have several lines.
func prose(s string) bool {
	return printable(strings.NewReplacer("\n", "", "\t", "").Replace(s))
}

// checkLabels refuses labels whose keys are not printable or whose values are no
// prose.
func checkLabels(labels map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if k == "" || !printable(k) {
			return invalid("invalid label %q: its key is empty or holds characters that cannot be shown", k)
		}
		if !prose(labels[k]) {
			return invalid("invalid label %q=%q: its value holds characters that cannot be shown", k, labels[k])
		}
	}
	return nil
}

// validHostname: what the kernel keeps and what can be a part of a name of the
// DNS.
func validHostname(s string) bool {
	return len(s) <= 64 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789.-_") == ""
}

// checkTexts refuses texts of a container that are none.
func checkTexts(def *ContainerDef) error {
	cfg, host := &def.Config, &def.HostConfig
	switch {
	case len(cfg.Hostname) > 64:
		return invalid("invalid hostname: %q is longer than the 64 bytes that the kernel keeps", cfg.Hostname)
	case !validHostname(cfg.Hostname):
		return invalid("invalid hostname %q: it is made of letters, digits, '-', '_' and '.'", cfg.Hostname)
	case !validHostname(cfg.Domainname):
		return invalid("invalid domain name %q: it is made of up to 64 letters, digits, '-', '_' and '.'", cfg.Domainname)
	}
	for what, text := range map[string]string{
		"image": cfg.Image, "user": cfg.User, "working directory": cfg.WorkingDir, "network mode": string(host.NetworkMode),
	} {
		if !printable(text) {
			return invalid("invalid %s %q: it holds characters that cannot be shown", what, text)
		}
		if len(text) > maxText && what != "working directory" && what != "network mode" { // these may be paths
			return invalid("invalid %s: it has %d bytes, and %d are allowed", what, len(text), maxText)
		}
	}
	for _, word := range def.command() {
		if strings.IndexByte(word, 0) >= 0 {
			return invalid("invalid command: %q holds a zero byte, which would be its end", word)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(host.Sysctls)) {
		if len(k) > maxText || !printable(k) || !prose(host.Sysctls[k]) {
			return invalid("invalid sysctl %.255q=%.255q: it is longer than %d bytes, or holds characters that cannot be shown", k, host.Sysctls[k], maxText)
		}
	}
	for _, annotations := range []map[string]string{cfg.Labels, host.Annotations} {
		if err := checkLabels(annotations); err != nil {
			return err
		}
	}
	return nil
}
