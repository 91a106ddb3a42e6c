# Sourced by the batch scripts beside this file.
#
# `run COMMAND...` runs it until it ends. Slurm's signal that time is up (USR1 before the limit, TERM before a
# preemption) becomes a SIGTERM to it, upon which a run saves its state and ends; then the job is put into the
# queue again, and there the same script goes on from that state. The exit code is the command's.

run() {
    local child="" code=0 asked="" told=""
    trap 'asked=yes; tell' USR1 TERM
    "$@" &
    child=$!
    tell # a signal may have come before we knew whom to tell
    # a trap ends `wait`, while the command has still to save
    while wait "$child" && code=0 || code=$?; [[ $code -gt 128 ]] && kill -0 "$child" 2>/dev/null; do :; done
    trap - USR1 TERM
    if [[ -n $asked && $code -ne 0 ]]; then
        scontrol requeue "$JOB" || true # Slurm may have done so itself
    fi
    return "$code"
}

tell() { # once: a second signal would say that there is no time to save
    [[ -z $asked || -z $child || -n $told ]] && return
    told=yes
    kill -TERM "$child" 2>/dev/null || true
}

JOB=$SLURM_JOB_ID
[[ -z ${SLURM_ARRAY_JOB_ID:-} ]] || JOB=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

# What a node loses that vanishes without a signal; a save takes about a second of each minute.
export RANKCLIP_CHECKPOINT_MINUTES=${RANKCLIP_CHECKPOINT_MINUTES:-1}
