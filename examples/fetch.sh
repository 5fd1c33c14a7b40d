#!/usr/bin/env bash
# The sources of a Debian package, unpacked, every file with the same old time.
#   examples/fetch.sh PACKAGE DIR      what was at DIR before is removed
set -euo pipefail
package=$1 dir=$(realpath -m "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Source packages are not enabled on most machines: ask the same archive for them, with an apt state of our own.
mkdir -p "$work/apt/lists/partial" "$work/apt/parts"
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ -e "$f" ] && sed -n 's/^deb /deb-src /p' "$f" >>"$work/apt/parts/src.list"
done
for f in /etc/apt/sources.list.d/*.sources; do
  [ -e "$f" ] && sed 's/^Types:.*/Types: deb-src/' "$f" >"$work/apt/parts/$(basename "$f")"
done
apt="-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$work/apt/parts -o Dir::State::lists=$work/apt/lists -o APT::Sandbox::User=root"
cd "$work"
apt-get -qq $apt update
apt-get -qq $apt source --download-only "$package" >/dev/null
rm -rf "$dir"
dpkg-source --no-check --skip-patches -x "$package"_*.dsc "$dir" >/dev/null 2>&1
find "$dir" -exec touch -h -d @1600000000 {} +
