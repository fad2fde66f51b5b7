package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
)

// result makes a row of which each system has been measured in as many rounds as there are values.
func result(title string, values map[string][]float64) *rowResult {
	row := &rowResult{Title: title, Group: strings.Split(title, ", ")[0], Unit: gbps}
	for name, list := range values {
		c := row.add(name)
		for round, v := range list {
			c.Samples = append(c.Samples, sample{Round: round, Value: v})
		}
	}
	return row
}

// verdictsOf computes a report of some rows and returns what was judged of the first.
func verdictsOf(rows ...*rowResult) []verdict {
	r := &report{Rows: rows}
	r.compute()
	return rows[0].Verdicts
}

func TestTheBestPeerIsTheOneWithTheBestMedian(t *testing.T) {
	row := result("x", map[string][]float64{footbridgeName: {10, 20, 30}, slirpName: {5, 5, 100}, pastaName: {8, 16, 3}})
	(&report{Rows: []*rowResult{row}}).compute()
	if row.Best != pastaName {
		t.Errorf("the best peer is %s", row.Best)
	}
	if want := (summary{Median: 1.25, Min: 1.25, Max: 10}); row.Ratio != want {
		t.Errorf("the ratio is %+v, want %+v", row.Ratio, want)
	}
	if row.Cells[0].System != footbridgeName || row.Cells[1].System != slirpName {
		t.Errorf("the systems are not in the order of the table: %s, %s", row.Cells[0].System, row.Cells[1].System)
	}
	row.Lower = true
	(&report{Rows: []*rowResult{row}}).compute()
	if row.Best != slirpName || row.Ratio.Median != 0.5 {
		t.Errorf("where less is better the best peer is %s, the ratio %v", row.Best, row.Ratio.Median)
	}
}

func TestWhatIsNotTheSameIsShownButNotComparedWith(t *testing.T) {
	row := result("x", map[string][]float64{footbridgeName: {10}, slirpName: {5}, rootlesskitName: {100}})
	row.cell(rootlesskitName).Samples[0].Aside = "it cheats"
	r := &report{Rows: []*rowResult{row}}
	r.compute()
	if row.Best != slirpName {
		t.Errorf("the best peer is %s", row.Best)
	}
	if text := r.markdown(); !strings.Contains(text, rootlesskitName+" 100: it cheats") {
		t.Errorf("it is not shown: %s", text)
	}
}

func TestVerdictsComeFromTheTargets(t *testing.T) {
	for _, c := range []struct {
		title  string
		values map[string][]float64
		want   []bool
	}{
		{"container -> host, MTU 1500", map[string][]float64{footbridgeName: {9}, slirpName: {1}}, []bool{true}},
		{"container -> host, MTU 1500", map[string][]float64{footbridgeName: {8.9}, slirpName: {1}}, []bool{false}},
		{"container -> host, IPv6, MTU 65520", map[string][]float64{footbridgeName: {1.3}, slirpName: {1}}, []bool{true}},
		{"container -> host, MTU 9000", map[string][]float64{footbridgeName: {1}, slirpName: {100}}, nil},
		{"container -> host, MTU 1500", map[string][]float64{footbridgeName: {9}}, nil},
		{"container <-> container, MTU 1500", map[string][]float64{footbridgeName: {5}, kernelName: {10}}, []bool{true}},
		{"container <-> container, MTU 65520", map[string][]float64{footbridgeName: {5}, kernelName: {10}}, []bool{false}},
		// Another peer is better, but the target names slirp4netns.
		{"published port, client -> container, MTU 65520", map[string][]float64{footbridgeName: {2}, slirpName: {1}, pastaName: {9}}, []bool{true}},
		{"published port, host's loopback -> container, 8 streams, MTU 1500", map[string][]float64{footbridgeName: {2}, pastaName: {9}}, nil},
		{"published port, host's loopback -> container, IPv6, MTU 1500", map[string][]float64{footbridgeName: {2}, pastaName: {9}}, []bool{false}},
	} {
		got := verdictsOf(result(c.title, c.values))
		if len(got) != len(c.want) {
			t.Errorf("%s, %v: %d verdicts, want %d: %+v", c.title, c.values, len(got), len(c.want), got)
			continue
		}
		for i, v := range got {
			if v.Met != c.want[i] {
				t.Errorf("%s, %v: %+v, want %v", c.title, c.values, v, c.want[i])
			}
		}
	}
}

