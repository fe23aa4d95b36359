#!/usr/bin/env python3
"""Checks the dependency tree against deny.toml: licences, banned crates, sources, wildcards; lists duplicates.

Does what `cargo deny check licenses bans sources` does, for machines without cargo-deny. Exits 1 on a violation.
"""
import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def allowed(expression: str, allow: set[str]) -> bool:
    """An SPDX expression is fine if every AND part has an allowed OR choice. Old crates write '/' for OR."""
    expression = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|[^\s()]+", expression)
    position = 0

    def parse_or() -> bool:
        nonlocal position
        fine = parse_and()
        while position < len(tokens) and tokens[position] == "OR":
            position += 1
            fine = parse_and() or fine
        return fine

    def parse_and() -> bool:
        nonlocal position
        fine = parse_one()
        while position < len(tokens) and tokens[position] == "AND":
            position += 1
            fine = parse_one() and fine
        return fine

    def parse_one() -> bool:
        nonlocal position
        if tokens[position] == "(":
            position += 1
            fine = parse_or()
            position += 1
            return fine
        name = tokens[position]
        position += 1
        if position < len(tokens) and tokens[position] == "WITH":
            name += " WITH " + tokens[position + 1]
            position += 2
        return name in allow

    return parse_or()


def main() -> int:
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version", "1", "--locked"], cwd=ROOT, check=True, stdout=subprocess.PIPE
        ).stdout
    )
    allow = set(rules["licenses"]["allow"])
    banned = {rule["name"]: rule["reason"] for rule in rules["bans"]["deny"]}
    problems, versions = [], defaultdict(set)
    for package in metadata["packages"]:
        name = f"{package['name']} {package['version']}"
        versions[package["name"]].add(package["version"])
        if package["name"] in banned:
            problems.append(f"{name} is banned: {banned[package['name']]}")
        if not allowed(package["license"] or "none", allow):
            problems.append(f"{name} has the licence {package['license']}, which deny.toml does not allow")
        if not (package["source"] or "registry+").startswith("registry+"):
            problems.append(f"{name} comes from {package['source']}")
        if package["source"] is None:
            for dependency in package["dependencies"]:
                if dependency["req"] == "*" and dependency.get("path") is None:
                    problems.append(f"{name} asks for any version of {dependency['name']}")
    duplicates = sorted(name for name, found in versions.items() if len(found) > 1)
    print(f"dependencies: {len(metadata['packages'])} packages, in several versions: {', '.join(duplicates) or 'none'}")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
