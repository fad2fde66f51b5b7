#!/usr/bin/python3
"""shout.py PORT TEXT ADDRESS...: sends a datagram to addresses, broadcast and multicast ones too; errors are no matter."""
import socket, sys
for address in sys.argv[3:]:
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    try:
        info = socket.getaddrinfo(address, int(sys.argv[1]), type=socket.SOCK_DGRAM)[0]
        s.sendto(sys.argv[2].encode(), info[4])
    except OSError as e:
        print(address, e)
