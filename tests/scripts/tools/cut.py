#!/usr/bin/python3
"""cut.py pour connect|listen HOST PORT BYTES: sends that many bytes, 0 for ever, and closes. A listener does so for each client.
cut.py take connect|listen HOST PORT: reads to the end; says "begun" meanwhile, and at last how many bytes there were and how it ended.
cut.py take dial CONTAINER PORT: by footbridge dial, whose exit status says how it ended, with its input open.
cut.py take proxy CONTAINER PORT: by footbridge proxy on 127.0.0.1:1080, whose token is in the file of that name.
cut.py take-late connect|listen HOST PORT: ends its own direction first, and reads from SIGUSR1 on."""
import base64, errno, signal, socket, subprocess, sys, threading
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
def count(read):
    n = 0
    while b := read(65536):
        if n < 1000000 <= n + len(b):
            say("begun")
        n += len(b)
        yield n
def take(s):
    if what == "take-late":
        s.shutdown(socket.SHUT_WR)
        say("connected")
        signal.sigwait({signal.SIGUSR1})
    n = 0
    try:
        for n in count(s.recv):
            pass
        say(f"{n} bytes, end")
    except OSError as e:
        say(f"{n} bytes, {errno.errorcode[e.errno]}")
def take_dial():
    n = 0
    p = subprocess.Popen(["footbridge", "dial", f"{host}:{port}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for n in count(p.stdout.read1):
        pass
    say(f"{n} bytes, exit status {p.wait()}")
def by_proxy():
    s = socket.create_connection(("127.0.0.1", 1080), 20)
    user = base64.b64encode(b"x:" + open("token", "rb").read().strip()).decode()
    s.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic {user}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        if not (b := s.recv(1)):
            sys.exit(f"refused: {answer}")
        answer += b
    return s
do = pour if what == "pour" else take
if way == "dial":
    take_dial()
elif way == "proxy":
    take(by_proxy())
elif way == "connect":
    do(socket.create_connection((host, port), 20))
else:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    say("ready")
    while True:
        threading.Thread(target=do, args=(listener.accept()[0],), daemon=True).start()
