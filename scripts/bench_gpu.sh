#!/usr/bin/env bash
# The whole GPU campaign in one call, under nine minutes: tests on the device, every network at 1280x720 in half
# precision (alone, by stages, from file to file), what its time goes to. Writes FOLDER/*.json and FOLDER/*.txt.
#
#   scripts/bench_gpu.sh [FOLDER]      (default: $OUT, else ./bench-gpu)
#
# PYTHON   the Python that has torch with CUDA (default: .venv's where it has, else python3)
# WHEELS   a folder of wheels to use on top, for a machine without a network: PyAV and what else is missing
# MODELS   networks, in this order (default: all); SIZE of the pictures (default 1280x720)
# LIMIT_S  seconds for everything (default 530); what does not fit is left out and named
set -uo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
folder=${1:-${OUT:-bench-gpu}}
models=${MODELS:-mimo-unet deepdeblur mimo-unet-plus mimo-unet-small mimo-unet-tiny mimo-unet-plus-plus}
end=$((SECONDS + ${LIMIT_S:-530}))
mkdir -p "$folder" && folder=$(readlink -f "$folder")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export VDEBLUR_REQUIRE_CUDA=1 VDEBLUR_DATA=${VDEBLUR_DATA:-$scratch/data} PYTHONDONTWRITEBYTECODE=1 COLUMNS=150
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

sees_gpu='import sys, torch; sys.exit(not torch.cuda.is_available())'
for python in "${PYTHON:-}" .venv/bin/python python3; do
    [ -n "$python" ] && "$python" -c "$sees_gpu" 2>/dev/null && found=$python && break
done
if [ -z "${found:-}" ]; then
    echo "bench_gpu: no Python here has a torch that sees a CUDA device; name one with PYTHON=..." >&2
    exit 2
fi
python=$found
if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --target "$scratch/site" "$WHEELS"/*.whl ||
        echo "bench_gpu: the wheels in $WHEELS do not fit this Python" >&2
    export PYTHONPATH=$PYTHONPATH:$scratch/site
fi
has() { "$python" -c "import $1" 2>/dev/null; }

failed=0
run() { # NAME LEAST_S MOST_S COMMAND...: output into NAME.txt, one line here; left out where time is short
    local name=$1 least=$2 most=$3 left=$((end - SECONDS)) begin=$SECONDS code
    shift 3
    if [ "$left" -lt "$least" ]; then
        echo "left out: $name (${left} s left)" | tee -a "$folder/left-out.txt"
        return
    fi
    timeout --signal=INT --kill-after=10 $((left < most ? left : most)) "$@" >"$folder/$name.txt" 2>&1
    code=$?
    echo "$name: $([ $code = 0 ] && echo done || echo "FAILED, exit code $code") after $((SECONDS - begin)) s"
    if [ $code != 0 ]; then
        failed=1
        tail -n 5 "$folder/$name.txt" | sed 's/^/    /'
    fi
}

{
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm,power.limit --format=csv
    "$python" -c 'import sys, torch; print(sys.version); print("torch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())'
    nproc
} >"$folder/machine.txt" 2>&1
cat "$folder/machine.txt"
has av || echo "PyAV is missing: nothing from file to file is measured (WHEELS=FOLDER brings it along)"
has triton || echo "Triton is missing: the fused kernels are not measured"

tests="tests/engine/test_cuda.py tests/engine/test_fused.py"
has av && tests="$tests tests/engine/test_deblurrer.py tests/video/test_hwaccel.py"
if has pytest; then
    timed=$(has pytest_timeout && echo "--timeout=120" || echo "-o timeout=0")
    # shellcheck disable=SC2086
    run tests 60 180 "$python" -m pytest -m cuda -ra -p no:cacheprovider $timed $tests
else
    echo "pytest is missing: no tests on the device"
fi
if has rich; then
    for model in $models; do
        run "bench-$model" 45 150 "$python" -m vdeblur bench --model "$model" --size "${SIZE:-1280x720}" --device cuda:0 \
            --precision fp16 --json "$folder/$model.json"
    done
else
    echo "rich is missing: vdeblur bench cannot print, no benchmarks"
fi
for model in mimo-unet deepdeblur; do
    run "kernels-$model" 30 60 "$python" scripts/gpu_kernels.py --model "$model"
done

shopt -s nullglob
results=("$folder"/*.json)
[ ${#results[@]} = 0 ] || "$python" scripts/bench_table.py "${results[@]}" | tee "$folder/table.txt"
echo "all in $folder, $((SECONDS)) s"
exit $failed
