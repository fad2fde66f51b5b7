package engine

import (
	"errors"
	"fmt"
	"testing"
)

func TestWhatIsLackingSaysHowItIsMadeAnew(t *testing.T) {
	for want, def := range map[string]*ContainerDef{
		"stop c and start it":          {},
		"detach c and attach it again": {Foreign: &ForeignDef{}}, // whose processes are not ours
	} {
		for _, what := range []string{flawPorts, flawNetworks, flawNetwork + "n"} {
			var f flaws
			f.set(what, errors.New("cause"))
			s := f.sentences(def.again())
			if len(s) != 1 {
				t.Fatalf("%s: %d sentences", what, len(s))
			}
			if got := fmt.Sprintf(s[0].Remedy, "c"); got[len(got)-len(want):] != want {
				t.Errorf("%s: %q, want %q at its end", what, got, want)
			}
		}
	}
}
