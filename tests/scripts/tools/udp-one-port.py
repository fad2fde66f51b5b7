#!/usr/bin/python3
"""udp-one-port.py HOST...: asks several servers, from one socket, as whom they see it; says whether that is one port."""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
seen = set()
for host in sys.argv[1:]:
    name, port = host.rsplit(":", 1)
    s.sendto(b"who", (name, int(port)))
    b, peer = s.recvfrom(1000)
    if peer != (name, int(port)):
        print("answered by", peer)
    seen.add(b.strip())
print("one mapping" if len(seen) == 1 else f"mappings: {seen}")
