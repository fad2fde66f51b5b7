package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// image is the word in scenarios that stands for the image; footbridge's own command line has none.
const image = "IMAGE"

// imageName is what the image is called where there are images.
const imageName = "bb"

// since is the word in scenarios that stands for the time at which the scenario began.
const since = "BEGIN"

// speaker is a way of asking a daemon.
type speaker struct {
	name  string
	place string // where its user is
	words []string
	plain bool // its command line has no images

	begun string // when its scenario did, in seconds since 1970
}

// Answer is what came of a step. It is exported for net/rpc only, as Command is.
type Answer struct {
	Code           int
	Stdout, Stderr string
}

// side is a world with a daemon in it.
type side interface {
	// run carries out a command in a place of the world.
	run(place string, args []string) (Answer, error)
	close()
}

// untilLimit is how long a step marked until may take, and pause how often it is tried.
const (
	untilLimit = 10 * time.Second
	untilPause = 100 * time.Millisecond
)

// ask puts one step to a daemon.
func (s speaker) ask(at side, st step) (Answer, error) {
	place, args := st.verb, slices.Clone(st.args)
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, since, s.begun)
	}
	if st.verb == "docker" {
		place, args = s.place, slices.Concat(s.words, s.translate(args))
	} else if st.verb == "host" {
		place = s.place
	}
	args = append([]string{"timeout", "25"}, args...)
	a, err := at.run(place, args)
	if st.mark == markUntil {
		for begin := time.Now(); err == nil && a.Code != 0 && time.Since(begin) < untilLimit; {
			time.Sleep(untilPause)
			a, err = at.run(place, args)
		}
	}
	return a, err
}

// translate leaves out the image, or names it.
func (s speaker) translate(args []string) []string {
	i := slices.Index(args, image)
	if i < 0 {
		return args
	}
	out := slices.Clone(args[:i])
	if !s.plain {
		out = append(out, imageName)
	}
	return append(out, args[i+1:]...)
}

// clean removes everything that a scenario has left.
func (s speaker) clean(at side) error {
	cli := strings.Join(s.words, " ")
	_, err := at.run(s.place, []string{"sh", "-c",
		"ids=$(" + cli + " ps -aq); [ -z \"$ids\" ] || " + cli + " rm -f $ids >/dev/null; " + cli + " network prune -f"})
	return err
}

// perform puts a scenario to a daemon, which is clean afterwards.
func (s speaker) perform(at side, sc scenario) ([]Answer, error) {
	s.begun = fmt.Sprintf("%.6f", float64(time.Now().UnixMicro())/1e6)
	var answers []Answer
	for _, st := range sc.steps {
		a, err := s.ask(at, st)
		if err != nil {
			return nil, err
		}
		answers = append(answers, a)
	}
	return answers, s.clean(at)
}
