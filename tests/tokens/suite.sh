#!/usr/bin/env bash
# Runs the keystore's tests and the end-to-end suite on one kind of token and with one sealing scheme:
#   tests/tokens/suite.sh softhsm2|kryoptic|tpm2|module resident|derived
# and says what passed, and which tests were skipped there and why. For a real module set STRONGROOM_TEST_MODULE,
# STRONGROOM_TEST_PROFILE, STRONGROOM_TEST_LABEL, STRONGROOM_TEST_PIN_FILE and, if it reads variables, STRONGROOM_TEST_ENVIRONMENT; see
# tests/src/token.rs. The token must be initialised; keys of ours that it makes there (labels sr:...) stay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() { printf 'suite.sh: %s\n' "$*" >&2; exit 1; }
[ $# = 2 ] || fail "say which token and scheme: softhsm2|kryoptic|tpm2|module resident|derived"
token=$1 scheme=$2

. tests/install.sh
need cargo "" "Rust with cargo (https://rustup.rs)"
case $token in
  softhsm2)
    need softhsm2-util softhsm2 "SoftHSM 2" ;;
  kryoptic)
    need cc gcc "a C compiler"
    need pkg-config pkg-config "pkg-config"
    need pkcs11-tool opensc "OpenSC"
    need_file libclang-dev "libclang" /usr/lib/llvm-*/lib/libclang*.so /usr/lib64/libclang.so
    need_file libssl-dev "OpenSSL's headers" /usr/include/openssl/ssl.h
    need_file libsqlite3-dev "SQLite's headers" /usr/include/sqlite3.h ;;
  tpm2)
    PATH=$PATH:/usr/sbin
    need swtpm swtpm "swtpm"
    need tpm2-abrmd tpm2-abrmd "tpm2-abrmd"
    need dbus-daemon dbus-daemon "dbus-daemon"
    need tpm2_flushcontext tpm2-tools "tpm2-tools"
    need tpm2_ptool libtpm2-pkcs11-tools "tpm2_ptool"
    need_file libtpm2-pkcs11-1 "tpm2-pkcs11" /usr/lib/*/libtpm2_pkcs11.so.1 /usr/lib64/pkcs11/libtpm2_pkcs11.so
    need_file libtss2-tcti-swtpm0 "the TPM library for swtpm" /usr/lib/*/libtss2-tcti-swtpm.so.0
    need_file libtss2-tcti-tabrmd0 "the TPM library for tpm2-abrmd" /usr/lib/*/libtss2-tcti-tabrmd.so.0
    [ "$scheme" = derived ] || fail "a TPM seals with derived only: it unwraps no keys" ;;
  module) ;;
  *) fail "no such token: $token" ;;
esac
install_missing
[ "$token" != kryoptic ] || tests/tokens/kryoptic.sh >/dev/null

export STRONGROOM_TEST_TOKEN=$token STRONGROOM_TEST_SCHEME=$scheme INSTA_UPDATE=no RUST_BACKTRACE=0
# The keystore's own tests make keys of both schemes; the end-to-end suite keeps to the one. Everything is built as for the usual run,
# with --workspace: chosen packages would be built with other features, and other programs would be tested.
which='package(strongroom-tests)' others=(strongroom strongroom-proto strongroom-pkcs11-shim)
case $token in softhsm2 | kryoptic) which+=' or package(strongroom-agent)' ;; *) others+=(strongroom-agent) ;; esac
log=$(mktemp)
trap 'rm -f "$log"' EXIT
begun=$SECONDS
cargo build --workspace --bins --examples --locked
if cargo nextest --version >/dev/null 2>&1; then
  # A real token serves one test after the other.
  threads=(); [ "$token" != module ] || threads=(--test-threads 1)
  run=(cargo nextest run --workspace -E "$which" --locked --no-fail-fast --success-output final "${threads[@]}")
else
  threads=(); [ "$token" != module ] || threads=(--test-threads=1)
  run=(cargo test --workspace "${others[@]/#/--exclude=}" --locked --all-targets --no-fail-fast -- --show-output "${threads[@]}")
fi
passed=true
"${run[@]}" >"$log" 2>&1 || passed=false
$passed || cat "$log"
printf '%s, %s: ' "$token" "$scheme"
sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '^ *Summary|^test result' | sed 's/^ *//' | tail -n 1
printf '  %s s in all\n' $((SECONDS - begun))
sed 's/\x1b\[[0-9;]*m//g' "$log" | sed -n 's/^ *SKIPPED/  skipped/p' | sort | uniq -c
$passed