func TestThePlotMarksOnlyTargetsForTheBestPeer(t *testing.T) {
	title := "published port, client -> container, MTU 65520"
	got := verdictsOf(result(title, map[string][]float64{footbridgeName: {2}, slirpName: {1}, pastaName: {9}}))
	if len(got) != 1 || got[0].Ratio != 0 || got[0].Got != 2 {
		t.Errorf("compared with another than the best: %+v", got)
	}
	got = verdictsOf(result(title, map[string][]float64{footbridgeName: {2}, slirpName: {10}, pastaName: {9}}))
	if len(got) != 1 || got[0].Ratio != 1.6 || got[0].Got != 0.2 {
		t.Errorf("compared with the best: %+v", got)
	}
}

func TestSeveralStreamsAreComparedWithOne(t *testing.T) {
	one := result("container -> host, MTU 1500", map[string][]float64{footbridgeName: {10, 20}})
	for title, wants := range map[string]map[float64]bool{
		"container -> host, 8 streams, MTU 1500":    {9.6: true, 9: false},
		"container -> host, 4 containers, MTU 1500": {9.6: true, 9: false},
	} {
		for value, want := range wants {
			got := verdictsOf(result(title, map[string][]float64{footbridgeName: {value, 2 * value}}), one)
			if len(got) != 1 || got[0].Met != want {
				t.Errorf("%s, %v instead of 10: %+v", title, value, got)
			}
		}
	}
}

func TestLatencyIsJudgedByItsPercentiles(t *testing.T) {
	row := result("TCP request/response, container -> host, MTU 65520", map[string][]float64{footbridgeName: {10}, slirpName: {9}})
	row.cell(footbridgeName).Samples[0].P50, row.cell(footbridgeName).Samples[0].P99 = 100, 201
	if got := verdictsOf(row); len(got) != 2 || !got[0].Met || got[1].Met {
		t.Errorf("twice the median is exceeded: %+v", got)
	}
	row.cell(footbridgeName).Samples[0].P99 = 200
	if got := verdictsOf(row); len(got) != 2 || !got[1].Met {
		t.Errorf("twice the median is not exceeded: %+v", got)
	}
	row = result("UDP echo, container <-> container, MTU 65520", map[string][]float64{footbridgeName: {10}, kernelName: {11}})
	row.cell(footbridgeName).Samples[0].P99, row.cell(kernelName).Samples[0].P99 = 190, 100
	if got := verdictsOf(row); len(got) != 2 || !got[0].Met || !got[1].Met {
		t.Errorf("twice the kernel's is not exceeded: %+v", got)
	}
	row = result("name lookup, container names", map[string][]float64{footbridgeName: {49_999}})
	row.cell(footbridgeName).Samples[0].P99 = 999
	if got := verdictsOf(row); len(got) != 2 || got[0].Met || !got[1].Met {
		t.Errorf("too few lookups, but fast: %+v", got)
	}
}

func TestEveryTargetHasARow(t *testing.T) {
	for _, target := range targets {
		re := regexp.MustCompile(target.rows)
		found := false
		for _, r := range allRows() {
			found = found || re.MatchString(r.title())
		}
		if !found {
			t.Errorf("no row's title matches %q", target.rows)
		}
	}
}

