#!/bin/bash
# Measures on a GPU what docs/performance.md wants, most important first, in some ten minutes:
#     launch/bench_gpu.sh CHECKOUT [FOLDER]
# CHECKOUT is a clone of CVI-SZU/MDHR; records are written to FOLDER (bench-gpu), and into docs/performance.md.
# A case that fails leaves the others alone; exit code 1 says that there was one.
set -u

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: launch/bench_gpu.sh CHECKOUT [FOLDER]" >&2
    exit 2
fi
checkout=$(realpath "$1") || exit 2
folder=$(realpath -m "${2:-bench-gpu}")
cd "$(dirname "$0")/.." || exit 2
mkdir -p "$folder" || exit 2
failed=0

measure() { # NAME ARGUMENTS...
    local name=$1
    shift
    python -m mdhr_jax.bench "$@" --json "$folder/$name.json" || failed=1
}

measure train-resnet50-bf16 train --reference "$checkout" --backbone resnet50 --precision bfloat16 --batch 8 \
    --measure-ceilings
measure train-resnet50-f32 train --reference "$checkout" --backbone resnet50 --precision float32 --batch 8 --no-cache
measure train-swin-bf16 train --reference "$checkout" --backbone swin_base --precision bfloat16 --batch 8
measure eval eval --reference "$checkout" --precision bfloat16 --batch 8 --forms released,amp --no-cache
records=()
for record in "$folder"/{train-*,eval}.json; do
    [ -f "$record" ] && records+=("$record")
done
measure predict predict --backbone resnet50 --precision bfloat16 --batch 1,8 --clip-length 1 --no-cache \
    --report docs/performance.md --also "${records[@]}"
exit $failed
