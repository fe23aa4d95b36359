#!/bin/sh
# Prepares the software FIDO provider that OpenSSH tests itself with, so that tests can make and use security keys
# without hardware: target/sk-dummy/sk-dummy.so, unpacked from Debian's package openssh-tests (which isn't installed, as
# it pulls in a server). Does nothing if it is there. Print the path at the end.
set -eu

target=$(cd "$(dirname "$0")/.." && pwd)/target/sk-dummy
provider=$target/sk-dummy.so

if [ ! -f "$provider" ]; then
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        echo "fetch-sk-dummy: needs apt-get and dpkg; elsewhere build sk-dummy from OpenSSH's regress/misc and set" >&2
        echo "fetch-sk-dummy: STRONGROOM_SK_PROVIDER to its path" >&2
        exit 1
    fi
    mkdir -p "$target"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # apt drops its rights to download, so the folder has to be open to it.
    chmod 755 "$work"
    cd "$work"
    if ! apt-get download -q openssh-tests >"$work/log" 2>&1; then
        cat "$work/log" >&2
        echo "fetch-sk-dummy: cannot download openssh-tests; try apt-get update first" >&2
        exit 1
    fi
    dpkg -x openssh-tests_*.deb "$work/x"
    cp "$work/x/usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so" "$provider.new"
    mv "$provider.new" "$provider"
fi
echo "$provider"
