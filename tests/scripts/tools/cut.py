#!/usr/bin/python3
"""cut.py pour connect|listen HOST PORT BYTES: sends that many bytes, 0 for ever, and closes. A listener does so for each client.
cut.py take connect|listen HOST PORT: reads to the end; says "begun" meanwhile, and at last how many bytes there were and how it ended.
cut.py take-late connect|listen HOST PORT: ends its own direction first, and reads from SIGUSR1 on."""
import errno, signal, socket, sys, threading
what, way, host, port = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
def say(s):
    print(s, flush=True)
def pour(s):
    piece, left = bytes(65536), int(sys.argv[5])
    with s:
        if left == 0:
            while True:
                s.sendall(piece)
        while left > 0:
            s.sendall(piece[:left])
            left -= len(piece)
    say("closed")
def take(s):
    if what == "take-late":
        s.shutdown(socket.SHUT_WR)
        say("connected")
        signal.sigwait({signal.SIGUSR1})
    n = 0
    try:
        while b := s.recv(65536):
            if n < 1000000 <= n + len(b):
                say("begun")
            n += len(b)
        say(f"{n} bytes, end")
    except OSError as e:
        say(f"{n} bytes, {errno.errorcode[e.errno]}")
do = pour if what == "pour" else take
if way == "connect":
    do(socket.create_connection((host, port), 20))
else:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    say("ready")
    while True:
        threading.Thread(target=do, args=(listener.accept()[0],), daemon=True).start()
