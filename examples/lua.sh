#!/usr/bin/env bash
# A real build that nobody prepared: the sources of Lua from Debian's archive, built with make, three times.
#   examples/lua.sh [PATH-OF-XL]
set -euo pipefail
xl=$(realpath "${1:-target/release/xl}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XL_CACHE_DIR="$work/cache"

"$(dirname "$0")/fetch.sh" lua5.4 "$work/lua"
cd "$work/lua"

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
