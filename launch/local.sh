#!/usr/bin/env bash
# Several processes of one training on one machine, as they would run on several machines.
set -euo pipefail

usage() {
    cat <<'END'
usage: launch/local.sh -n PROCESSES [OPTION ...] -- ARGUMENT ...

Starts python -m mdhr_jax.main ARGUMENT ... PROCESSES times on this machine, as one training.

  -n PROCESSES  how many
  -d DEVICES    CPU devices of each process; the processes then use no GPU
  -g GPUS       GPUs of each process, counted on from those of the process before it
  -l DIR        directory for the output of processes 1, 2, ... (a temporary one, removed after a success)
  -p PORT       at which they find each other (a free one)
  -m MODULE     what python -m runs (mdhr_jax.main)
  -h            this text

Process 0 writes to the terminal. INT (Ctrl-C), TERM, HUP and USR1 are passed on to all processes. When one
fails, the others are ended within seconds. The interpreter is $PYTHON, else python.

Exit code: 0 if all processes ended with 0; that of the first that failed by itself; 75 if none failed and
some were told to stop and saved (the same command goes on from there); 2 after a wrong option.

example: launch/local.sh -n 2 -d 4 -- --config configs/quickstart.py --workdir runs/two
END
}

readonly SAVED=75 # mdhr_jax.training.interrupt.SAVED
readonly LOST=76  # mdhr_jax.distributed.LOST
readonly GRACE=5  # Seconds from being told to end to being killed, once a process has failed.

exec 3>&2
say() { printf 'launch/local.sh: %s\n' "$*" >&3; }

usage_error() {
    say "error: $*; launch/local.sh -h shows the options"
    exit 2
}

number() { # OPTION VALUE: refuses what is not a positive number.
    [[ $2 =~ ^[1-9][0-9]{0,4}$ ]] || usage_error "-$1 takes a positive number, found '$2'"
}

processes='' devices='' gpus='' logs='' port='' module=mdhr_jax.main
while getopts :n:d:g:l:p:m:h option; do
    case $option in
    n) number n "$OPTARG" && processes=$OPTARG ;;
    d) number d "$OPTARG" && devices=$OPTARG ;;
    g) number g "$OPTARG" && gpus=$OPTARG ;;
    l) logs=$OPTARG ;;
    p) number p "$OPTARG" && port=$OPTARG ;;
    m) module=$OPTARG ;;
    h) usage && exit 0 ;;
    :) usage_error "-$OPTARG needs a value" ;;
    *) usage_error "there is no option -$OPTARG (what is for python stands behind --)" ;;
    esac
done
[[ -n $processes ]] || usage_error "-n PROCESSES is missing"
[[ -z $devices || -z $gpus ]] || usage_error "-d is for CPUs and -g for GPUs; give one of them"
[[ $OPTIND -gt 1 && ${*:OPTIND-1:1} == -- ]] || usage_error "what is for python has to stand behind --"
shift $((OPTIND - 1))

python=${PYTHON:-python}
[[ -n $(command -v "$python") ]] ||
    usage_error "there is no $python; name the interpreter: PYTHON=/path/to/python"
if [[ -z $port ]]; then
    port=$("$python" -c 'import socket
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    print(free.getsockname()[1])')
fi
if [[ -n $logs ]]; then
    mkdir -p -- "$logs"
    keep_logs=always
else
    logs=$(mktemp -d "${TMPDIR:-/tmp}/mdhr-local.XXXXXX")
    keep_logs=''
fi

# By rank: process groups that have not ended yet, else an empty text.
groups=()

signal_processes() { # SIGNAL
    local group
    for group in ${groups[@]+"${groups[@]}"}; do
        # Ctrl-C in a terminal would reach what they have started as well. The other signals are for Python.
        case $group,$1 in
        ,*) ;;
        *,INT | *,KILL) kill -s "$1" -- "-$group" 2>/dev/null || true ;;
        *) kill -s "$1" "$group" 2>/dev/null || true ;;
        esac
    done
}
trap 'signal_processes KILL' EXIT

# Traps only take down what came: in the middle of starting processes, some would not get it.
received=()
passed_on=0
trap 'received+=(INT)' INT
trap 'received+=(TERM)' TERM
trap 'received+=(TERM)' HUP # The terminal is gone: time to save.
trap 'received+=(USR1)' USR1

run_process() { # RANK ARGUMENT ...: becomes the process.
    export JAX_COORDINATOR_ADDRESS=127.0.0.1:$port JAX_NUM_PROCESSES=$processes JAX_PROCESS_ID=$1
    export PYTHONUNBUFFERED=${PYTHONUNBUFFERED:-1}
    if [[ -n $devices ]]; then
        export JAX_PLATFORMS=cpu
        export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$devices"
    elif [[ -n $gpus ]]; then
        JAX_LOCAL_DEVICE_IDS=$(seq -s , $(($1 * gpus)) $((($1 + 1) * gpus - 1)))
        export JAX_LOCAL_DEVICE_IDS
    fi
    exec "$python" -m "$module" "${@:2}"
}

# Each process leads a group of its own: Ctrl-C in the terminal reaches it through this script, once, and what
# it leaves behind can be found.
set -m
for ((rank = 0; rank < processes; rank++)); do
    if ((rank == 0)); then
        run_process 0 "$@" </dev/null 3>&- &
    else
        run_process "$rank" "$@" </dev/null >"$logs/process-$rank.log" 2>&1 3>&- &
    fi
    groups+=("$!")
done
exec 2>/dev/null # From here on the shell itself would tell of each process that a signal has ended.
((processes == 1)) || say "output of the processes after the first: $logs/process-*.log"

failed=0 saved=0 running=$processes kill_at='' lost=''

process_ended() { # RANK CODE
    case $2 in
    0) return ;;
    "$SAVED") saved=$2 && return ;;
    "$LOST") lost+=" $1" && return ;; # Another one has failed before.
    esac
    process_failed "$@"
}

process_failed() { # RANK CODE
    ((failed == 0)) || return 0
    failed=$2
    say "process $1 ended with exit code $2"
    (($1 == 0)) || tail -n 20 -- "$logs/process-$1.log" | sed "s/^/[$1] /" >&3
    kill_at=$((SECONDS + GRACE))
    signal_processes TERM
}

while ((running > 0)); do
    while ((passed_on < ${#received[@]})); do
        signal_processes "${received[passed_on]}"
        passed_on=$((passed_on + 1))
    done
    for ((rank = 0; rank < processes; rank++)); do
        group=${groups[rank]}
        if [[ -z $group ]] || kill -0 "$group" 2>/dev/null; then continue; fi
        code=0
        wait "$group" || code=$?
        kill -s KILL -- "-$group" 2>/dev/null || true # What it has started and left behind.
        groups[rank]=''
        running=$((running - 1))
        process_ended "$rank" "$code"
    done
    for rank in $lost; do process_failed "$rank" "$LOST"; done
    if [[ -n $kill_at ]] && ((SECONDS >= kill_at)); then signal_processes KILL; fi
    if ((running > 0)); then
        sleep 0.5 &
        # Ends at a signal and, where the shell can, when a process does: the first to fail is seen first.
        if ((BASH_VERSINFO[0] >= 5)); then wait -n || true; else wait "$!" || true; fi
    fi
done

if ((failed == 0 && saved == 0)) && [[ -z $keep_logs ]]; then rm -r -- "$logs"; fi
exit $((failed ? failed : saved))
