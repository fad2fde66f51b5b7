#!/usr/bin/python3
"""stream.py serve PORT: says back what it hears, over TCP of both families.
stream.py HOST PORT FILE: one connection to such a server, with traffic in both directions until FILE is there; then says whether all has come back."""
import os, socket, sys, threading
if sys.argv[1] == "serve":
    def serve(s):
        with s:
            while data := s.recv(65536):
                s.sendall(data)
    listener = socket.create_server(("::", int(sys.argv[2])), family=socket.AF_INET6, dualstack_ipv6=True)
    print("ready", flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
sent, over = 0, False
def block(n):
    return b"".join(b"%015d\n" % i for i in range(n, n + 256))
while not over:
    over = os.path.exists(sys.argv[3])
    data = block(sent)
    s.sendall(data)
    heard = b""
    while len(heard) < len(data):
        chunk = s.recv(65536)
        if not chunk:
            sys.exit("the end, too early")
        heard += chunk
    if heard != data:
        sys.exit("not the same has come back")
    if sent == 0:
        print("begun", flush=True)
    sent += 256
print("whole", flush=True)
