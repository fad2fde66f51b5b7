#!/usr/bin/python3
"""first-fragments.py SOURCE COUNT: sends the first fragments of so many datagrams to the default gateway, for 192.88.99.1 or
2001:db8:99::1, and nothing more of them. For containers with NET_RAW."""
import ipaddress, socket, struct, subprocess, sys
source, count = ipaddress.ip_address(sys.argv[1]), int(sys.argv[2])
v6 = source.version == 6
target = ipaddress.ip_address("2001:db8:99::1" if v6 else "192.88.99.1")
gateway = subprocess.run(["ip", "-6" if v6 else "-4", "route", "show", "default"], capture_output=True, text=True).stdout.split()[2]
subprocess.run(["ping", "-c1", "-W2", gateway], stdout=subprocess.DEVNULL)
mac = subprocess.run(["ip", "neigh", "show", gateway], capture_output=True, text=True).stdout.split("lladdr ")[1].split()[0]
own = open("/sys/class/net/eth0/address").read().strip()
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 0))
data = struct.pack("!HHHH", 4242, 9, 8 + 2000, 0) + bytes(1200)
for n in range(count):
    if v6:
        packet = struct.pack("!IHBB", 6 << 28, 8 + len(data), 44, 64) + source.packed + target.packed + struct.pack("!BBHI", 17, 0, 1, n) + data
    else:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), n, 0x2000, 64, 17, 0) + source.packed + target.packed
        total = sum(struct.unpack("!10H", head))
        while total > 0xffff:
            total = (total & 0xffff) + (total >> 16)
        packet = head[:10] + struct.pack("!H", ~total & 0xffff) + head[12:] + data
    s.send(bytes.fromhex(mac.replace(":", "")) + bytes.fromhex(own.replace(":", "")) + (b"\x86\xdd" if v6 else b"\x08\x00") + packet)
