package engine

import (
	"fmt"
	"math/rand/v2"
)

// The words of generated names: things of rivers and roads, and people who
// built bridges or made crossing them safer. All lower case, no two alike, so
// that a name is easy to say over the phone.
var (
	adjectives = [...]string{
		"airy", "ample", "arched", "bold", "braided", "brisk", "broad", "calm", "careful", "cheerful",
		"clear", "cobbled", "covered", "curved", "dappled", "deft", "drifting", "eager", "early", "even",
		"fair", "firm", "floating", "fluent", "fresh", "gentle", "gliding", "grand", "hardy", "honest",
		"humble", "iron", "keen", "level", "light", "lively", "lofty", "lucid", "mellow", "merry",
		"mild", "misty", "mossy", "nimble", "oaken", "open", "patient", "placid", "plain", "polished",
		"proud", "quick", "quiet", "rapid", "ready", "roaming", "rustic", "shady", "silver", "slender",
		"spanning", "sparkling", "steady", "stony", "sturdy", "sunny", "swaying", "swift", "tidy", "timber",
		"trusty", "upright", "vaulted", "vivid", "wandering", "warm", "wide", "windy", "wise", "woven",
	}
	surnames = [...]string{
		"ammann", "arnodin", "arup", "baker", "bayley", "belidor", "brassey", "brunel", "bruyere", "calatrava",
		"candela", "caquot", "castigliano", "cautley", "chretien", "clark", "cubitt", "culmann", "darby", "dischinger",
		"dufour", "eads", "edwards", "eiffel", "ellet", "etzel", "fairbairn", "finley", "finsterwalder", "fowler",
		"freyssinet", "gautier", "gerber", "grubenmann", "hawkshaw", "hennebique", "howe", "jessop", "judson", "khan",
		"labelye", "latrobe", "leonhardt", "lindenthal", "locke", "maillart", "menn", "modjeski", "monier", "moisseiff",
		"morandi", "muller", "navier", "nervi", "palladio", "paine", "perronet", "polonceau", "pratt", "rankine",
		"rennie", "riquet", "robinson", "roebling", "schlaich", "seguin", "smeaton", "spangenberg", "steinman", "stephenson",
		"strauss", "stussi", "telford", "torroja", "town", "trajan", "vauban", "vicat", "waddell", "wernwag",
	}
)

// generateName returns a name that taken does not have. After a few tries a
// number is added, so that it always ends.
func generateName(taken func(string) bool) string {
	for try := 0; ; try++ {
		name := adjectives[rand.IntN(len(adjectives))] + "_" + surnames[rand.IntN(len(surnames))]
		if try >= 5 {
			name = fmt.Sprint(name, rand.IntN(10+10*try))
		}
		if !taken(name) {
			return name
		}
	}
}
