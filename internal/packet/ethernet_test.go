package packet

import (
	"bytes"
	"testing"
)

func TestTheEthernetHeaderIsDestinationSourceType(t *testing.T) {
	b := make([]byte, EthernetLen)
	dst, src := MAC{0x02, 0x42, 1, 2, 3, 4}, MAC{0x02, 0x42, 5, 6, 7, 8}
	PutEthernet(b, dst, src, TypeIPv6)
	if want := wire(t, "0242 0102 0304  0242 0506 0708  86dd"); !bytes.Equal(b, want) {
		t.Errorf("%x, want %x", b, want)
	}
	if Destination(b) != dst || Source(b) != src || EtherType(b) != TypeIPv6 {
		t.Errorf("read back: %s %s %#x", Destination(b), Source(b), EtherType(b))
	}
}

func TestMACsFollowFromAddresses(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{MACFromIPv4(addr("172.18.0.2")).String(), "02:42:ac:12:00:02"},
		{MACFromIPv4(addr("::ffff:172.18.0.2")).String(), "02:42:ac:12:00:02"},
		{MACFromIPv6(addr("fd00:1::abcd:2")).String(), "02:42:ab:cd:00:02"},
		{MulticastMAC(addr("224.0.0.251")).String(), "01:00:5e:00:00:fb"},
		{MulticastMAC(addr("239.255.1.2")).String(), "01:00:5e:7f:01:02"},
		{MulticastMAC(addr("ff02::1:ff00:2")).String(), "33:33:ff:00:00:02"},
		{MAC{0x02, 0x42, 0xac, 0x12, 0, 2}.LinkLocal().String(), "fe80::42:acff:fe12:2"},
		{MAC{0x00, 0x42, 0xac, 0x12, 0, 2}.LinkLocal().String(), "fe80::242:acff:fe12:2"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
	for _, m := range []MAC{Broadcast, MulticastMAC(AllNodes), MulticastMAC(addr("224.0.0.1"))} {
		if !m.IsMulticast() {
			t.Errorf("%s is no group", m)
		}
	}
	if MACFromIPv4(addr("1.2.3.4")).IsMulticast() {
		t.Error("a container's address is a group")
	}
}

func TestOnlyEthernetAddressesAreRead(t *testing.T) {
	for _, s := range []string{"02:42:ac:12:00:02", "02-42-AC-12-00-02", "0242.ac12.0002"} {
		if m, err := ParseMAC(s); err != nil || m.String() != "02:42:ac:12:00:02" {
			t.Errorf("%s: %s, %v", s, m, err)
		}
	}
	for _, s := range []string{"", "02:42", "02:42:ac:12:00:0g", "02:00:5e:10:00:00:00:01",
		"00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01"} {
		if m, err := ParseMAC(s); err == nil {
			t.Errorf("%q was read as %s", s, m)
		}
	}
}
