#!/usr/bin/env bash
# One training as a Kubernetes job with one pod a node.
set -euo pipefail

usage() {
    cat <<'END'
usage: launch/kubernetes.sh -n NAME -p PODS -i IMAGE -c CLAIM [OPTION ...] -- ARGUMENT ...

Prints a job that runs python -m mdhr_jax.main ARGUMENT ... in PODS pods, as one training, and the service by
which they find each other, for kubectl apply -f -. The image has the project installed and its clone as
working directory.

  -n NAME    of job and service
  -p PODS    how many
  -i IMAGE   container image
  -c CLAIM   persistent volume claim, of kind ReadWriteMany, that all see as /mnt: for --workdir and data
  -g GPUS    GPUs of each pod (none)
  -s SECONDS that a pod has for saving when it is told to stop (180)
  -m MODULE  what python -m runs (mdhr_jax.main)
  -h         this text

A pod that is told to stop and has saved (exit code 75), whose node is drained or lost, or that has lost
another one or comes no further after it has saved something (76) is started again; any other failure ends
the job. Pods may then have to wait for a node, and have to wait for each other as long, see
--config.distributed.timeout below. Kubernetes 1.26 or newer.

example:
  launch/kubernetes.sh -n bp4d-1 -p 2 -g 4 -i registry/mdhr -c runs -- \
      --config configs/bp4d.py:fold=1,data=/mnt/data,pretrained=/mnt/weights/resnet50 \
      --config.distributed.timeout=3600 --workdir /mnt/runs/bp4d-1 | kubectl apply -f -
END
}

readonly SAVED=75 # mdhr_jax.training.interrupt.SAVED
readonly LOST=76  # mdhr_jax.distributed.LOST
readonly PORT=8476

usage_error() {
    printf 'launch/kubernetes.sh: error: %s; launch/kubernetes.sh -h shows the options\n' "$*" >&2
    exit 2
}

name='' pods='' image='' claim='' gpus=0 seconds=180 module=mdhr_jax.main
while getopts :n:p:i:c:g:s:m:h option; do
    case $option in
    n) name=$OPTARG ;;
    p) pods=$OPTARG ;;
    i) image=$OPTARG ;;
    c) claim=$OPTARG ;;
    g) gpus=$OPTARG ;;
    s) seconds=$OPTARG ;;
    m) module=$OPTARG ;;
    h) usage && exit 0 ;;
    :) usage_error "-$OPTARG needs a value" ;;
    *) usage_error "there is no option -$OPTARG (what is for python stands behind --)" ;;
    esac
done
[[ -n $name ]] || usage_error "-n NAME is missing"
[[ -n $pods ]] || usage_error "-p PODS is missing"
[[ -n $image ]] || usage_error "-i IMAGE is missing"
[[ -n $claim ]] || usage_error "-c CLAIM is missing"
# With more, the names of pods would be too long for the network.
[[ $name =~ ^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$ ]] ||
    usage_error "-n takes small letters, digits and - up to 52 characters, a letter first; found '$name'"
[[ $pods =~ ^[1-9][0-9]*$ ]] || usage_error "-p takes a positive number, found '$pods'"
[[ $gpus =~ ^[0-9]+$ ]] || usage_error "-g takes a number, found '$gpus'"
[[ $seconds =~ ^[1-9][0-9]*$ ]] || usage_error "-s takes a positive number, found '$seconds'"
[[ $OPTIND -gt 1 && ${*:OPTIND-1:1} == -- ]] || usage_error "what is for python has to stand behind --"
shift $((OPTIND - 1))
[[ $# -gt 0 ]] || usage_error "there is nothing to run: give --config FILE and --workdir DIR behind --"

quote() { # TEXT: as YAML, and safe from Kubernetes, which takes $(NAME) for a variable.
    [[ $1 != *$'\n'* ]] || usage_error "an argument has two lines: '$1'"
    local text=${1//\'/\'\'}
    printf "'%s'" "${text//\$/\$\$}"
}

command=''
for argument in python -m "$module" "$@"; do
    quoted=$(quote "$argument") || exit
    command+="            - $quoted"$'\n'
done

cat <<END
apiVersion: v1
kind: Service
metadata:
  name: $name
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    job-name: $name
---
apiVersion: batch/v1
kind: Job
metadata:
  name: $name
spec:
  completionMode: Indexed
  completions: $pods
  parallelism: $pods
  backoffLimit: 0
  podFailurePolicy:
    rules:
      - action: Ignore
        onExitCodes:
          operator: In
          values: [$SAVED, $LOST]
      - action: Ignore
        onPodConditions:
          - type: DisruptionTarget
            status: "True"
  template:
    spec:
      subdomain: $name
      restartPolicy: Never
      terminationGracePeriodSeconds: $seconds
      containers:
        - name: training
          image: $(quote "$image")
          command:
${command%$'\n'}
          env:
            - name: JAX_COORDINATOR_ADDRESS
              value: $name-0.$name:$PORT
            - name: JAX_NUM_PROCESSES
              value: "$pods"
            - name: JAX_PROCESS_ID
              valueFrom:
                fieldRef:
                  fieldPath: metadata.annotations['batch.kubernetes.io/job-completion-index']
          resources:
            limits:
              nvidia.com/gpu: $gpus
          volumeMounts:
            - name: runs
              mountPath: /mnt
            - name: memory
              mountPath: /dev/shm
      volumes:
        - name: runs
          persistentVolumeClaim:
            claimName: $claim
        - name: memory
          emptyDir:
            medium: Memory
END
