#!/usr/bin/env bash
# A whole Strongroom in a private folder: builds it, makes a SoftHSM token, starts the agent, enrols five people, imports
# sample accounts for three clients, and opens the full screen as tech1. Run it again to come back.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PEOPLE=(tech1 tech2 manager admin auditor)
MARKER=.strongroom-demo

usage() {
  cat <<HELP
usage: hsm-config/demo.sh [--dir DIR] [--no-ui] [--reset]
  --dir DIR   the demo's folder (default: ${XDG_DATA_HOME:-~/.local/share}/strongroom-demo)
  --no-ui     leave the agent running and say how to go on, instead of opening the screen
  --reset     stop the demo's agent and wipe its folder first; refused for a folder that this script did not make
HELP
}
fail() { printf 'demo.sh: %s\n' "$1" >&2; [ -z "${2:-}" ] || printf 'hint: %s\n' "$2" >&2; exit 1; }
say() { printf '%s\n' "$*"; }

DIR=${XDG_DATA_HOME:-$HOME/.local/share}/strongroom-demo
UI=1
RESET=0
while [ $# -gt 0 ]; do
  case $1 in
    --dir) [ $# -ge 2 ] || { usage >&2; exit 2; }; DIR=$2; shift 2 ;;
    --no-ui) UI=0; shift ;;
    --reset) RESET=1; shift ;;
    -h|--help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
