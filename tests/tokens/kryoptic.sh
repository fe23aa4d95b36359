#!/bin/sh
# Builds kryoptic, a second software token, as a PKCS#11 module, and prints the module's path. Does nothing if it is
# there. It takes some minutes, so it is kept outside the target folder, in ${XDG_CACHE_HOME:-~/.cache}/strongroom.
#
# The source is the published crate as cargo fetches and checks it, built from a copy with the crate's own lock file,
# without the parts that need OpenSSL 3.2 (Ed25519), so that it builds against Debian 12's.
set -eu

version=1.5.4
features=minimal,kryoptic-lib/dynamic,kryoptic-lib/hotp,kryoptic-lib/hkdf,kryoptic-lib/sp800_108
cache=${XDG_CACHE_HOME:-$HOME/.cache}/strongroom/kryoptic-$version
module=$cache/libkryoptic_pkcs11.so

say() { printf 'kryoptic.sh: %s\n' "$*" >&2; }

if [ -f "$module" ]; then
    echo "$module"
    exit 0
fi
command -v cargo >/dev/null || { say "needs cargo"; exit 1; }
mkdir -p "$cache"

# Two suites at once build once.
if command -v flock >/dev/null; then
    exec 9>"$cache/lock"
    flock 9
    if [ -f "$module" ]; then
        echo "$module"
        exit 0
    fi
fi

work=$cache/build
rm -rf "$work"
mkdir -p "$work/fetch/src"
cat >"$work/fetch/Cargo.toml" <<MANIFEST
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
publish = false

[workspace]

[dependencies]
kryoptic = { version = "=$version", default-features = false }
MANIFEST
: >"$work/fetch/src/lib.rs"
say "fetching the source of kryoptic $version"
cargo fetch --quiet --manifest-path "$work/fetch/Cargo.toml" >&2
manifest=$(cargo metadata --format-version 1 --locked --offline --manifest-path "$work/fetch/Cargo.toml" |
    tr ',{}' '\n\n\n' | sed -n "s|^\"manifest_path\":\"\(.*/kryoptic-$version/Cargo.toml\)\"\$|\1|p" | head -n 1)
[ -n "$manifest" ] || { say "cargo fetched no kryoptic $version"; exit 1; }
cp -R "$(dirname "$manifest")" "$work/source"
chmod -R u+w "$work/source"

say "building it (some minutes)"
jobs=${STRONGROOM_KRYOPTIC_JOBS:-}
cd "$work/source"
if ! grep -q '^\[workspace\]' Cargo.toml; then
    printf '\n[workspace]\n' >>Cargo.toml
fi
if ! CARGO_TARGET_DIR="$work/target" nice cargo build --quiet --release --locked ${jobs:+--jobs "$jobs"} \
    --no-default-features --features "$features" >"$cache/build.log" 2>&1; then
    cat "$cache/build.log" >&2
    say "the build failed; it needs a C compiler, pkg-config, libclang, and the headers of OpenSSL 3 and SQLite"
    say "(Debian: apt-get install gcc pkg-config libclang-dev libssl-dev libsqlite3-dev)"
    exit 1
fi
built=$(find "$work/target/release" -maxdepth 1 -name 'libkryoptic*.so' | head -n 1)
[ -n "$built" ] || { say "the build made no module"; exit 1; }
cp "$built" "$module.new"
mv "$module.new" "$module"
rm -rf "$work"
echo "$module"
