#!/usr/bin/env bash
# On a machine with a GPU and the packages of evsim[cuda] (pytest too): runs the GPU's tests, then the benchmarks, and
# leaves a log, a JSON line for each benchmark and a summary in the folder.
#   bash scripts/gpu.sh [OUTPUT_FOLDER [all|training]]
# PYTHON chooses the interpreter. Ends within EVSIM_GPU_SECONDS (default 540); what there is no time for is left out.
# With NUMBA_ENABLE_CUDASIM=1 everything runs on the CUDA simulator in tiny sizes, which proves these scripts only.
set -uo pipefail
out=${1:-gpu-results}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
cd "$(dirname "$0")/.." || exit 1
[ -d evsim/io ] || { echo "gpu.sh: evsim/io is not a link to io/: check out with git config core.symlinks true" >&2 && exit 1; }
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
deadline=$((SECONDS + ${EVSIM_GPU_SECONDS:-540}))
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
what=${2:-all} # or only the tests and benchmarks of training
case $what in all | training) ;; *) echo "gpu.sh: $what is no choice: all, training" >&2 && exit 1 ;; esac
tiny=() few=(-k "not layers_learn and not trainer") # which have a part of their own
# There one case of each test will do: tests/simulated_*.py run them all.
[ "${NUMBA_ENABLE_CUDASIM:-0}" = 1 ] && tiny=(--tiny) few=(-k "not learn and (delta or images or chunk or reference)")
cases=(90:microcircuit-poisson 90:microcircuit-dc 60:brunel-small 90:brunel-1g 90:vogels-1g 120:brunel-3g)
layers=(chain cnn)
training=(lif chain cnn)
failed=()
: >"$out/log.txt" || exit 1
rm -f "$out/summary.md" # of a run before this one
for one in "${training[@]}"; do rm -f "$out/training-$one.json"; done
if [ "$what" = all ]; then
    rm -f "$out/ceilings.json"
    for one in "${cases[@]}"; do rm -f "$out/${one#*:}.json"; done
    for one in "${layers[@]}"; do rm -f "$out/layers-$one.json"; done
fi

part() { # NAME LIMIT_SECONDS COMMAND...
    local name=$1 limit=$2 left=$((deadline - SECONDS)) started=$SECONDS status
    shift 2
    [ ${#tiny[@]} -gt 0 ] && limit=$((4 * limit)) # a busy machine's simulator takes its time
    [ "$left" -lt "$limit" ] && limit=$left
    echo "== $name: $*" | tee -a "$out/log.txt"
    if [ "$limit" -lt 5 ]; then
        echo "== $name: left out, no time" | tee -a "$out/log.txt"
        failed+=("$name")
        return 1
    fi
    timeout -k 5 "$limit" "$@" 2>&1 | tee -a "$out/log.txt"
    status=${PIPESTATUS[0]}
    echo "== $name: exit code $status after $((SECONDS - started)) s of at most $limit" | tee -a "$out/log.txt"
    [ "$status" = 0 ] || failed+=("$name")
    return "$status"
}

part info 60 "$python" -m evsim info
part device 60 "$python" -c 'from evsim.cuda_kernels.target import check_device; print(check_device())' || exit 1
gradients=(-k "layers_learn or trainer")
[ ${#tiny[@]} -gt 0 ] && gradients=(-k "layers_learn and repeated_currents")
if [ "$what" = all ]; then
    part tests 240 "$python" -m pytest tests/test_gpu.py -m gpu -p no:cacheprovider -W default --durations=20 \
        "${few[@]}"
    for one in "${layers[@]}"; do
        part "layers-$one" 45 "$python" bench/gpu_layers.py "$one" --out "$out/layers-$one.json" \
            ${tiny[@]+"${tiny[@]}"}
    done
fi
part training-tests 150 "$python" -m pytest tests/test_gpu.py -m gpu -p no:cacheprovider -W default --durations=20 \
    "${gradients[@]}"
for one in "${training[@]}"; do
    part "training-$one" 45 "$python" bench/gpu_training.py "$one" --out "$out/training-$one.json" \
        ${tiny[@]+"${tiny[@]}"}
done
grep -q '[0-9] skipped' "$out/log.txt" && failed+=("tests skipped")
if [ "$what" = all ]; then
    part ceilings 60 "$python" bench/ceilings.py --out "$out/ceilings.json" ${tiny[@]+"${tiny[@]}"}
    for one in "${cases[@]}"; do
        name=${one#*:}
        part "$name" "${one%%:*}" "$python" bench/gpu.py "$name" --ceilings "$out/ceilings.json" \
            --out "$out/$name.json" ${tiny[@]+"${tiny[@]}"}
    done
fi
part summary 30 "$python" bench/gpu_summary.py "$out"
if [ ${#failed[@]} -gt 0 ]; then
    echo "== failed: ${failed[*]}" | tee -a "$out/log.txt"
    exit 1
fi
echo "== all passed" | tee -a "$out/log.txt"
