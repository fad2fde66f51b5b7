package ocihook

import (
	"testing"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }
