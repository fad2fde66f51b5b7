#!/usr/bin/python3
"""tcp.py half-close|reset|greeting HOST PORT [BYTES]: a conversation that ends in a special way; says how it went."""
import errno, hashlib, socket, sys
what, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.create_connection((host, port), 20)
def rest():
    b = b""
    while chunk := s.recv(65536):
        b += chunk
    return b.decode().strip()
try:
    if what == "half-close":     # send all, end our half, only then hear the answer
        data = (b"0123456789abcde\n" * (int(sys.argv[4]) // 16 + 1))[:int(sys.argv[4])]
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        answer = rest()
        print("all arrived" if answer == f"{len(data)} {hashlib.sha256(data).hexdigest()}" else "not the same: " + answer)
    elif what == "reset":        # the other side answers with RST
        s.sendall(b"x")
        print("answer: " + rest())
    elif what == "greeting":     # the other side ends its half; ours still works
        print("heard: " + rest())
        for _ in range(50):
            s.sendall(b"x" * 1000)
        s.shutdown(socket.SHUT_WR)
        print("could still write")
except OSError as e:
    print(errno.errorcode.get(e.errno, str(e)))
