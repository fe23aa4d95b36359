#!/usr/bin/env python3
"""Checks a Strongroom export folder with Python 3 and openssl alone (format: AUDIT-FORMAT.md).

usage: verify.py FOLDER [--key SHA256:FINGERPRINT | --key PUBLIC-KEY-FILE] [--against KEPT-CHECKPOINT]
Exit code: 0 complete and unaltered, 1 not, 2 wrong usage.
"""
import argparse, base64, binascii, gc, hashlib, json, os, subprocess, sys, tempfile

SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")  # P-256, before the point (RFC 5480)
sha256 = lambda data: hashlib.sha256(data).digest()
decode = lambda text: base64.b64decode(text, validate=True)
parse = json.JSONDecoder().decode
gc.disable()  # nothing here makes cycles, and looking for them takes a tenth of the time

def need(condition, sentence):
    if not condition:
        sys.exit(f"NOT VERIFIED: {sentence}")

def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read(32769)

def ssh_blob(text):
    """The OpenSSH form of a P-256 key that comes as PEM or as an OpenSSH line."""
    if not text.lstrip().startswith("-----"):
        return decode(text.split()[1])
    der = decode("".join(text.strip().splitlines()[1:-1]))
    need(der[:26] == SPKI and len(der) == 91, "log.pub is no P-256 key")
    return b"".join(len(part).to_bytes(4, "big") + part for part in (b"ecdsa-sha2-nistp256", b"nistp256", der[26:]))

def fingerprint(blob):
    return "SHA256:" + base64.b64encode(sha256(blob)).decode().rstrip("=")

def signed(key, text, signature):
    """Whether the key made this ECDSA signature (DER) over the text."""
    with tempfile.TemporaryDirectory() as scratch:
        with open(f"{scratch}/key", "wb") as file: file.write(SPKI + key[-65:])
        with open(f"{scratch}/sig", "wb") as file: file.write(signature)
        check = ["openssl", "dgst", "-sha256", "-keyform", "DER", "-verify", f"{scratch}/key", "-signature", f"{scratch}/sig"]
        return subprocess.run(check, input=text.encode(), capture_output=True).returncode == 0

def checkpoint(text, name, keys):
    """Origin, size and root of a signed note (C2SP tlog-checkpoint) that one of the keys signed."""
    body, _, signatures = text.rpartition("\n\n")
    lines = body.split("\n")
    need(len(lines) == 3 and signatures.endswith("\n"), f"{name} is no checkpoint")
    found = [decode(line.rsplit(" ", 1)[1]) for line in signatures.splitlines() if line.startswith(f"\u2014 {lines[0]} ")]
    own = [(key, sig[4:]) for key in keys for sig in found if sig[:4] == sha256(SPKI + key[-65:])[:4]]
    need(own, f"{name} is not signed by the key of this log")
    need(all(signed(key, body + "\n", sig) for key, sig in own), f"the signature on {name} is false, or its text was changed")
    return lines[0], int(lines[1]), decode(lines[2])

def leading_to(key, path, origin):
    """The key and those that vouched for it, directly or by way of others (log.keys)."""
    keys, pairs = [key], []
    for line in open(path, encoding="utf-8") if os.path.exists(path) else ():
        said = json.loads(line)
        text = "strongroom-log-key-v1\norganisation {organisation}\nold {old}\nnew {new}\nat {at}\n".format(**said)
        pair = [ssh_blob(said["old"]), ssh_blob(said["new"])]
        need(origin.split("/")[1] == said["organisation"], "log.keys is about another organisation")
        need(all(signed(k, text, decode(said[f"{which}_signature"])) for k, which in zip(pair, ("old", "new"))), "a statement in log.keys is false")
        pairs.append(pair)
    for after in keys:
        keys += [old for old, new in pairs if new == after and old not in keys]
    return keys

def root(subtrees):
    hashes = [node for _, node in subtrees] or [sha256(b"")]
    while len(hashes) > 1:
        hashes[-2:] = [sha256(b"\1" + hashes[-2] + hashes[-1])]
    return hashes[0]

