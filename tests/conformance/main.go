package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

var (
	pattern = flag.String("run", "", "only scenarios whose `name` matches this regular expression")
	list    = flag.Bool("list", false, "print the scenarios and end")
	verbose = flag.Bool("verbose", false, "print known differences one by one, too")
)

func main() {
	world.Dispatch()
	if len(os.Args) == 2 && os.Args[1] == roleFootbridge {
		os.Exit(world.Main(nil, serveFootbridge))
	}
	flag.Parse()
	os.Exit(play())
}

func play() int {
	complain := func(err error) int {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		return 1
	}
	scenarios, err := loadScenarios(scenarioFiles)
	if err != nil {
		return complain(err)
	}
	expected, err := parseExpectations(differencesFile)
	if err != nil {
		return complain(err)
	}
	choose, err := regexp.Compile(*pattern)
	if err != nil {
		return complain(fmt.Errorf("-run: %w", err))
	}
	scenarios = slices.DeleteFunc(scenarios, func(s scenario) bool { return !choose.MatchString(s.name) })
	if *list {
		for _, s := range scenarios {
			fmt.Println(s.name)
		}
		return 0
	}
	dockerd := cmp.Or(os.Getenv("DOCKERD"), "dockerd")
	if lacks := missing(dockerd); len(lacks) > 0 {
		return complain(fmt.Errorf("this machine lacks what a comparison with Docker needs:\n  %s", strings.Join(lacks, "\n  ")))
	}
	docker, err := startDocker(dockerd)
	if err != nil {
		return complain(fmt.Errorf("starting Docker: %w", err))
	}
	defer docker.close()
	footbridge, err := startFootbridge()
	if err != nil {
		return complain(err)
	}
	defer footbridge.close()
	r := report{expected: expected, minor: docker.minor, all: *pattern == ""}
	begin := time.Now()
	fmt.Printf("Docker %s\n\n", docker.Version)
	for _, sc := range scenarios {
		start := time.Now()
		differences, err := both(sc, docker, footbridge)
		if err != nil {
			return complain(fmt.Errorf("%s: %w", sc.name, err))
		}
		r.row(sc, differences, time.Since(start))
	}
	return r.end(time.Since(begin))
}

// The ways of asking: Docker's command is the measure, the others are compared with it.
var (
	dockerSpeaker = speaker{name: "docker", place: "host", words: []string{"docker"}}
	ourSpeakers   = []speaker{
		{name: "api", place: "host", words: []string{"docker"}},
		{name: "cli", place: "host", words: []string{"footbridge"}, plain: true},
	}
)

// both puts a scenario to both sides.
func both(sc scenario, docker, footbridge side) ([]difference, error) {
	type outcome struct {
		answers []Answer
		err     error
	}
	reference := make(chan outcome, 1)
	go func() {
		answers, err := dockerSpeaker.perform(docker, sc)
		reference <- outcome{answers, err}
	}()
	var ours [][]Answer
	var problem error
	for _, s := range ourSpeakers {
		answers, err := s.perform(footbridge, sc)
		if err != nil {
			problem = err
			break
		}
		ours = append(ours, answers)
	}
	theirs := <-reference
	if problem = cmp.Or(problem, theirs.err); problem != nil {
		return nil, problem
	}
	var lists [][]difference
	for i, s := range ourSpeakers {
		lists = append(lists, compare(sc, s.name, theirs.answers, ours[i]))
	}
	return merge(lists), nil
}
