package main

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/footbridge-net/footbridge/tests/busybox"
)

func TestScenariosAndDifferencesCanBeRead(t *testing.T) {
	scenarios, err := loadScenarios(scenarioFiles)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		if len(s.steps) == 0 {
			t.Errorf("%s has no steps", s.name)
		}
	}
	if _, err := parseExpectations(differencesFile); err != nil {
		t.Error(err)
	}
}

func TestBadScenariosAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"docker ps\n":              "before the first title",
		"# a\nps\n":                "no command",
		"# a\ndocker\n":            "no command",
		"# a\njson\n":              "no command",
		"# a\ndocker run 'x\n":     "quote is not closed",
		"# a\n# a\ndocker ps\n":    "two scenarios",
		"# a\nwhisper docker ps\n": "no command",
	} {
		files := fstest.MapFS{"scenarios/x.txt": {Data: []byte(text)}}
		if _, err := loadScenarios(files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestAStepIsSplitAsAShellDoes(t *testing.T) {
	s, err := parseStep(`json docker run --label 'a b' "" -f '{{json "x"}}' IMAGE sh`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"run", "--label", "a b", "", "-f", `{{json "x"}}`, "IMAGE", "sh"}
	if s.mark != markJSON || s.verb != "docker" || !slices.Equal(s.args, want) {
		t.Errorf("it is %+v", s)
	}
	if got := (speaker{plain: true}).translate(s.args); slices.Contains(got, image) || len(got) != len(want)-1 {
		t.Errorf("without images it is %q", got)
	}
	if got := (speaker{}).translate(s.args); !slices.Contains(got, imageName) {
		t.Errorf("with an image it is %q", got)
	}
}

func TestWhatDiffersFromRunToRunIsNormalised(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for in, want := range map[string]string{
		id + " " + id[:12]:                      "<id> <short id>",
		"sha256:" + id:                          "<image>",
		"2026-01-02T03:04:05.678901234Z":        "<time>",
		"0001-01-01T00:00:00Z":                  "0001-01-01T00:00:00Z",
		"Up 3 seconds, 2 minutes ago":           "Up <a while>, <a while>",
		"link/ether 02:42:ac:11:00:02":          "link/ether <mac>",
		"00:00:00:00:00:00":                     "00:00:00:00:00:00",
		"given 02:11:22:33:44:55":               "given 02:11:22:33:44:55",
		"0.0.0.0:49153->80/tcp":                 "0.0.0.0:<port>->80/tcp",
		`"DynamicIPsAvailable":65533`:           `"DynamicIPsAvailable":65533`,
		"0.0.0.0:8080->80/tcp":                  "0.0.0.0:8080->80/tcp",
		"docker: no":                            "<program>: no",
		"2: eth0@if6: <UP,LOWER_UP> mtu 1500 q": "eth0: mtu 1500",
	} {
		if got := normalise(in, "--mac-address 02:11:22:33:44:55"); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"docker: Error response from daemon: No such container: x\n\nRun 'docker run --help' for more information\n": "No such container: x",
		"footbridge: No such container: x\n":                                             "No such container: x",
		"Error response from daemon: network n not found\nexit status 1\n":               "network n not found",
		"unknown flag: --x\n\nUsage:  docker run [OPTIONS]\n\nRun 'docker run --help'\n": "unknown flag: --x",
		"invalid settings:\n* one\n* two\n":                                              "invalid settings: one two",
	} {
		if got := normaliseErrors(in, ""); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestDifferencesAreFound(t *testing.T) {
	answers := func(code int, out, errs string) []Answer { return []Answer{{Code: code, Stdout: out, Stderr: errs}} }
	for _, c := range []struct {
		line         string
		docker, ours []Answer
		want         []string
	}{
		{"docker ps", answers(0, "a\n", ""), answers(0, "a\n", ""), nil},
		{"docker ps", answers(0, "a\n", ""), answers(0, "b\n", ""), []string{`output "b", docker "a"`}},
		{"docker ps", answers(0, "", ""), answers(1, "", "no\n"), []string{"exit status 1, docker 0 (no)", `errors "no", docker ""`}},
		{"docker ps", answers(1, "", "Error response from daemon: no\n"), answers(1, "", "footbridge: start c: no: do that\n"), nil},
		{"docker ps", answers(1, "", "Error response from daemon: no\n"), answers(1, "", "footbridge: nay\n"), []string{`errors "nay", docker "no"`}},
		{"sort docker ps", answers(0, "a\nb\n", ""), answers(0, "b\na\n", ""), nil},
		{"quiet docker ps", answers(0, "a\n", ""), answers(0, "b\n", "c\n"), nil},
		{"until docker ps", answers(0, "a\n", ""), answers(0, "b\n", ""), nil},
		{"until docker ps", answers(1, "", "no\n"), answers(1, "", "no\n"), []string{"never succeeded with docker (no)"}},
		{"errors docker ps", answers(0, "a\n", ""), answers(0, "b\n", ""), nil},
		{"json docker ps", answers(0, `{"A":null,"B":[1],"C":{}}`, ""), answers(0, `{"A":[],"B":[1,2],"D":""}`, ""), []string{
			"$.A: [], docker null", "$.B[1]: 2, docker has none", "$.C: missing, docker {}", `$.D: "", docker has none`}},
		{"json docker ps", answers(0, `{"Pid":5}`, ""), answers(0, `{"Pid":6}`, ""), nil},
		{"json docker ps", answers(0, `{"Pid":5}`, ""), answers(0, `{"Pid":0}`, ""), []string{"$.Pid: 0, docker 5"}},
		{"json docker ps", answers(0, `{}`, ""), answers(0, `oops`, ""), []string{"output is no JSON: oops"}},
	} {
		st, err := parseStep(c.line)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range compare(scenario{name: "s", steps: []step{st}}, "api", c.docker, c.ours) {
			got = append(got, d.what)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v and %v differ in %q, want %q", c.line, c.docker, c.ours, got, c.want)
		}
	}
}

func TestOneDifferenceOfTwoSpeakersIsOne(t *testing.T) {
	d := func(speaker, what string) difference { return difference{"s", speaker, "docker ps", what} }
	got := merge([][]difference{{d("api", "x"), d("api", "x"), d("api", "y")}, {d("cli", "x"), d("cli", "x"), d("cli", "z")}})
	want := []difference{d(everybody, "x"), d(everybody, "x"), d("api", "y"), d("cli", "z")}
	if !slices.Equal(got, want) {
		t.Errorf("they are %v, want %v", got, want)
	}
}

func TestExpectationsMatchAndHoldForVersions(t *testing.T) {
	list, err := parseExpectations("# comment\n\na: * | x*\nb: * | y\n    why\n    so\n\napi<1.48 c: *\n    old\napi>=1.48 c: *\n    new\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		d     difference
		minor int
		want  string
	}{
		{difference{"a: one", "api", "s", "xyz"}, 41, "why so"},
		{difference{"b: one", "api", "s", "y"}, 41, "why so"},
		{difference{"b: one", "api", "s", "yy"}, 41, ""},
		{difference{"c: one", "api", "s", "y"}, 47, "old"},
		{difference{"c: one", "api", "s", "several\nlines"}, 48, "new"},
		{difference{"d: one", "api", "s", "y"}, 48, ""},
	} {
		got := ""
		if e := explain(list, c.d, c.minor); e != nil {
			got = e.reason
		}
		if got != c.want {
			t.Errorf("%v at API 1.%d is because of %q, want %q", c.d, c.minor, got, c.want)
		}
	}
	for text, want := range map[string]string{
		"a\n\n    why\n":       "has no reason",
		"a\n":                  "has no reason",
		"    why\n":            "a reason of nothing",
		"api<1.x a\n    why\n": "is not 1.N",
	} {
		if _, err := parseExpectations(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestWhatIsNotDifferentAnyMoreFails(t *testing.T) {
	expected, err := parseExpectations("a: *\n    why\napi<1.41 b: *\n    old\n")
	if err != nil {
		t.Fatal(err)
	}
	r := report{expected: expected, minor: 41, all: true}
	if r.end(0) != 1 {
		t.Error("a difference that was not seen was taken for seen")
	}
	r = report{expected: expected, minor: 41, all: true}
	r.row(scenario{name: "a: x"}, []difference{{"a: x", "api", "s", "w"}}, 0)
	if r.end(0) != 0 {
		t.Error("a known difference was taken for a failure")
	}
	r.row(scenario{name: "c: x"}, []difference{{"c: x", "api", "s", "w"}}, 0)
	if r.end(0) != 1 {
		t.Error("an unknown difference was taken for known")
	}
}

func TestTheImageHasBusyboxAndItsPrograms(t *testing.T) {
	for _, lack := range missing("no-such-dockerd") {
		if strings.HasPrefix(lack, "busybox") {
			return // said by the program itself, with the package
		}
	}
	tree, err := busybox.Tree()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bin/busybox", "bin/ping", "bin/sh", "etc/passwd"} {
		if !strings.Contains(string(tree), name) {
			t.Errorf("the image has no %s", name)
		}
	}
}

func TestWhatIsMissingIsNamedWithItsPackage(t *testing.T) {
	lacks := strings.Join(missing("/no/such/dockerd"), "\n")
	if !strings.Contains(lacks, "docker.io") || !strings.Contains(lacks, "DOCKERD") {
		t.Errorf("what is missing is %q", lacks)
	}
}
