#!/usr/bin/python3
"""udp-again.py SOURCEPORT HOST4 HOST6 PORT TEXT: asks from one source port in each family and prints who was seen, from where."""
import socket, sys
source, hosts, port, text = int(sys.argv[1]), sys.argv[2:4], int(sys.argv[4]), sys.argv[5]
for host in hosts:
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", source))
    s.settimeout(2)
    s.connect((host, port))
    s.send(text.encode())
    seen, said = s.recv(65535).decode().strip().split(" ", 1)
    print(seen, s.getsockname()[1], said)
