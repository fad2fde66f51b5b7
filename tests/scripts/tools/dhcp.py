#!/usr/bin/python3
"""dhcp.py 4|6 INTERFACE ask|try|quick|again|renew|release|inform [ADDRESS]: a DHCP client for tests. It asks, says what it is told
in a line a message, and changes nothing: ask takes four messages, quick two (rapid commit); again asks, as after a restart, for the
address it had; renew for the one it has. Without an answer within five seconds it says so and fails; try is ask for one second."""
import fcntl, ipaddress, os, socket, struct, sys, time
family, interface, verb = int(sys.argv[1]), sys.argv[2], sys.argv[3]
address = ipaddress.ip_address(sys.argv[4]) if len(sys.argv) > 4 else None
patience = 1 if verb == "try" else 5
verb = "ask" if verb == "try" else verb
xid = os.urandom(4 if family == 4 else 3)
s = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
mac = fcntl.ioctl(s, 0x8927, interface.encode().ljust(32, b"\0"))[18:24] # SIOCGIFHWADDR
s.bind(("", 68) if family == 4 else ("::", 546))
peer = ("255.255.255.255", 67) if family == 4 else ("ff02::1:2", 547, 0, socket.if_nametoindex(interface))

def exchange(message, parse):
    """Repeats a message until an answer to it comes."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            s.sendto(message, peer)
        except OSError as e: # no link-local address yet, or none at all
            if e.errno not in (99, 101):
                raise
        again = min(end, time.monotonic() + 0.5)
        while (left := again - time.monotonic()) > 0:
            s.settimeout(left)
            try:
                if (answer := parse(s.recv(4096))) is not None:
                    return answer
            except TimeoutError:
                pass
    print("no answer")
    sys.exit(1)

def four(kind, asked=None, has=None, server=None, rapid=False):
    """One DHCPv4 message (RFC 2131), and the options of its answer."""
    options = [(53, bytes([kind])), (61, b"\1" + mac), (55, bytes([26, 6, 3, 1, 12, 119]))]
    options += [(50, asked.packed)] if asked else []
    options += [(54, server)] if server else []
    options += [(80, b"")] if rapid else []
    own = has.packed if has else bytes(4)
    message = struct.pack("!BBBB4sHH4s12x16s192x4s", 1, 1, 6, 0, xid, 0, 0x8000, own, mac, b"\x63\x82\x53\x63")
    message += b"".join(bytes([c, len(v)]) + v for c, v in options) + b"\xff"
    if kind == 7:
        s.sendto(message, peer)
        return None
    def parse(b):
        if b[:4] != b"\2\1\6\0" or b[4:8] != xid or b[28:34] != mac or b[236:240] != b"\x63\x82\x53\x63":
            return None
        found, at = {256: b[16:20]}, 240
        while b[at] != 255:
            found[b[at]] = b[at + 2:at + 2 + b[at + 1]]
            at += 2 + b[at + 1]
        return found
    return exchange(message, parse)

def told4(o):
    ip = lambda b: ".".join(map(str, b))
    name = {2: "offer", 5: "ack", 6: "nak"}[o[53][0]]
    if name == "nak":
        return name
    words = [name, ip(o[256]), "server", ip(o[54])]
    for code, what in ((1, "mask"), (3, "router"), (6, "dns")):
        words += [what, ip(o[code])] if code in o else []
    words += ["mtu", str(int.from_bytes(o[26], "big")), "lease", str(int.from_bytes(o.get(51, b""), "big"))]
    words += ["name", o[12].decode()] if 12 in o else []
    return " ".join(words + ["order", ",".join(str(c) for c in o if c != 256)])

def six(kind, addresses=(), server=None, rapid=False):
    """One DHCPv6 message (RFC 8415), and the options of its answer."""
    option = lambda code, value: struct.pack("!HH", code, len(value)) + value
    message = bytes([kind]) + xid + option(1, b"\0\3\0\1" + mac) + option(6, struct.pack("!HH", 23, 24)) + option(8, b"\0\0")
    message += option(2, server) if server else b""
    message += option(14, b"") if rapid else b""
    if kind != 11:
        message += option(3, mac[2:] + bytes(8) + b"".join(option(5, a.packed + bytes(8)) for a in addresses))
    def parse(b):
        return (b[0], options6(b[4:])) if b[1:4] == xid and b[0] in (2, 7) else None
    return exchange(message, parse)

def options6(b):
    found = {}
    while b:
        code, n = struct.unpack("!HH", b[:4])
        found.setdefault(code, []).append(b[4:4 + n])
        b = b[4 + n:]
    return found

def told6(kind, o):
    words = [{2: "advertise", 7: "reply"}[kind]]
    for ia in o.get(3, []):
        inner = options6(ia[12:])
        for a in inner.get(5, []):
            words += ["address" if a[20:24] != bytes(4) else "ended", str(ipaddress.IPv6Address(a[:16])), "lease", str(int.from_bytes(a[20:24], "big"))]
        words += ["status", str(inner[13][0][1])] if 13 in inner else []
    words += ["status", str(o[13][0][1])] if 13 in o else []
    words += ["dns", str(ipaddress.IPv6Address(o[23][0][:16]))] if 23 in o else []
    return " ".join(words + (["rapid"] if 14 in o else []))

if family == 4:
    if verb in ("ask", "quick"):
        o = four(1, asked=address, rapid=verb == "quick")
        if verb == "ask":
            print(told4(o))
            o = four(3, asked=ipaddress.ip_address(o[256]), server=o[54])
    elif verb == "again":
        o = four(3, asked=address)
    elif verb == "renew":
        o = four(3, has=address)
    elif verb == "inform":
        o = four(8, has=address)
    elif verb == "release":
        found = four(3, asked=address)
        o = four(7, has=address, server=found[54])
    print(told4(o) if o else "released")
else:
    addresses = [address] if address else []
    if verb in ("ask", "quick"):
        kind, o = six(1, addresses, rapid=verb == "quick")
        if verb == "ask":
            print(told6(kind, o))
            given = options6(o[3][0][12:]).get(5, [])
            kind, o = six(3, [ipaddress.IPv6Address(a[:16]) for a in given], server=o[2][0])
    elif verb == "again":
        kind, o = six(4, addresses)
    elif verb == "inform":
        kind, o = six(11)
    else:
        server = six(11)[1][2][0]
        kind, o = six(5 if verb == "renew" else 8, addresses, server=server)
    print(told6(kind, o))
