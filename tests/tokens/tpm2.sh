#!/bin/sh
# Runs a software TPM with a PKCS#11 token in a folder, until standard input ends: tpm2.sh FOLDER LABEL PIN SO_PIN SPARES
# Prints the variables that the module needs, then an empty line. The token gets what Strongroom cannot make on a TPM by
# itself: the agent identity, the store key, and SPARES keys for vaults to come, as an operator prepares them.
#
# swtpm is the TPM. tpm2-abrmd shares it, as the kernel's /dev/tpmrm0 does with a real one: a TPM has room for three keys
# at a time. It speaks over a message bus, so there is one of our own.
set -eu

[ $# = 5 ] || { echo "usage: tpm2.sh FOLDER LABEL PIN SO_PIN SPARES" >&2; exit 2; }
folder=$1 label=$2 pin=$3 so_pin=$4 spares=$5
PATH=$PATH:/usr/sbin:/sbin
for program in swtpm tpm2-abrmd dbus-daemon tpm2_ptool tpm2_flushcontext; do
    command -v "$program" >/dev/null || { echo "tpm2.sh: $program is missing: tests/run.sh --all installs it" >&2; exit 1; }
done

mkdir -p "$folder/tpm" "$folder/store"
log=$folder/log
running=
end() {
    for pid in $running; do kill "$pid" 2>/dev/null || :; done
    wait
}
trap end EXIT
trap 'exit 1' HUP INT TERM

patiently() { # until a command succeeds, for 10 s
    tries=0
    until "$@" >>"$log" 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { cat "$log" >&2; echo "tpm2.sh: gave up: $*" >&2; exit 1; }
        sleep 0.1
    done
}

swtpm socket --tpm2 --tpmstate "dir=$folder/tpm" --flags not-need-init,startup-clear \
    --server "type=unixio,path=$folder/tpm.sock" --ctrl "type=unixio,path=$folder/tpm.sock.ctrl" \
    >>"$log" 2>&1 </dev/null &
running="$!"
dbus-daemon --session --nofork --nopidfile --address="unix:path=$folder/bus" >>"$log" 2>&1 </dev/null &
running="$! $running"
patiently test -S "$folder/tpm.sock"
patiently test -S "$folder/bus"
export DBUS_SESSION_BUS_ADDRESS="unix:path=$folder/bus"
tpm2-abrmd --session --allow-root --logger=stdout --tcti="swtpm:path=$folder/tpm.sock" >>"$log" 2>&1 </dev/null &
running="$! $running"

export TPM2TOOLS_TCTI=tabrmd:bus_type=session
export TPM2_PKCS11_TCTI=tabrmd:bus_type=session
export TPM2_PKCS11_STORE="$folder/store"
patiently tpm2_flushcontext --transient-object
add() { tpm2_ptool addkey --label="$label" --userpin="$pin" --algorithm="$1" --key-label="$2" >>"$log" 2>&1; }
{
    [ -n "$(ls "$TPM2_PKCS11_STORE")" ] || {
        tpm2_ptool init >>"$log" 2>&1 &&
        tpm2_ptool addtoken --pid=1 --label="$label" --userpin="$pin" --sopin="$so_pin" >>"$log" 2>&1 &&
        add ecc256 sr:agent-identity &&
        add hmac:sha256 sr:store-keys
    } &&
    while [ "$spares" -gt 0 ]; do
        add hmac:sha256 "sr:spare:$spares"
        spares=$((spares - 1))
    done
} || { cat "$log" >&2; echo "tpm2.sh: the token could not be prepared" >&2; exit 1; }

printf '%s=%s\n' DBUS_SESSION_BUS_ADDRESS "$DBUS_SESSION_BUS_ADDRESS" TPM2_PKCS11_TCTI "$TPM2_PKCS11_TCTI" \
    TPM2_PKCS11_STORE "$TPM2_PKCS11_STORE"
echo
cat >/dev/null
