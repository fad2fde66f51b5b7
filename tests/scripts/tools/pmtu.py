#!/usr/bin/python3
"""pmtu.py whole|cut HOST PORT SIZE: sends a packet of SIZE bytes to an echo server, not to be cut on its way or as it comes.
Whenever the way is said to carry less it says how much, sends a packet of that size, and so on until an answer comes."""
import errno, select, socket, sys
how, host, port, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
v6 = ":" in host
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
level, discover, mtu_option, header = (socket.IPPROTO_IPV6, 23, 24, 48) if v6 else (socket.IPPROTO_IP, 10, 14, 28)
s.setsockopt(level, discover, 2 if how == "whole" else 0)  # IP_PMTUDISC_DO, IP_PMTUDISC_DONT
s.connect((host, port))
for _ in range(8):
    try:
        s.send(bytes(size - header))
        if not select.select([s], [], [], 5)[0]:
            sys.exit("no answer")
        print("answer of", len(s.recv(65535)) + header)
        break
    except OSError as e:
        if e.errno != errno.EMSGSIZE:
            sys.exit(errno.errorcode.get(e.errno, str(e)))
        size = s.getsockopt(level, mtu_option)
        print("mtu", size)
