#!/usr/bin/env bash
#SBATCH --job-name=mdhr
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --signal=USR1@180
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%j.log
# One training on all nodes of a Slurm job, which goes on by itself after the time limit or a preemption.
set -euo pipefail

usage() {
    cat <<'END'
usage: sbatch [SBATCH OPTION ...] launch/slurm.sh [-m MODULE] [--] ARGUMENT ...

Runs python -m mdhr_jax.main ARGUMENT ... as one training on all nodes of a job, one process a node, which
takes all GPUs of the job there; with sbatch --ntasks-per-node=GPUS one process a GPU.

  -m MODULE  what python -m runs (mdhr_jax.main)
  -h         this text

USR1 is sent three minutes before the time limit (sbatch --signal=USR1@SECONDS changes that). A training
that is told to stop saves and ends with exit code 75, one that comes no further or has lost a process that
nobody has killed with 76; then the job is put back into the queue and goes on when it starts again, unless it
is being cancelled. In an array, %a in an argument is the task's number. The interpreter is $PYTHON, else
python.

examples, from the clone of the project:
  sbatch --nodes=2 --gpus-per-node=4 --cpus-per-task=32 --time=4:00:00 launch/slurm.sh \
      --config configs/bp4d.py:fold=1,pretrained=weights/resnet50 --workdir runs/bp4d-1
  sbatch --nodes=2 --gpus-per-node=4 --ntasks-per-node=4 --cpus-per-task=8 --time=4:00:00 launch/slurm.sh \
      --config configs/bp4d.py:fold=1,pretrained=weights/resnet50 --workdir runs/bp4d-1
  sbatch --array=1-3 --nodes=1 --gpus-per-node=1 --cpus-per-task=8 --time=4:00:00 launch/slurm.sh \
      --config configs/bp4d.py:fold=%a,pretrained=weights/resnet50 --workdir runs/bp4d-%a
END
}

readonly SAVED=75 # mdhr_jax.training.interrupt.SAVED
readonly LOST=76  # mdhr_jax.distributed.LOST

usage_error() {
    printf 'launch/slurm.sh: error: %s; launch/slurm.sh -h shows how it is used\n' "$*" >&2
    exit 2
}

module=mdhr_jax.main
case ${1:-} in
-h | --help) usage && exit 0 ;;
-m)
    [[ -n ${2:-} ]] || usage_error "-m needs the name of a module"
    module=$2
    shift 2
    ;;
esac
[[ ${1:-} != -- ]] || shift
[[ $# -gt 0 ]] || usage_error "there is nothing to run: give --config FILE and --workdir DIR"
[[ -n ${SLURM_JOB_ID:-} ]] || usage_error "this is no Slurm job; start it with sbatch"

# In an array, the identifier without the task's number can mean all tasks.
job=$SLURM_JOB_ID
if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
    job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
    set -- "${@//%a/$SLURM_ARRAY_TASK_ID}"
fi
# A step does not inherit it, and would be left with one core to read clips.
if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK; fi

# A srun that gets TERM kills its tasks, but it passes USR1 on to them: so that they save, whichever of the two
# this shell is sent, by scancel --batch or sbatch --signal=B:USR1@SECONDS.
step='' told=''
tell_step() {
    told=yes
    [[ -z $step ]] || kill -s USR1 "$step" 2>/dev/null || true
}
trap tell_step TERM USR1
# When one has ended, the others are given a minute: they may be saving.
srun --kill-on-bad-exit=0 --wait=60 "${PYTHON:-python}" -m "$module" "$@" </dev/null &
step=$!
[[ -z $told ]] || tell_step # It came while there was no step yet.
while :; do
    told='' code=0
    wait "$step" || code=$?
    [[ -n $told ]] || break # Otherwise a signal has ended the wait.
done

# Until Python has loaded the program, and after its last word, USR1 just ends a process. Where a process was
# killed, for want of memory perhaps, that is the code of the step, and not 76.
if ((code == SAVED || code == LOST || code == 128 + $(kill -l USR1))); then
    # Of a job that is cancelled, or that Slurm itself puts back, this is no longer the state.
    if [[ $(scontrol show job "$job") == *JobState=RUNNING* ]]; then
        if scontrol requeue "$job"; then
            printf 'launch/slurm.sh: job %s goes back into the queue\n' "$job" >&2
        else
            printf 'launch/slurm.sh: Slurm does not put job %s back; start it again to go on\n' "$job" >&2
        fi
    else
        printf 'launch/slurm.sh: job %s is being ended, and is not put back from here\n' "$job" >&2
    fi
fi
exit "$code"
