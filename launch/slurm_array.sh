#!/usr/bin/env bash
# Rows and folds of the paper's tables as a Slurm array: each task trains one run by launch/slurm.sh.
set -euo pipefail

usage() {
    cat <<'END'
usage: launch/slurm_array.sh [SBATCH OPTION ...] -- TABLES OPTION ...

Submits as a Slurm array, a task a run, what python -m mdhr_jax.tables plan TABLES OPTION ... finds to be
left. The same command submits what is left later, when no task of it runs any more. Each task goes on by
itself after the time limit or a preemption (launch/slurm.sh -h). From the clone of the project; the
interpreter is $PYTHON, else python.

example:
  launch/slurm_array.sh --partition=gpu --cpus-per-task=8 --time=12:00:00 -- \
      --table 3 --folds 1,2,3 --data data --weights weights --runs runs/tables

For folds or seeds of another configuration, launch/slurm.sh itself takes sbatch --array.
END
}

usage_error() {
    printf 'launch/slurm_array.sh: error: %s; launch/slurm_array.sh -h shows how it is used\n' "$*" >&2
    exit 2
}

sbatch_options=()
while [[ $# -gt 0 && $1 != -- ]]; do
    case $1 in
    -h | --help) usage && exit 0 ;;
    -?*) sbatch_options+=("$1") ;;
    # A value that stands by itself would be the script for sbatch.
    *) usage_error "'$1' is not understood; write options of sbatch as --OPTION=VALUE" ;;
    esac
    shift
done
[[ $# -gt 0 ]] || usage_error "options of the tables have to stand behind --"
shift
[[ $# -gt 0 ]] || usage_error "which tables? -- --table 3 --data DIR --runs DIR"
[[ -n $(command -v sbatch) ]] || usage_error "there is no sbatch here"

# Slurm keeps a copy of what it is given.
directory=$(mktemp -d "${TMPDIR:-/tmp}/mdhr-array.XXXXXX")
trap 'rm -rf -- "$directory"' EXIT
"${PYTHON:-python}" -m mdhr_jax.tables plan "$@" --slurm "$directory/array.sh"
# Where everything is finished there is nothing to submit, as it has just said.
if [[ -e $directory/array.sh ]]; then
    sbatch ${sbatch_options[@]+"${sbatch_options[@]}"} "$directory/array.sh"
fi
