package engine

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
)

func TestWhatNobodyAskedForIsShownAsDockerShowsIt(t *testing.T) {
	swappiness, pids, kill := int64(-1), int64(0), false
	d := &ContainerDef{ID: strings.Repeat("ab", 32)}
	d.Config.Volumes = map[string]struct{}{}
	// What docker's command sends for options that were not given.
	d.HostConfig.MemorySwappiness, d.HostConfig.PidsLimit, d.HostConfig.OomKillDisable = &swappiness, &pids, &kill
	config, host := wireConfig(d), wireHostConfig(d)
	text, err := json.Marshal(struct {
		container.Config
		Host container.HostConfig
	}{config, host})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"Volumes":null`, `"Env":[]`, `"Labels":{}`, `"Hostname":"abababababab"`, `"NetworkMode":"bridge"`, `"Devices":[]`, `"Ulimits":[]`,
		`"BlkioDeviceReadBps":[]`, `"Dns":[]`, `"MemorySwappiness":null`, `"PidsLimit":null`, `"OomKillDisable":null`, `"PortBindings":{}`,
		`"Binds":null`, `"Runtime":"footbridge"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("there is no %s in %s", want, text)
		}
	}
	swappiness, pids, kill = 60, 100, true
	host = wireHostConfig(d)
	if *host.MemorySwappiness != 60 || *host.PidsLimit != 100 || !*host.OomKillDisable {
		t.Errorf("what was asked for is shown as %d, %d, %v", *host.MemorySwappiness, *host.PidsLimit, *host.OomKillDisable)
	}
}
