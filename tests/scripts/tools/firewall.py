#!/usr/bin/python3
"""firewall.py list|flush|add NAME: names the tables of nftables in this network namespace and those of iptables, removes all
tables as `nft flush ruleset` does, or adds one. For machines without nft; "no nftables" if the kernel has none."""
import os, socket, struct, sys
NETFILTER, NFTABLES, BEGIN, END = 12, 10 << 8, 16, 17
NEW, GET, DELETE, REQUEST, ACK, CREATE, DUMP = 0, 1, 2, 1, 4, 0x400, 0x300
def message(kind, flags, family=0, resource=0, attributes=b""):
    return struct.pack("=IHHII", 20 + len(attributes), kind, flags, 1, 0) + struct.pack("!BBH", family, 0, resource) + attributes
def talk(b, until):
    """Sends and returns the payloads of what is answered, until a message of that kind; an error of the kernel is raised."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER) as s:
        s.settimeout(5)
        s.send(b)
        answers = []
        while True:
            data = s.recv(65536)
            while data:
                size, kind = struct.unpack("=IH", data[:6])
                if kind == 2 and (code := -struct.unpack("=i", data[16:20])[0]):
                    raise OSError(code, os.strerror(code))
                if kind in (until, 3):
                    return answers
                answers.append(data[20:size])
                data = data[(size + 3) & ~3:]
def change(kind, flags, attributes=b""):
    talk(message(BEGIN, REQUEST, 0, 10) + message(NFTABLES | kind, REQUEST | ACK | flags, 2 if attributes else 0, 0, attributes) + message(END, REQUEST, 0, 10), 2)
try:
    if sys.argv[1] == "add":
        name = sys.argv[2].encode() + b"\0"
        change(NEW, CREATE, struct.pack("=HH", 4 + len(name), 1) + name.ljust((len(name) + 3) & ~3, b"\0"))
    elif sys.argv[1] == "flush":
        change(DELETE, 0)
    else:
        for table in talk(message(NFTABLES | GET, REQUEST | DUMP), 3):
            size, kind = struct.unpack("=HH", table[:4])
            print("table", table[4:size].rstrip(b"\0").decode())
        for path in ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"):
            if os.path.exists(path):
                print(*("iptables " + line for line in open(path)), sep="", end="")
except OSError as e:
    print("no nftables" if e.errno in (22, 93) else e)
