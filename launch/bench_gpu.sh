#!/usr/bin/env bash
# What docs/performance.md wants to have measured on a GPU, most important first.
set -u

usage() {
    cat <<'END'
usage: launch/bench_gpu.sh CHECKOUT [FOLDER]

Measures on the first GPU of this machine, by python -m mdhr_jax.bench: training steps of ResNet-50 and
Swin-B on 8 clips of 16 frames, in bfloat16 and float32, and forward passes, beside all forms of the PyTorch
reference; what the device reaches; steps on streams. CHECKOUT is a clone of CVI-SZU/MDHR. Needs
pip install -e '.[cuda13,torch]' and a PyTorch that sees the GPU; a training step of Swin-B plans 35 GiB in
float32.

Most important first, each case by itself, and what fails leaves the others alone; once more measures all
anew. Records are written to FOLDER (bench-gpu). After each, docs/performance.md of this clone gets the tables
of all, as a section of its own for this device. The interpreter is $PYTHON, else python.

Exit code: 0 if all was measured, 1 if a case has failed, 2 after wrong use or without a GPU.

example: launch/bench_gpu.sh MDHR
END
}

usage_error() {
    printf 'launch/bench_gpu.sh: error: %s; launch/bench_gpu.sh -h shows how it is used\n' "$*" >&2
    exit 2
}

case ${1:-} in
-h | --help) usage && exit 0 ;;
-*) usage_error "there is no option $1" ;;
esac
[[ $# -gt 0 ]] || usage_error "CHECKOUT, a clone of CVI-SZU/MDHR, is missing"
[[ $# -le 2 ]] || usage_error "there are $# arguments, and only CHECKOUT and FOLDER are taken"
[[ -d $1 ]] || usage_error "there is no directory $1"
python=${PYTHON:-python}
[[ -n $(command -v "$python") ]] ||
    usage_error "there is no $python; name the interpreter: PYTHON=/path/to/python"
"$python" -c 'import sys, jax; sys.exit(jax.default_backend() == "cpu")' ||
    usage_error "JAX finds no GPU here (or is not installed); what it finds: $python -c 'import jax; print(jax.devices())'"
checkout=$(realpath "$1") || exit 2
folder=$(realpath -m "${2:-bench-gpu}")
cd "$(dirname "$0")/.." || exit 2
mkdir -p "$folder" || exit 2
failed=0

records=()
measure() { # NAME ARGUMENT ...
    local record=$folder/$1.json
    rm -f "$record"
    "$python" -m mdhr_jax.bench "${@:2}" --json "$record" || failed=1
    [[ -f $record ]] || return
    records+=("$record")
    # After each: an interruption loses little.
    "$python" -m mdhr_jax.bench report --report docs/performance.md --also "${records[@]}" || failed=1
}

swin=(--reference "$checkout" --backbone swin_base --batch 8)
resnet=(--reference "$checkout" --backbone resnet50 --batch 8)
measure train-resnet50-bf16 train "${resnet[@]}" --precision bfloat16 --measure-ceilings
measure train-resnet50-f32 train "${resnet[@]}" --precision float32 --no-cache
measure train-swin-bf16 train "${swin[@]}" --precision bfloat16
measure train-swin-f32 train "${swin[@]}" --precision float32 --no-cache
measure eval eval --reference "$checkout" --precision bfloat16 --batch 8 --no-cache
measure predict predict --backbone resnet50 --precision bfloat16 --batch 1,8 --clip-length 1 --no-cache
exit "$failed"
