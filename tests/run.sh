#!/usr/bin/env bash
# Runs every check there is: formatting, lints, unit and end-to-end tests, documentation, dependencies.
# Installs what is missing with apt on Debian and Ubuntu; elsewhere it says what is needed.
# With --all the token tests and the end-to-end suite run on every kind of token too, not on SoftHSM only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'tests/run.sh: %s\n' "$*" >&2; exit 1; }

all=false
case "$*" in
  "") ;;
  --all) all=true ;;
  *) fail "usage: tests/run.sh [--all]" ;;
esac

say "Programs that the tests run"
. tests/install.sh
need cargo "" "Rust with cargo (https://rustup.rs)"
need cc gcc "a C compiler"
need ssh-keygen openssh-client "OpenSSH"
need softhsm2-util softhsm2 "SoftHSM 2"
need oathtool oathtool "oathtool"
need age age "age"
need openssl openssl "OpenSSL's command line"
need python3 python3 "Python 3"
need_file openssh-server "OpenSSH's server" /usr/sbin/sshd
need sqlite3 sqlite3 "SQLite's command line"
need_file rsyslog "rsyslog" /usr/sbin/rsyslogd
need_file faketime "libfaketime" /usr/lib/*/faketime/libfaketime.so.1
install_missing
tests/fetch-sk-dummy.sh
cargo fmt --version >/dev/null 2>&1 || fail "rustfmt is missing: rustup component add rustfmt"
cargo clippy --version >/dev/null 2>&1 || fail "clippy is missing: rustup component add clippy"

say "Formatting"
cargo fmt --all --check

say "Lints (warnings are errors)"
cargo clippy --workspace --all-targets --locked -- -D warnings

say "Dependencies: licences, bans, sources, duplicates"
python3 tests/check_dependencies.py
if cargo deny --version >/dev/null 2>&1; then
  cargo deny --offline check licenses bans sources
fi

say "Tests"
cargo build --workspace --bins --examples --locked
export INSTA_UPDATE=no RUST_BACKTRACE="${RUST_BACKTRACE:-0}"
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --locked --no-fail-fast
else
  cargo test --workspace --locked --all-targets --no-fail-fast
fi

if $all; then
  for suite in "softhsm2 resident" "softhsm2 derived" "kryoptic resident" "kryoptic derived" "tpm2 derived"; do
    say "Tests on every token: $suite"
    # shellcheck disable=SC2086 # two words
    tests/tokens/suite.sh $suite
  done
fi

say "Documentation tests and documentation (warnings are errors)"
cargo test --workspace --locked --doc
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --document-private-items

say "The newcomer's command"
# With the programs that were tested: a release build takes as long as all tests together.
STRONGROOM_DEMO_BINARIES="${CARGO_TARGET_DIR:-target}/debug" tests/demo.sh

say "Shell scripts"
for script in tests/*.sh tests/tokens/*.sh hsm-config/*.sh .ci/run; do bash -n "$script"; done

say "All checks passed"
