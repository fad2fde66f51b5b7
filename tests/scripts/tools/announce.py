#!/usr/bin/python3
"""announce.py ADDRESS: tells the network, as keepalived does, that an address is now eth0's: gratuitous ARP or an unsolicited
neighbour advertisement. For containers with NET_RAW."""
import ipaddress, socket, struct, sys
address = ipaddress.ip_address(sys.argv[1])
own = bytes.fromhex(open("/sys/class/net/eth0/address").read().strip().replace(":", ""))
if address.version == 4:
    frame = b"\xff" * 6 + own + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x800, 6, 4, 2) + own + address.packed + b"\xff" * 6 + address.packed
else:
    group = ipaddress.ip_address("ff02::1").packed
    advert = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + address.packed + b"\x02\x01" + own
    data = address.packed + group + struct.pack("!II", len(advert), 58) + advert
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    advert = advert[:2] + struct.pack("!H", ~total & 0xffff) + advert[4:]
    frame = b"\x33\x33\0\0\0\x01" + own + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(advert), 58, 255) + address.packed + group + advert
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
s.send(frame)