def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n")[2][7:])
    parser.add_argument("folder"); parser.add_argument("--key"); parser.add_argument("--against")
    args = parser.parse_args()
    inside = lambda name: os.path.join(args.folder, name)
    key = ssh_blob(read(inside("log.pub")))
    keys = leading_to(key, inside("log.keys"), read(inside("checkpoint")).split("\n")[0])
    if args.key:
        pinned = args.key if args.key.startswith("SHA256:") else fingerprint(ssh_blob(read(args.key)))
        need(pinned in map(fingerprint, keys), f"log.pub is the key {fingerprint(key)}, but {pinned} is pinned")
    origin, size, final = checkpoint(read(inside("checkpoint")), "checkpoint", [key])
    marks = [(size, final, "checkpoint")]
    older = [(inside(f"checkpoints/{n}"), f"checkpoints/{n}") for n in os.listdir(inside("checkpoints"))] if os.path.isdir(inside("checkpoints")) else []
    for path, name in older + ([(args.against, "the checkpoint that you kept")] if args.against else []):
        log, at, older_root = checkpoint(read(path), name, keys)
        need(log == origin and at <= size, f"{name} is of another log, or covers more than the newest: rolled back?")
        marks.append((at, older_root, name))

    def state(count, first):
        """What the pruned records had said, and how it is named; its first record is there in full."""
        with open(inside("state.json"), "rb") as file: text = file.read(2**28)
        told = json.loads(text)
        same = told["v"] == 1 and told["log"] == origin and told["size"] == count and sha256(b"\0" + told["genesis"].encode()) == first
        need(same, f"state.json does not tell of the {count} records that were pruned")
        return told["last_at"], hashlib.sha256(text).hexdigest()
    def openings():
        """The openings, ascending by record; then one that belongs to none."""
        if os.path.exists(inside("openings.ndjson")):
            with open(inside("openings.ndjson"), encoding="utf-8") as file:
                yield from map(parse, file)
        yield {"seq": None}
    opened, due = openings(), {}
    for at, expected, name in marks:
        due.setdefault(at, []).append((expected, name))
    def reached():
        nonlocal intact
        for expected, name in sorted(due.get(seq, [])):
            need(root(subtrees) == expected, f"records {intact} to {seq - 1} are not what {name} was signed over")
        intact = seq if seq in due else intact
    seq, before, subtrees, intact, withheld, opening, prefix = 0, "", [], 0, 0, next(opened), {}
    gone, first, snapshot, said = 0, None, None, {}
    place = lambda: f"record {seq} (line {seq + 1})"
    reached()
    with open(inside("log.ndjson"), "rb") as file:
        while line := file.readline(8193):
            seq < size or need(False, f"the checkpoint covers {size} records, but the log goes on with {place()}")
            line[-1] == 10 or need(False, f"{place()} is cut off or too long")
            pruned = line.startswith(b'{"leaf":"')
            try:
                record = parse(line.decode())
                if pruned:
                    gone == seq or need(False, f"only a hash is there of {place()}, which was not pruned")
                    leaf, gone, record = decode(record["leaf"]), seq + 1, {"log": origin, "seq": seq, "ts": before}
                    len(leaf) == 32 and len(line) == 56 or need(False, f"{place()} is no record")
                    first = first or leaf
                elif gone and not snapshot:
                    before, snapshot = state(gone, first)
                record["log"] == origin or need(False, f"{place()} belongs to another log: {record['log']!a}")
                record["seq"] == seq or need(False, f"record {seq} is missing: line {seq + 1} holds record {record['seq']!a}")
                record["ts"] >= before or need(False, f"{place()} is dated before the record before it")
                commitments = dict(record.get("h", {}))
            except (ValueError, KeyError, TypeError):
                need(False, f"{place()} is no record")
            if gone and record.get("outcome") == "ok" and record.get("event") in ("log.snapshot", "log.prune"):
                detail = record.get("detail", {})
                said[record["event"], detail.get("size", detail.get("until")), detail.get("sha256", detail.get("snapshot"))] = record
            leaf, level, before = leaf if pruned else sha256(b"\0" + line[:-1]), 0, record["ts"]
            while subtrees and subtrees[-1][0] == level:
                leaf, level = sha256(b"\1" + subtrees.pop()[1] + leaf), level + 1
            subtrees.append((level, leaf))
            while opening["seq"] == seq:
                field = opening["field"]
                if field not in prefix:
                    prefix[field] = b"\1" + len(field.encode()).to_bytes(4, "big") + field.encode()
                salt = binascii.a2b_base64(opening["salt"]) if len(opening["salt"]) == 24 else b""
                value = sha256(prefix[field] + salt + opening["value"].encode())
                if len(salt) != 16 or commitments.pop(field, "") != binascii.b2a_base64(value, newline=False).decode():
                    need(False, f"an opening is false: {field!a} of {place()}")
                opening = next(opened)
            withheld, seq = withheld + len(commitments), seq + 1
            if seq in due:
                reached()
    need(seq == size, f"the log ends after {seq} records, but the checkpoint covers {size}")
    prune = said.get(("log.prune", gone, snapshot), {})
    need(not gone or prune and ("log.snapshot", gone, snapshot) in said, f"only hashes are there of {gone} records, and the log does not say that they were pruned")
    need(opening["seq"] is None, f"openings.ndjson is out of order, or opens a record that the log does not have: [{opening['seq']!a}]")
    print(f"verified: {origin}, {size} records, {withheld} values withheld, key {fingerprint(key)}")
    if gone:
        print(f"records 0 to {gone - 1} were pruned at {prune['ts']} (record {prune['seq']}): their hashes prove that nothing else was changed")
    if not args.key:
        print("unpinned: the key came with the folder, so anybody could have made all of it; name it with --key")

try:
    main()
except (OSError, ValueError, LookupError, TypeError) as error:
    need(False, f"the folder is broken: {error!a}")
