package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

// view is what must be the same before and after a fault.
type view struct {
	definitions []string
	things      []string // processes, listeners, files, mounts
	interfaces  []string // of the containers
	descriptors []string // of the keeper
}

// look takes everything down.
func (c *chaos) look() (*view, error) {
	definitions, err := c.stage.Definitions()
	if err != nil {
		return nil, err
	}
	interfaces, err := c.stage.Interfaces()
	if err != nil {
		return nil, err
	}
	keeper, err := c.keeper()
	if err != nil {
		return nil, err
	}
	sample, err := c.stage.Admin.Process(keeper)
	if err != nil {
		return nil, err
	}
	return &view{definitions, c.stage.Things(), interfaces, sample.Files}, nil
}

func (c *chaos) compareDefinitions(r *row, before *view) error {
	now, err := c.stage.Definitions()
	if err != nil {
		return fmt.Errorf("asking for the definitions after the fault: %w", err)
	}
	for _, line := range load.Differences(before.definitions, now) {
		r.lose("the definitions differ: %s", line)
	}
	return nil
}

// leftoverLimit is how long what belonged to a fault may take to go.
const leftoverLimit = 5 * time.Second

// compareThings says what is left or missing after all rounds.
func (c *chaos) compareThings(r *row, before *view) {
	var differences []string
	var err error
	clean := world.Poll(leftoverLimit, func() bool {
		var now *view
		if now, err = c.look(); err != nil {
			return false
		}
		differences = append(load.Differences(before.things, now.things), load.Differences(before.interfaces, now.interfaces)...)
		for _, line := range load.Differences(before.descriptors, now.descriptors) {
			// Fewer are no leftover: another process may need less, and what is missing shows itself elsewhere.
			if more(line) {
				differences = append(differences, "descriptors of the keeper: "+line)
			}
		}
		return len(differences) == 0
	})
	switch {
	case clean:
	case err != nil:
		r.lose("looking after the fault: %v", err)
	default:
		for _, line := range differences {
			r.lose("after all rounds: %s", line)
		}
	}
}

// more says whether a difference is something that there was not before.
func more(difference string) bool { return strings.HasPrefix(difference, "+") }

// random is where chance comes from; its seed is told, so that a run can be had again, as far as the machine allows.
type random struct{ *rand.Rand }

func newRandom() *random {
	seed := uint64(*seedFlag)
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	fmt.Printf("seed %d\n", seed)
	return &random{rand.New(rand.NewPCG(seed, 0))}
}

// moment returns a duration up to a limit.
func (r *random) moment(limit time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(limit)))
}
