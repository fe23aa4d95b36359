"""A Strongroom client in the standard library and ssh-keygen, written from proto/PROTOCOL.md alone.

usage: python_client.py SOCKET IDENTITY KEY_FILE PINNED_AGENT_KEY VAULT/ACCOUNT     prints the code
"""

import datetime
import json
import re
import secrets
import socket
import subprocess
import sys
import tempfile

path, identity, key_file, pinned, account = sys.argv[1:]
stream = socket.socket(socket.AF_UNIX)
stream.settimeout(35)
stream.connect(path)
lines = stream.makefile("r", encoding="utf-8", newline="\n")
calls = 0


def call(method, **params):
    global calls
    calls += 1
    request = {"jsonrpc": "2.0", "id": calls, "method": method, "params": params}
    stream.sendall(json.dumps(request).encode() + b"\n")
    answer = json.loads(lines.readline())
    if answer["id"] != calls:
        sys.exit("the answer is to another call")
    if "error" in answer:
        sys.exit("{}: {}".format(answer["error"]["data"]["kind"], answer["error"]["message"]))
    return answer["result"]


def ssh_keygen(*arguments, text):
    return subprocess.run(["ssh-keygen", *arguments], input=text, check=True, text=True, capture_output=True).stdout


def fingerprint(key):
    return ssh_keygen("-l", "-f", "-", text=key + "\n").split()[1]


def verify(key, namespace, signature, text):
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/signers", "w") as signers:
            signers.write('agent namespaces="{}" {}\n'.format(namespace, key))
        with open(folder + "/signature", "w") as armoured:
            armoured.write(signature)
        ssh_keygen("-Y", "verify", "-f", folder + "/signers", "-I", "agent", "-n", namespace,
                   "-s", folder + "/signature", text=text)


def text_of(*parts):
    return "".join(part + "\n" for part in parts)


with open(key_file + ".pub") as public:
    own_key = " ".join(public.read().split()[:2])
client_nonce = secrets.token_hex(32)
opened = call("session.open", protocol=1, client="python-client/1", identity=identity, public_key=own_key,
              client_nonce=client_nonce)

agent_key, endorsement = opened["agent_key"], opened["endorsement"]
if agent_key != pinned:
    sys.exit("this agent is not the pinned one")
uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
if not (agent_key.startswith("ecdsa-sha2-nistp256 ") and endorsement["session_key"].startswith("ssh-ed25519 ")
        and re.fullmatch("[0-9a-f]{64}", opened["nonce"]) and re.fullmatch(uuid, opened["instance"])):
    sys.exit("the agent's answer is malformed")
agent, instance = "agent " + fingerprint(agent_key), "instance " + opened["instance"]
verify(agent_key, "strongroom-endorse@v1", endorsement["signature"], text_of(
    "strongroom-endorse-v1", agent, instance, "session-key " + endorsement["session_key"],
    "not-before " + endorsement["not_before"], "not-after " + endorsement["not_after"]))
first, last = (datetime.datetime.fromisoformat(re.sub(r"\.\d+", "", endorsement[name]).replace("Z", "+00:00"))
               for name in ("not_before", "not_after"))
now, skew = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(minutes=5)
if not (first - skew <= now <= last + skew and last - first <= datetime.timedelta(hours=24)):
    sys.exit("the agent's endorsement has run out")
verify(endorsement["session_key"], "strongroom-agent@v1", opened["agent_signature"], text_of(
    "strongroom-agent-v1", instance, "client-nonce " + client_nonce, "nonce " + opened["nonce"]))

login = text_of("strongroom-login-v1", agent, instance, "nonce " + opened["nonce"], "key " + fingerprint(own_key),
                "identity " + identity, "purpose login")
call("session.prove", signature=ssh_keygen("-Y", "sign", "-n", "strongroom-login@v1", "-f", key_file, text=login))
print(call("code.release", account=account)["code"])