func TestRowsHaveDifferentTitlesAndKnownSystems(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range allRows() {
		if seen[r.title()] {
			t.Errorf("two rows are %q", r.title())
		}
		seen[r.title()] = true
		if len(r.systems) == 0 || r.systems[0] != footbridgeName {
			t.Errorf("%s: footbridge is not the first of %q", r.title(), r.systems)
		}
		for _, name := range r.systems {
			systemNamed(name) // panics
		}
	}
}

func TestPublishedPortsDoNotMeet(t *testing.T) {
	seen := make(map[int]string)
	for _, s := range systems {
		for _, mtu := range mtus {
			for i := range maxBoxes {
				for _, port := range []int{publishedPort(s, mtu, i), publishedPort(s, mtu, i) + probeOffset} {
					if other := seen[port]; other != "" {
						t.Errorf("port %d is %s's and %s's", port, other, s.name())
					}
					seen[port] = s.name()
				}
			}
		}
	}
}

func TestPiecesOfARunBecomeOne(t *testing.T) {
	first := &report{Kernel: "Linux 6", Processors: 2, Rounds: 1, Rows: []*rowResult{
		result("a", map[string][]float64{footbridgeName: {1}, slirpName: {2}}),
	}}
	second := &report{Kernel: "Linux 6", Processors: 2, Rounds: 1, Rows: []*rowResult{
		result("a", map[string][]float64{footbridgeName: {3}, slirpName: {4}}),
		result("b", map[string][]float64{footbridgeName: {5}}),
	}}
	// As it is read from its file.
	read, err := readReport(second.json())
	if err != nil {
		t.Fatal(err)
	}
	if err := first.merge(read); err != nil {
		t.Fatal(err)
	}
	first.compute()
	if len(first.Rows) != 2 || first.Rows[0].Ratio != (summary{Median: 0.625, Min: 0.5, Max: 0.75}) || first.Rows[1].Title != "b" {
		t.Errorf("%+v, %+v", first.Rows[0], first.Rows)
	}
	if err := first.merge(&report{Kernel: "Linux 7", Processors: 2}); err == nil {
		t.Error("runs on different kernels were put together")
	}
	if _, err := readReport([]byte("no report")); err == nil {
		t.Error("something else was taken for a report")
	}
}

func TestTablesGoBetweenTheMarksOfAPage(t *testing.T) {
	page := "# Performance\n\n" + beginMark + "old\n" + endMark + "\nafter\n"
	got, err := insert(page, "new\n")
	if err != nil || got != "# Performance\n\n"+beginMark+"\nnew\n\n"+endMark+"\nafter\n" {
		t.Errorf("%q, %v", got, err)
	}
	if again, err := insert(got, "new\n"); err != nil || again != got {
		t.Errorf("the second time it is %q, %v", again, err)
	}
	if got, err := insert("", "new\n"); err != nil || !strings.Contains(got, beginMark) || !strings.Contains(got, "new\n") {
		t.Errorf("a new page is %q, %v", got, err)
	}
	for _, page := range []string{"no marks", beginMark + "no end", endMark} {
		if _, err := insert(page, "new\n"); err == nil {
			t.Errorf("%q has no marks, and was written", page)
		}
	}
}

// mixed is a report with one of each: measured, absent, failed, unable.
func mixed() *report {
	row := result("container -> host, MTU 1500", map[string][]float64{footbridgeName: {20, 22, 24}, slirpName: {1, 2, 3}})
	row.add(pastaName).Error = "exit status 1: no | such device"
	row.add(gvisorName).Cannot = "it has none"
	r := &report{Kernel: "Linux <6>", Processors: 2, Rounds: 3, Seconds: 5, Default: "bbr", Iperf: "iperf 3.12", Rows: []*rowResult{row}, Systems: []systemResult{
		{Name: footbridgeName, Version: "footbridge 1"}, {Name: kernelName, Version: "Linux 6"}, {Name: rootlesskitName, Absent: errAbsent.Error()},
	}}
	for _, c := range row.Cells {
		for i := range c.Samples {
			c.Samples[i].Congestion, c.Samples[i].CPU = "cubic", 0.5
		}
	}
	r.compute()
	return r
}

