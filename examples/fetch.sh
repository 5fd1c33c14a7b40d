#!/usr/bin/env bash
# Sources, unpacked, every file with the same old time. What was at DIR before is removed.
#   examples/fetch.sh PACKAGE DIR               a Debian package
#   examples/fetch.sh crate:NAME@VERSION DIR    a published crate, with all that it is made from (`cargo vendor`)
set -euo pipefail
package=$1 dir=$(realpath -m "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

finish() {
  find "$dir" -exec touch -h -d @1600000000 {} +
  exit
}

if [[ $package == crate:* ]]; then
  name=${package#crate:} version=${package#*@} name=${name%@*}
  cd "$work"
  mkdir src && : >src/lib.rs
  printf '[package]\nname = "get"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n%s = "=%s"\n' "$name" "$version" >Cargo.toml
  cargo --quiet vendor one >/dev/null
  rm -rf "$dir" && mkdir -p "$(dirname "$dir")" && cp -a "one/$name" "$dir"
  cd "$dir"
  rm -f .cargo-checksum.json && mkdir -p .cargo
  # Wherever it is put, it is no member of the project around.
  grep -q '^\[workspace\]' Cargo.toml || printf '\n[workspace]\n' >>Cargo.toml
  cargo --quiet vendor --locked vendor >.cargo/config.toml
  finish
fi

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
# The newest version may be announced before it is there.
versions=$(apt-cache $apt showsrc "$package" | sed -n 's/^Version: //p' | sort -rVu)
found=
for v in $versions; do
  if apt-get -qq $apt -o Acquire::Retries=2 source --download-only "$package=$v" >/dev/null; then found=$v && break; fi
  rm -f "$package"_*
done
[ -n "$found" ] || { echo "no version of the source package $package can be fetched" >&2 && exit 1; }
rm -rf "$dir"
dpkg-source --no-check --skip-patches -x "$package"_*.dsc "$dir" >/dev/null 2>&1
finish
