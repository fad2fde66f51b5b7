#!/usr/bin/python3
"""web.py PORT NAME [ADDRESS]: an HTTP server that answers with its name and the client's address. Both families."""
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"{sys.argv[2]} sees {self.client_address[0].removeprefix('::ffff:')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 512
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()
address = (sys.argv[3:] or ["::"])[0]
if ":" not in address:
    address = "::ffff:" + address
Server((address, int(sys.argv[1])), Handler).serve_forever()