func TestTheMarkdownSaysAllOfIt(t *testing.T) {
	text := mixed().markdown()
	for _, want := range []string{
		"Linux <6>, 2 processors", "5 s each, median of 3 interleaved rounds", "senders: cubic (the machine's default is bbr)",
		"- footbridge 1\n", "- " + kernelName + ": Linux 6\n", "- " + rootlesskitName + ": not measured, not installed\n",
		"| container -> host, MTU 1500 | **22.0 (20.0 to 24.0)** | slirp4netns 2.00 (1.00 to 3.00); pasta failed: exit status 1: no \\| such device; gvisor-tap-vsock – |",
		"| 11.0 (8.00 to 20.0) | ≥ 9 x: 11.0, met | 0.50; slirp4netns 0.50 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	columns := -1
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if columns >= 0 && n != columns {
			t.Errorf("a line of %d columns in a table of %d: %s", n-1, columns-1, line)
		}
		columns = n
	}
	if ours, theirs := mixed().failures(); len(ours) != 0 || len(theirs) != 1 || !strings.Contains(theirs[0], "no | such device") {
		t.Errorf("failures are %q and %q", ours, theirs)
	}
	r := mixed()
	r.Rows[0].add(footbridgeName).Error = "exit status 2"
	if ours, _ := r.failures(); len(ours) != 1 || !strings.Contains(ours[0], "exit status 2") {
		t.Errorf("failures of footbridge are %q", ours)
	}
}

func TestThePlotIsXMLAndShowsTheRows(t *testing.T) {
	r := mixed()
	d := xml.NewDecoder(strings.NewReader(string(r.svg())))
	var text strings.Builder
	bars := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, r.svg())
		}
		switch token := token.(type) {
		case xml.CharData:
			text.Write(token)
		case xml.StartElement:
			if token.Name.Local == "rect" {
				bars++
			}
		}
	}
	if bars != 1 || !strings.Contains(text.String(), "Linux <6>, 2") || !strings.Contains(text.String(), "container -> host") || !strings.Contains(text.String(), "11.0 x slirp4netns") {
		t.Errorf("%d bars, text %q", bars, text.String())
	}
	if empty := (&report{}).svg(); !strings.HasSuffix(string(empty), "</svg>\n") {
		t.Errorf("a plot of nothing: %s", empty)
	}
}

func TestRatiosAreOnALogarithmicAxis(t *testing.T) {
	s := newScale([]float64{0.3, 20})
	if s != (scale{-2, 5}) {
		t.Errorf("0.3 to 20 is on an axis from 2^%v to 2^%v", s.low, s.high)
	}
	if a, b := s.x(2)-s.x(1), s.x(16)-s.x(8); math.Abs(a-b) > 0.001 || a <= 0 {
		t.Errorf("twice is %v at one place and %v at another", a, b)
	}
	if s := newScale(nil); s != (scale{-1, 1}) {
		t.Errorf("the smallest axis is %+v", s)
	}
}

func TestFiguresHaveThreeDigits(t *testing.T) {
	for value, want := range map[float64]string{
		0: "0.00", 0.123: "0.12", 9.87: "9.87", 12.34: "12.3", 123.4: "123", 1234: "1,234", 12345: "12,300", 1234567: "1,234,600", -1234: "-1,234",
	} {
		if got := figure(value); got != want {
			t.Errorf("%v is written %q, want %q", value, got, want)
		}
	}
}

func TestALongErrorIsAbridgedToItsEnd(t *testing.T) {
	got := abridged(strings.Repeat("argument ", 100)+"\n\tno such  device", 120)
	if !strings.HasSuffix(got, "no such device") || len([]rune(got)) > 130 {
		t.Errorf("%q", got)
	}
}