case $DIR in *[\"\\]*|*$'\n'*) fail "the folder's name has a quote, a backslash or a line break: choose another" ;; esac

# The agent of this demo, if it runs: the process id alone could be somebody else's by now.
agent_pid() {
  local pid
  [ -f "$DIR/agent.pid" ] || return 1
  pid=$(cat "$DIR/agent.pid")
  [ -n "$pid" ] && [ -r "/proc/$pid/cmdline" ] && tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF "$DIR/agent.toml" || return 1
  printf '%s' "$pid"
}
stop_agent() {
  local pid
  pid=$(agent_pid) || return 0
  kill -TERM "$pid" 2>/dev/null || return 0
  for _ in $(seq 200); do [ -d "/proc/$pid" ] || return 0; sleep 0.05; done
  fail "the demo's agent (process $pid) does not end" "look at $DIR/agent.log"
}

# 1. Programs
. "$ROOT/tests/install.sh"
need cargo "" "Rust with cargo (https://rustup.rs)"
need cc gcc "a C compiler"
need softhsm2-util softhsm2 "SoftHSM 2"
need ssh-keygen openssh-client "OpenSSH"
install_missing
MODULE=""
for candidate in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/softhsm/libsofthsm.so /usr/local/lib/softhsm/libsofthsm2.so /opt/homebrew/lib/softhsm/libsofthsm2.so; do
  [ -e "$candidate" ] && { MODULE=$candidate; break; }
done
[ -n "$MODULE" ] || fail "SoftHSM's module libsofthsm2.so was not found" "install the package softhsm2"

# 2. Build
# STRONGROOM_DEMO_BINARIES names a folder of programs that are built already: the tests have them.
BIN=${STRONGROOM_DEMO_BINARIES:-}
if [ -z "$BIN" ]; then
  say "Building Strongroom (the first time takes some minutes) ..."
  (cd "$ROOT" && cargo build --release --locked --quiet --bin strongroom --bin strongroom-agent) || fail "the build failed" "see the lines above"
  BIN=${CARGO_TARGET_DIR:-$ROOT/target}/release
fi
case $BIN in /*) ;; *) BIN=$ROOT/$BIN ;; esac

# 3. The folder
umask 077
if [ $RESET -eq 1 ] && [ -e "$DIR" ]; then
  [ -f "$DIR/$MARKER" ] || fail "$DIR was not made by this script, so it is not wiped" "give another folder with --dir"
  stop_agent
  rm -rf -- "$DIR"
fi
if [ -e "$DIR" ] && [ ! -f "$DIR/$MARKER" ]; then
  [ -d "$DIR" ] && [ -z "$(ls -A "$DIR")" ] || fail "$DIR exists and is not this demo's" "give another folder with --dir"
fi
mkdir -p "$DIR" || fail "$DIR cannot be made" "give another folder with --dir"
chmod 700 "$DIR"
DIR=$(cd "$DIR" && pwd)
SOCKET=$DIR/run/agent.sock
[ ${#SOCKET} -le 100 ] || fail "$DIR is too long for a socket's path" "give a shorter folder with --dir"
: >"$DIR/$MARKER"
export SOFTHSM2_CONF=$DIR/softhsm2.conf

as() { # as WHO ARGUMENTS...: strongroom in the name of somebody
  local who=$1
  shift
  (. "$DIR/env.$who" && exec "$BIN/strongroom" "$@")
}

start_agent() {
  agent_pid >/dev/null && return 0
  setsid "$BIN/strongroom-agent" --config "$DIR/agent.toml" run >>"$DIR/agent.log" 2>&1 </dev/null &
  printf '%s' $! >"$DIR/agent.pid"
  for _ in $(seq 200); do
    (. "$DIR/env.tech1" && "$BIN/strongroom" status >/dev/null 2>&1) && return 0
    [ -d "/proc/$(cat "$DIR/agent.pid")" ] || break
    sleep 0.05
  done
  tail -n 5 "$DIR/agent.log" >&2
  fail "the agent does not start" "its log is $DIR/agent.log; 'demo.sh --reset' begins anew"
}

if [ ! -f "$DIR/complete" ]; then
  # A setup that broke off is begun anew: nothing in it is worth keeping.
  stop_agent
  find "$DIR" -mindepth 1 -maxdepth 1 ! -name "$MARKER" -exec rm -rf -- {} +

  say "Making a SoftHSM token with a random PIN ..."
  mkdir "$DIR/tokens" "$DIR/run" "$DIR/data" "$DIR/keys"
  printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$DIR/tokens" >"$SOFTHSM2_CONF"
  head -c 18 /dev/urandom | base64 | tr '+/' '-_' >"$DIR/pin"
  # softhsm2-util takes a PIN only on its command line, where other users can see it for a moment; the token has no keys
  # yet, and this one is a demo.
  softhsm2-util --init-token --free --label strongroom-demo --pin "$(cat "$DIR/pin")" --so-pin "$(head -c 18 /dev/urandom | base64)" >/dev/null ||
    fail "softhsm2-util could not make a token" "is the disk full?"
  cat >"$DIR/agent.toml" <<CONFIG
data_dir = "$DIR/data"
socket = "$SOCKET"
pin = { file = "$DIR/pin" }

[token]
module = "$MODULE"
label = "strongroom-demo"
storage = "$DIR/tokens"
CONFIG

  for who in "${PEOPLE[@]}"; do
    ssh-keygen -q -t ed25519 -N '' -C "$who@demo" -f "$DIR/keys/$who"
    cat >"$DIR/env.$who" <<ENV
export STRONGROOM_SOCK="$SOCKET"
export STRONGROOM_IDENTITY="$who"
export STRONGROOM_KEY="$DIR/keys/$who"
export STRONGROOM_KNOWN_AGENTS="$DIR/known_agents"
export PATH="$BIN:\$PATH"
ENV
  done

  say "Founding the organisation ..."
  "$BIN/strongroom-agent" --config "$DIR/agent.toml" init --admin admin --admin-name "Ada Admin" \
    --admin-key "$DIR/keys/admin.pub" --no-recovery 2>>"$DIR/agent.log" | tail -n 1 >"$DIR/known_agents"
  [ -s "$DIR/known_agents" ] || { tail -n 5 "$DIR/agent.log" >&2; fail "strongroom-agent init failed" "its log is $DIR/agent.log"; }
  start_agent

  say "Enrolling people, making vaults, importing sample accounts ..."
  as admin identity enrol tech1 --name "Tara Technician" --key "$DIR/keys/tech1.pub" -q
  as admin identity enrol tech2 --name "Tom Technician" --key "$DIR/keys/tech2.pub" -q
  as admin identity enrol manager --name "Mia Manager" --key "$DIR/keys/manager.pub" -q
  as admin identity enrol auditor --name "Otto Auditor" --key "$DIR/keys/auditor.pub" --role auditor -q
  as admin vault create acme --name "Acme Dental Group" -q
  as admin vault create bluewater --name "Bluewater Logistics" --scheme derived -q
  as admin vault create cafe --name "Café Ñandú & Söhne" -q
  for vault in acme bluewater cafe; do
    as admin grant give $vault manager manager -q
    as manager account import $vault --from "$ROOT/hsm-config/demo/$vault.otpauth" -q
  done
  as manager grant give acme tech1 viewer -q
  as manager grant give bluewater tech1 viewer -q
  as manager grant give cafe tech2 viewer -q
  : >"$DIR/complete"
fi
start_agent

if [ $UI -eq 1 ] && [ -t 0 ] && [ -t 1 ]; then
  . "$DIR/env.tech1"
  exec "$BIN/strongroom"
fi
cat <<NEXT
Strongroom runs in $DIR.
  Go on:   . "$DIR/env.tech1" && strongroom ls          (also: tech2 manager admin auditor)
           strongroom code acme/microsoft-admin
           strongroom                                   (full screen)
  Stop:    kill \$(cat "$DIR/agent.pid")
  Again:   hsm-config/demo.sh --dir "$DIR"
  Wipe:    hsm-config/demo.sh --dir "$DIR" --reset --no-ui
NEXT
