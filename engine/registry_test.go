package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/footbridge-net/footbridge/api"
)

// checkRegistry fails where the indexes do not say what a walk over all containers says.
func checkRegistry(t *testing.T, e *Engine) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	names, links := 0, 0
	for _, c := range e.containers {
		if !slices.Contains(e.known.names[c.def.Name], c) {
			t.Errorf("container %s is not found by its name", c.def.Name)
		}
		targets := map[string]bool{}
		for _, l := range c.def.Links {
			if targets[l.Target] = true; !slices.Contains(e.known.linked[l.Target], c) {
				t.Errorf("container %s is not known to link to %s", c.def.Name, short(l.Target))
			}
		}
		links += len(targets)
	}
	for _, all := range e.known.names {
		names += len(all)
	}
	for _, all := range e.known.linked {
		links -= len(all)
	}
	if names != len(e.containers) || links != 0 {
		t.Errorf("%d names for %d containers, %d links unknown", names, len(e.containers), links)
	}
}

func TestContainersAreKnownByTheirPresentNames(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	for _, s := range []spec{{name: "one"}, {name: "two"}, {}, {name: "three", host: linksOf("one:x", "one:y", "two:z")}} {
		if _, err := e.testCreate(s); err != nil {
			t.Fatal(err)
		}
	}
	checkRegistry(t, e)
	if err := e.ContainerRename(t.Context(), "one", "two"); err == nil {
		t.Error("two containers have one name")
	}
	if err := e.ContainerRename(t.Context(), "one", "four"); err != nil {
		t.Fatal(err)
	}
	checkRegistry(t, e)
	if _, err := e.container("one"); err == nil {
		t.Error("a container is found by the name that it had")
	}
	if c, err := e.container("/four"); err != nil || c.def.Name != "four" {
		t.Errorf("found by its new name: %v, %v", c, err)
	}
	if _, err := e.testCreate(spec{name: "one"}); err != nil {
		t.Errorf("a name that is free again: %v", err)
	}
	for _, name := range []string{"four", "three"} {
		if err := e.ContainerRemove(t.Context(), name, api.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	checkRegistry(t, e)
}

func BenchmarkNameOfOneOfMany(b *testing.B) {
	for _, n := range []int{10, 10000} {
		e := &Engine{containers: map[string]*ctr{}, known: newRegistry()}
		for i := range n {
			e.enroll(&ctr{def: &ContainerDef{ID: newID(), Name: fmt.Sprint("c", i)}})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if e.named("c7") == nil || e.named("none") != nil {
					b.Fatal("a wrong container")
				}
			}
		})
	}
}
