#!/usr/bin/env bash
# A real build that nobody prepared: the sources of Lua from Debian's archive, built with make, three times.
#   examples/lua.sh [PATH-OF-XL]
set -euo pipefail
xl=$(realpath "${1:-target/release/xl}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XL_CACHE_DIR="$work/cache"

# Source packages are not enabled on most machines: ask the same archive for them, with an apt state of our own.
mkdir -p "$work/apt/lists/partial"
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ -e "$f" ] && sed -n 's/^deb /deb-src /p' "$f" >>"$work/apt/src.list"
done
for f in /etc/apt/sources.list.d/*.sources; do
  [ -e "$f" ] && sed 's/^Types:.*/Types: deb-src/' "$f" >"$work/apt/$(basename "$f")"
done
mkdir "$work/apt/parts"
find "$work/apt" -maxdepth 1 \( -name '*.list' -o -name '*.sources' \) -exec cp {} "$work/apt/parts/" \;
apt="-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$work/apt/parts -o Dir::State::lists=$work/apt/lists -o APT::Sandbox::User=root"
cd "$work"
apt-get -qq $apt update
apt-get -qq $apt source --download-only lua5.4 >/dev/null
dpkg-source --no-check --skip-patches -x lua5.4_*.dsc lua >/dev/null 2>&1
cd lua

seconds() { # seconds LABEL CMD...
  local label=$1 begin end; shift
  begin=$(date +%s%N); "$@" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }; end=$(date +%s%N)
  printf '%-28s %5d.%02d s   %s\n' "$label" $(((end - begin) / 1000000000)) $(((end - begin) / 10000000 % 100)) "$(grep '^xl: [0-9]' "$work/log" || true)"
}
echo "Lua from Debian's archive, make -j2:"
seconds "without xl" make -j2 linux
make clean >/dev/null
seconds "with xl, first time" "$xl" run -- make -j2 linux
sha256sum src/lua src/luac src/*.o src/*.a >"$work/first"
make clean >/dev/null
seconds "with xl, in a clean tree" "$xl" run -- make -j2 linux
sha256sum --quiet -c "$work/first" && echo "the tree is bit for bit the same"
