#!/usr/bin/python3
"""udp-watch.py HOST PORT: asks a server again and again from one port, and says whenever what comes of it changes."""
import errno, socket, sys, time
host, port = sys.argv[1], int(sys.argv[2])
v6 = ":" in host
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(*(socket.IPPROTO_IPV6, 25, 1) if v6 else (socket.IPPROTO_IP, 11, 1))  # RECVERR
s.settimeout(0.5)
s.connect((host, port))
last = None
while True:
    try:
        s.send(b"who")
        said = "answer: " + s.recv(1000).decode().strip().rsplit(":", 1)[0]
    except TimeoutError:
        continue
    except OSError as e:
        said = errno.errorcode.get(e.errno, str(e))
    if said != last:
        print(said, flush=True)
        last = said
    time.sleep(0.1)
