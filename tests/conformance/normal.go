package main

import (
	"regexp"
	"strings"
)

// rule replaces what differs from run to run by what it is.
type rule struct {
	pattern *regexp.Regexp
	by      string
}

var rules = []rule{
	{regexp.MustCompile(`sha256:[0-9a-f]{64}`), "<image>"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "<id>"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), "<short id>"},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?Z| ?[+-]\d\d:?\d\d)?( [A-Z]{3})?`), "<time>"},
	{regexp.MustCompile(`(?i)(about |less than )?(a|an|\d+) (second|minute)s?( ago)?`), "<a while>"},
	{regexp.MustCompile(`\bfd[0-9a-f]{2}:[0-9a-f]{1,4}:[0-9a-f]{1,4}:[0-9a-f]{0,4}:`), "<ula>:"},
	{regexp.MustCompile(`time[=<][0-9.]+ ms`), "time=<time>"},
	{regexp.MustCompile(`after \d+ ms:`), "after <time>:"},
	{regexp.MustCompile(`= [0-9.]+/[0-9.]+/[0-9.]+ ms`), "= <times>"},
	{regexp.MustCompile(`/proc/\d+/ns/net|/tmp/docker/exec/netns/<short id>`), "<namespace>"},
	{regexp.MustCompile(`/tmp/docker/data/containers/<id>|/run/user/1000/footbridge/c/<short id>|/tmp/home/\.local/state/footbridge/containers/<id>`), "<folder>"},
	// What "ip address" says of an interface beside its name and MTU depends on its kind.
	{regexp.MustCompile(`(?m)^(\d+: )?(\w+)(@\w+)?: <[A-Z0-9_,-]+> mtu (\d+).*$`), "$2: mtu $4"},
	// Which resolver nslookup asked is not what it found.
	{regexp.MustCompile(`(?m)^(Server:.*|Address:\s.*:53|Non-authoritative answer:)\n\n?`), ""},
	{regexp.MustCompile(`(?m)(^ *valid_lft.*\n| nodad\b| flags 02\b)`), ""},
}

var (
	anyMAC      = regexp.MustCompile(`\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b`)
	anyPort     = regexp.MustCompile(`([^"]:|"|port )(3[2-9]\d{3}|[45]\d{4}|6[0-5]\d{3})\b`)
	prefix      = regexp.MustCompile(`(?m)^(<program>: |Error: )?(Error response from daemon: )?`)
	epilogue    = regexp.MustCompile(`(?ms)^(exit status 1|failed to start containers: \S+|failed to rename container named \S+)$|^Usage:.*|^Run '<program>.*|^See '<program>.*`)
	bullet      = regexp.MustCompile(`\s*\n(\* )?\s*`)
	padding     = regexp.MustCompile(`  +`)
	ownName     = regexp.MustCompile(`(?m)(^|['"` + "`" + `] *|Usage: +)(docker|footbridge)\b`)
	nullMAC     = "00:00:00:00:00:00"
	broadcast   = "ff:ff:ff:ff:ff:ff"
	someMAC     = "<mac>"
	somePort    = "<port>"
	programName = "<program>"
)

// normaliseErrors is normalise for what a command says on its standard error: who says it is left out.
func normaliseErrors(s, text string) string {
	s = prefix.ReplaceAllString(normalise(s, text), "")
	s = bullet.ReplaceAllString(epilogue.ReplaceAllString(s, ""), " ")
	return strings.TrimSpace(s)
}

// normalise replaces what no two runs have in common. text is all that the scenario itself says: addresses and ports in
// it are kept.
func normalise(s, text string) string {
	for _, r := range rules {
		s = r.pattern.ReplaceAllString(s, r.by)
	}
	s = anyMAC.ReplaceAllStringFunc(s, func(mac string) string {
		if mac == nullMAC || mac == broadcast || strings.Contains(text, mac) {
			return mac
		}
		return someMAC
	})
	s = anyPort.ReplaceAllStringFunc(s, func(port string) string {
		if strings.Contains(text, port[len(port)-5:]) {
			return port
		}
		return port[:len(port)-5] + somePort
	})
	s = ownName.ReplaceAllString(s, "${1}"+programName)
	s = padding.ReplaceAllString(s, "  ")
	var out strings.Builder
	for line := range strings.Lines(s) {
		out.WriteString(strings.TrimRight(line, " \t\r\n") + "\n")
	}
	return strings.TrimRight(out.String(), "\n")
}
