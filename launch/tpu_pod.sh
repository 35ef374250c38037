#!/usr/bin/env bash
# One training on all workers of a Cloud TPU slice.
set -euo pipefail

usage() {
    cat <<'END'
usage: launch/tpu_pod.sh -t NAME -z ZONE [OPTION ...] -- ARGUMENT ...

Runs python -m mdhr_jax.main ARGUMENT ... at the same time on all workers of the TPU VM NAME, by gcloud's
ssh. JAX finds the workers by itself. They need the same clone with the project installed (extra tpu), and
a file store mounted on all of them for --workdir and data.

  -t NAME     the TPU VM
  -z ZONE     its zone
  -p PROJECT  its project (gcloud's own setting)
  -d DIR      the clone on each worker, from the home directory (mdhr_jax)
  -y PYTHON   interpreter on the workers, from the clone (.venv/bin/python)
  -m MODULE   what python -m runs (mdhr_jax.main)
  -h          this text

INT (Ctrl-C), TERM, HUP and USR1 make all workers save and end. The exit code is the one that gcloud gives:
75 where they were told to stop and saved. After a preemption, the same command goes on once the TPU is
there again.

example:
  launch/tpu_pod.sh -t v5e-16 -z us-east5-a -- \
      --config configs/bp4d.py:fold=1,data=/mnt/data,pretrained=/mnt/weights/resnet50,batch_size=16 \
      --config.eval.batch_size=16 --workdir /mnt/runs/bp4d-1

The batch sizes are multiples of the number of chips, here 16.
END
}

usage_error() {
    printf 'launch/tpu_pod.sh: error: %s; launch/tpu_pod.sh -h shows the options\n' "$*" >&2
    exit 2
}

name='' zone='' project='' directory=mdhr_jax python=.venv/bin/python module=mdhr_jax.main
while getopts :t:z:p:d:y:m:h option; do
    case $option in
    t) name=$OPTARG ;;
    z) zone=$OPTARG ;;
    p) project=$OPTARG ;;
    d) directory=$OPTARG ;;
    y) python=$OPTARG ;;
    m) module=$OPTARG ;;
    h) usage && exit 0 ;;
    :) usage_error "-$OPTARG needs a value" ;;
    *) usage_error "there is no option -$OPTARG (what is for python stands behind --)" ;;
    esac
done
[[ -n $name ]] || usage_error "-t NAME is missing"
[[ -n $zone ]] || usage_error "-z ZONE is missing"
[[ $OPTIND -gt 1 && ${*:OPTIND-1:1} == -- ]] || usage_error "what is for python has to stand behind --"
shift $((OPTIND - 1))
[[ $# -gt 0 ]] || usage_error "there is nothing to run: give --config FILE and --workdir DIR behind --"
[[ -n $(command -v gcloud) ]] || usage_error "there is no gcloud here"

on_all_workers() { # COMMAND
    gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" ${project:+"--project=$project"} --worker=all \
        --command="$1"
}

# The process writes down its number, because ending ssh would not end it. As long as it lives it holds a lock on
# that file, and thereby has the TPU: a number alone might be that of another process by now.
printf -v command '%q ' "$python" -m "$module" "$@"
printf -v enter 'cd %q' "$directory"
# shellcheck disable=SC2016 # Each worker expands it.
pid_file='"${TMPDIR:-/tmp}/mdhr-tpu-pod.pid"'
run="$enter || exit
exec 9>>$pid_file || exit
if ! flock -n 9; then
    echo \"error: process \$(cat $pid_file) has the TPU of \$(hostname)\" >&2
    exit 1
fi
echo \$\$ >$pid_file && exec $command"
stop="flock -n $pid_file true || kill -s TERM \$(cat $pid_file)"

asked=''
trap 'asked=yes' INT TERM HUP USR1
# In a group of its own, so that Ctrl-C does not cut the connections before the workers have saved.
set -m
on_all_workers "$run" </dev/null &
gcloud=$!
set +m
code=0
wait "$gcloud" || code=$?
while [[ -n $asked ]]; do # A signal has ended the wait.
    asked=''
    printf 'launch/tpu_pod.sh: telling all workers to save and end\n' >&2
    on_all_workers "$stop" </dev/null || true
    code=0
    wait "$gcloud" || code=$?
done
exit "$code"
