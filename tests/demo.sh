#!/usr/bin/env bash
# The newcomer's command, checked: hsm-config/demo.sh sets everything up, and the codes it gives equal oathtool's.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
WORK=$(mktemp -d)
DEMO="$WORK/demo"
fail() { printf 'tests/demo.sh: %s\n' "$*" >&2; exit 1; }
stop() {
  if [ -f "$DEMO/agent.pid" ]; then
    local pid
    pid=$(cat "$DEMO/agent.pid")
    kill "$pid" 2>/dev/null || true
    # It still writes its last record: its folder goes only after it.
    for _ in $(seq 200); do [ -d "/proc/$pid" ] || break; sleep 0.05; done
  fi
  rm -rf -- "$WORK"
}
trap stop EXIT

# run WHO ARGUMENTS...: sets OUT, ERR and CODE.
run() {
  local who=$1
  shift
  CODE=0
  OUT=$(. "$DEMO/env.$who" && strongroom "$@" 2>"$WORK/err") || CODE=$?
  ERR=$(cat "$WORK/err")
}
expect() { [ "$CODE" -eq "$1" ] || fail "$2: exit $CODE instead of $1: $ERR"; }

"$ROOT/hsm-config/demo.sh" --dir "$DEMO" --no-ui </dev/null || fail "the demo failed"
"$ROOT/hsm-config/demo.sh" --dir "$DEMO" --no-ui </dev/null >/dev/null || fail "the demo failed when run again"

# The seed stands in the sample file; oathtool knows nothing of us.
seed=$(sed -n 's/.*Microsoft:admin@acme.*secret=\([A-Z2-7]*\).*/\1/p' "$ROOT/hsm-config/demo/acme.otpauth")
for try in 1 2 3; do
  before=$(oathtool --totp --base32 "$seed")
  run tech1 code acme/microsoft-admin
  after=$(oathtool --totp --base32 "$seed")
  [ "$before" = "$after" ] && break # else the window changed in between
done
expect 0 "tech1 takes a code"
[ "$OUT" = "$after" ] || fail "the code is not oathtool's"

[ "$(. "$DEMO/env.tech1" && strongroom ls --json | python3 -c 'import json,sys; print(*sorted({i["vault"] for i in json.load(sys.stdin)["items"]}))')" = "acme bluewater" ] ||
  fail "tech1 sees other vaults than acme and bluewater"
run tech2 code acme/microsoft-admin
expect 3 "tech2 asks for another client's account"
unassigned=$ERR
run tech2 code acme/no-such-account
expect 3 "tech2 asks for an account that does not exist"
[ "$unassigned" = "$ERR" ] || fail "an unassigned account differs from one that does not exist: $unassigned / $ERR"
run tech2 code nobody/no-such-account
expect 3 "tech2 asks for a client that does not exist"
[ "$unassigned" = "$ERR" ] || fail "an unassigned client differs from one that does not exist"
run admin code acme/microsoft-admin
[ "$CODE" -eq 3 ] || [ "$CODE" -eq 4 ] || fail "an admin asking for a code got exit $CODE"

run manager audit export acme --out "$WORK/export"
expect 0 "the manager exports the log"
run manager audit verify "$WORK/export"
expect 0 "the export verifies"

mkdir "$WORK/foreign" && : >"$WORK/foreign/precious"
if "$ROOT/hsm-config/demo.sh" --dir "$WORK/foreign" --reset --no-ui </dev/null >/dev/null 2>&1; then
  fail "--reset took a folder that the demo did not make"
fi
[ -f "$WORK/foreign/precious" ] || fail "--reset wiped a folder that the demo did not make"
pid=$(cat "$DEMO/agent.pid")
"$ROOT/hsm-config/demo.sh" --dir "$DEMO" --reset --no-ui </dev/null >/dev/null || fail "--reset failed"
[ "$(cat "$DEMO/agent.pid")" != "$pid" ] && [ ! -d "/proc/$pid" ] || fail "--reset left the old agent running"
echo "demo: ok"
