#!/usr/bin/python3
"""raw.py SOURCE DESTINATION PORT TEXT [SECONDS [INTERFACE]]: sends a UDP datagram as a hand-made frame to the gateway's MAC, with any
addresses, past the kernel's own rules, and says what comes back to port 4242. For containers with NET_RAW."""
import ipaddress, socket, struct, subprocess, sys, time
source, target = ipaddress.ip_address(sys.argv[1]), ipaddress.ip_address(sys.argv[2])
port, text, limit = int(sys.argv[3]), sys.argv[4].encode(), float((sys.argv[5:] or ["5"])[0])
device = (sys.argv[6:] or ["eth0"])[0]
def checksum(b):
    total = sum(struct.unpack(f"!{(len(b) + 1) // 2}H", b + b"\0" * (len(b) % 2)))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
gateway = subprocess.run("ip -4 route show default; ip -4 route show default table all", shell=True, capture_output=True, text=True).stdout.split()[2]
subprocess.run(["ping", "-c1", "-W2", gateway], stdout=subprocess.DEVNULL)
mac = [l.split()[3] for l in open("/proc/net/arp") if l.startswith(gateway + " ")][0]
udp = struct.pack("!HHHH", 4242, port, 8 + len(text), 0) + text
pseudo = source.packed + target.packed + (struct.pack("!HH", 17, len(udp)) if target.version == 4 else struct.pack("!II", len(udp), 17))
udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xffff) + text
if target.version == 4:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 7, 0, 64, 17, 0) + source.packed + target.packed
    packet, kind = head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp, 0x0800
else:
    packet, kind = struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + source.packed + target.packed + udp, 0x86dd
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind((device, 0))
s.send(bytes.fromhex(mac.replace(":", "")) + s.getsockname()[4] + struct.pack("!H", kind) + packet)
end = time.monotonic() + limit
while (left := end - time.monotonic()) > 0:
    s.settimeout(left)
    try:
        frame, (_, _, direction, *_) = s.recvfrom(65536)
    except TimeoutError:
        break
    if direction == socket.PACKET_OUTGOING:
        continue
    at = 14 + ((frame[14] & 15) * 4 if frame[12:14] == b"\x08\x00" else 40)
    if frame[12:14] in (b"\x08\x00", b"\x86\xdd") and frame[at + 2:at + 4] == struct.pack("!H", 4242) and frame[at:at + 2] == struct.pack("!H", port):
        print("answer:", frame[at + 8:].decode(errors="replace").strip())
        sys.exit()
print("no answer")
