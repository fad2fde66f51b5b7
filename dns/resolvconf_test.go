package dns

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseConfig(t *testing.T) {
	tests := []struct{ what, file, servers, search, options string }{
		{"empty", "", "", "", ""},
		{"usual", "# made by hand\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch a.example b.example\noptions ndots:2 edns0\n",
			"192.0.2.1:53 [2001:db8::1]:53", "a.example b.example", "ndots:2 edns0"},
		{"systemd", "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n", "127.0.0.53:53", "", "edns0 trust-ad"},
		{"zone", "nameserver fe80::1%eth0\n", "[fe80::1%eth0]:53", "", ""},
		{"four servers", "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n",
			"192.0.2.1:53 192.0.2.2:53 192.0.2.3:53", "", ""},
		{"last search or domain counts", "search a b\ndomain c d\n", "", "c", ""},
		{"options add up", "options a\noptions b\n", "", "", "a b"},
		{"nonsense", "nameserver\nnameserver x\nnameserver 192.0.2.1:53\nfoo bar\n indented 1\n nameserver 192.0.2.9\n;nameserver 192.0.2.8\noptions\n\x00\n",
			"", "", ""},
		{"tabs, comments and no newline", "nameserver\t192.0.2.1 # mine\r\nsearch\ta ; b", "192.0.2.1:53", "a", ""},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			c := ParseConfig([]byte(tt.file))
			var servers []string
			for _, s := range c.Servers {
				servers = append(servers, s.String())
			}
			got := []string{strings.Join(servers, " "), strings.Join(c.Search, " "), strings.Join(c.Options, " ")}
			if want := []string{tt.servers, tt.search, tt.options}; !reflect.DeepEqual(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 127.0.0.53\nsearch corp.example .\noptions ndots:1 edns0\n"))
	f.Add([]byte("nameserver fe80::1%eth0 # c\r\ndomain x\n\n;\noptions"))
	f.Add([]byte(" nameserver 192.0.2.1\nnameserver ::ffff:1.2.3.4\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := ParseConfig(data)
		if len(c.Servers) > maxServers {
			t.Errorf("%d servers", len(c.Servers))
		}
		// What was read, written down again, says the same.
		var b strings.Builder
		for _, s := range c.Servers {
			if !s.IsValid() || s.Port() != domainPort {
				t.Errorf("server %v", s)
			}
			fmt.Fprintf(&b, "nameserver %v\n", s.Addr())
		}
		for _, words := range [][]string{c.Search, c.Options} {
			for _, w := range words {
				if w == "" || strings.ContainsAny(w, " \t\r\n#;") {
					t.Errorf("word %q", w)
				}
			}
		}
		if len(c.Search) > 0 {
			fmt.Fprintf(&b, "search %s\n", strings.Join(c.Search, " "))
		}
		if len(c.Options) > 0 {
			fmt.Fprintf(&b, "options %s\n", strings.Join(c.Options, " "))
		}
		if again := ParseConfig([]byte(b.String())); !again.equal(c) {
			t.Errorf("%+v, written down and read again: %+v", c, again)
		}
	})
}
