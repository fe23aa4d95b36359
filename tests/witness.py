#!/usr/bin/env python3
"""A witness for tests: the other party of C2SP tlog-witness, with Python's standard library and openssl alone.

usage: witness.py vkey  NAME KEY
       witness.py serve NAME KEY LOG-KEY STATE SOCKET [LIE]     HTTP over a Unix socket
       witness.py once  NAME KEY LOG-KEY STATE [LIE]            one request on standard input, body and status on standard output

KEY is an Ed25519 private key and LOG-KEY the log's public key, both PEM; STATE is a file. LIE makes it a bad witness: garbage,
huge, hang, forge (signs something else), blank (an answer without a line).
"""
import base64, hashlib, http.server, json, os, socketserver, subprocess, sys, tempfile, threading, time

sha256 = lambda data: hashlib.sha256(data).digest()
b64 = lambda data: base64.b64encode(data).decode()
LOCK = threading.Lock()


def openssl(*arguments, data=b""):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True)


def public(key):
    return openssl("pkey", "-in", key, "-pubout", "-outform", "DER").stdout[-32:]


def key_id(name, key):
    return sha256(name.encode() + b"\n\x04" + public(key))[:4]


def node(left, right):
    return sha256(b"\1" + left + right)


def consistent(old, old_root, new, new_root, proof):
    """RFC 9162, section 2.1.4.2."""
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof
    if old & (old - 1) == 0:
        proof = [old_root] + proof
    if not proof:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for hash in proof[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(hash, fr), node(hash, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, hash)
        fn, sn = fn >> 1, sn >> 1
    return fr == old_root and sr == new_root and sn == 0


def signed_by_log(note, log_key):
    body, _, signatures = note.rpartition("\n\n")
    body += "\n"
    origin = body.split("\n")[0]
    der = openssl("pkey", "-pubin", "-in", log_key, "-outform", "DER").stdout
    for line in signatures.splitlines():
        mark, name, blob = line.split(" ")
        blob = base64.b64decode(blob)
        if name == origin and blob[:4] == sha256(der)[:4]:
            with tempfile.NamedTemporaryFile() as signature:
                signature.write(blob[4:]), signature.flush()
                check = openssl("dgst", "-sha256", "-verify", log_key, "-signature", signature.name, data=body.encode())
            return check.returncode == 0
    return False


def cosign(body, name, key):
    now = int(time.time())
    with tempfile.NamedTemporaryFile() as text:
        text.write(f"cosignature/v1\ntime {now}\n{body}".encode()), text.flush()
        signature = openssl("pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", text.name).stdout
    return f"\u2014 {name} {b64(key_id(name, key) + now.to_bytes(8, 'big') + signature)}\n"


def add_checkpoint(request, name, key, log_key, state):
    """Status and body."""
    try:
        head, _, note = request.partition("\n\n")
        lines = head.split("\n")
        old, proof = int(lines[0].removeprefix("old ")), [base64.b64decode(line) for line in lines[1:]]
        body = note.rpartition("\n\n")[0] + "\n"
        origin, size, root = body.split("\n")[0], int(body.split("\n")[1]), base64.b64decode(body.split("\n")[2])
    except (ValueError, IndexError):
        return 400, ""
    if not origin.startswith("strongroom/"):
        return 404, ""
    if not signed_by_log(note, log_key):
        return 403, ""
    if old > size:
        return 400, ""
    with LOCK:
        logs = json.load(open(state)) if os.path.exists(state) else {}
        known, known_root = logs.get(origin, [0, b64(sha256(b""))])
        known_root = base64.b64decode(known_root)
        if old != known or (old == size and root != known_root):
            return 409, f"{known}\n"
        if not consistent(old, known_root, size, root, proof):
            return 422, ""
        logs[origin] = [size, b64(root)]
        json.dump(logs, open(state + ".new", "w"))
        os.replace(state + ".new", state)
    return 200, cosign(body, name, key)


def lying(lie, answer, name, key):
    if lie == "garbage":
        return 200, "\u2014 nothing at all\n\0\n"
    if lie == "huge":
        return 200, "x" * 10_000_000 + "\n"
    if lie == "hang":
        time.sleep(3600)
    if lie == "forge":
        return 200, cosign("another log\n1\nAAAA\n", name, key)
    if lie == "blank":
        return 200, "\n"
    return answer


def main():
    mode, name, key = sys.argv[1:4]
    if mode == "vkey":
        print(f"{name}+{key_id(name, key).hex()}+{b64(bytes([4]) + public(key))}")
        return
    log_key, state = sys.argv[4:6]
    lie = sys.argv[7 if mode == "serve" else 6 :][:1]

    def answer(request):
        said = add_checkpoint(request, name, key, log_key, state)
        return lying(lie[0], said, name, key) if lie else said

    if mode == "once":
        status, body = answer(sys.stdin.read())
        print(body, end="")
        print(status)
        return

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            status, body = answer(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status = status if self.path == "/add-checkpoint" else 404
            self.send_response(status)
            if status == 409:
                self.send_header("Content-Type", "text/x.tlog.size")
            self.end_headers()
            try:
                self.wfile.write(body.encode())
            except OSError:
                pass

        def address_string(self):
            return "socket"

        def log_message(self, *_):
            pass

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    Server(sys.argv[6], Handler).serve_forever()


main()
