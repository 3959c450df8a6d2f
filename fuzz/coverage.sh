#!/usr/bin/env bash
# How much of src/core and src/wire the corpora of the pure targets reach: a table of lines a file, and a failure where
# it is less than 98 % in all. With --missed it shows the lines that no file of any corpus reaches.
#
# It needs neither cargo-fuzz nor a nightly compiler, but the compiler's own LLVM tools: rustup component add llvm-tools
set -euo pipefail
cd "$(dirname "$0")"

least=98
# The code for another processor is not compiled here, and what limits are is computed by the compiler.
left_out='/registry/|/rustc/|fuzz_targets|/testing/|sha_aarch64|/core/limits/|/library/'

host=$(rustc -vV | sed -n 's/^host: //p')
llvm="$(rustc --print sysroot)/lib/rustlib/$host/bin"
[ -x "$llvm/llvm-cov" ] || { echo "llvm-cov is missing: rustup component add llvm-tools" >&2; exit 1; }

out=coverage
mkdir -p "$out"
rm -f "$out"/*.profraw "$out"/*.profdata
RUSTFLAGS="-Cinstrument-coverage --cfg fuzzing" cargo build --locked --quiet --bins --target "$host" --target-dir "$out/target"

objects=()
for binary in "$out/target/$host/debug"/*.d; do
    name=$(basename "$binary" .d)
    [ -f "fuzz_targets/$name.rs" ] && [ -d "corpus/$name" ] || continue
    objects+=(--object "$out/target/$host/debug/$name")
    # Each file is run once; it fails if one of them does.
    LLVM_PROFILE_FILE="$out/$name.profraw" "$out/target/$host/debug/$name" corpus/"$name"/* > "$out/log" 2>&1 ||
        { tail -n 40 "$out/log"; exit 1; }
done
"$llvm/llvm-profdata" merge --sparse "$out"/*.profraw -o "$out/all.profdata"

show() { "$llvm/llvm-cov" "$@" --instr-profile="$out/all.profdata" --ignore-filename-regex="$left_out" "${objects[@]}"; }
if [ "${1:-}" = --missed ]; then
    show show --show-instantiations=false |
        awk -F'|' '/^\/.*:$/ { file = $1 } $2 ~ /^ *0$/ { print file $1 "|" $3 }'
fi
# Of a file: its lines, those that were missed, and the share of the others.
show report | awk -v least="$least" '
    $1 ~ /\.rs$/ || $1 == "TOTAL" { printf "%-28s %6d lines %5d missed %8s\n", $1, $8, $9, $10 }
    $1 == "TOTAL" { if ($10 + 0 < least) { print "less than " least " %"; exit 1 } }'
