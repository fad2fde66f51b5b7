package ocihook

import (
	"reflect"
	"strings"
	"testing"
)

func TestAnnotationsAreOptions(t *testing.T) {
	got, err := Options(map[string]string{
		"com.footbridge.publish":     " 8000:80\n 127.0.0.1:53:53/udp ",
		"com.footbridge.network":     "n,ip=10.0.0.1 m",
		"com.footbridge.hostname":    " box ",
		"com.footbridge.label.a.b":   " kept as it is ",
		"com.footbridgeless.network": "somebody else's",
		"run.oci.hooks.stderr":       "/x",
	})
	want := []Option{
		{"com.footbridge.hostname", "hostname", "box"},
		{"com.footbridge.label.a.b", "label", "a.b= kept as it is "},
		{"com.footbridge.network", "network", "n,ip=10.0.0.1"},
		{"com.footbridge.network", "network", "m"},
		{"com.footbridge.publish", "publish", "8000:80"},
		{"com.footbridge.publish", "publish", "127.0.0.1:53:53/udp"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := Options(nil); err != nil || len(got) != 0 {
		t.Errorf("of none: %v, %v", got, err)
	}
}

func TestUnknownAndEmptyAnnotationsAreRefused(t *testing.T) {
	for key, want := range map[string]string{
		"com.footbridge.networks":   "is not known: after com.footbridge. there may be add-host, dns,",
		"com.footbridge.":           "is not known",
		"com.footbridge.label.":     "is not known",
		"com.footbridge.label":      "is not known",
		"com.footbridge.exit-fd":    "is not known",
		"com.footbridge.oci.id":     "is not known",
		"com.footbridge.network":    "is empty",
		"com.footbridge.ip":         "is empty",
		"com.footbridge.Network":    "is not known",
		"com.footbridge.dns-search": "is empty",
	} {
		if _, err := Options(map[string]string{key: " \t"}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}
