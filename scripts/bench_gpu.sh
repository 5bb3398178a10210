#!/usr/bin/env bash
# The GPU campaign: tests on the device, every network at 1280x720 in half precision (alone, by stages, from file
# to file), what its time goes to. Writes FOLDER/*.json and FOLDER/*.txt, and after every step packs all there is
# into one file, so that a call that is cut off has brought back everything up to then.
#
#   scripts/bench_gpu.sh [FOLDER [PACK]]      (default: ./bench-gpu, FOLDER.tgz)
#
# All of it takes more than nine minutes. Where a call may take no longer, two do it, each into a folder of its own:
#
#   MODELS="mimo-unet mimo-unet-small mimo-unet-tiny" scripts/bench_gpu.sh one
#   TESTS= MODELS="deepdeblur mimo-unet-plus mimo-unet-plus-plus" scripts/bench_gpu.sh two
#
# PYTHON   the Python that has torch with CUDA (default: .venv's where it has, else python3)
# WHEELS   a folder of wheels to use on top, for a machine without a network: PyAV and what else is missing
# TESTS    files of tests (default: all with tests for the device); empty: none
# MODELS   networks, in this order (default: all, what matters most first); SIZE of the pictures (default 1280x720)
# DEVICE   cuda:0; cpu rehearses the campaign without a GPU, but for tests and kernels (with SIZE=320x180)
# LIMIT_S  seconds for everything (default 530); what does not fit is left out and named
set -uo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
folder=${1:-bench-gpu}
pack=${2:-${folder%/}.tgz}
models=${MODELS:-mimo-unet mimo-unet-small mimo-unet-tiny deepdeblur mimo-unet-plus mimo-unet-plus-plus}
end=$((SECONDS + ${LIMIT_S:-530}))
mkdir -p "$folder" "$(dirname "$pack")" && folder=$(readlink -f "$folder")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export VDEBLUR_REQUIRE_CUDA=1 VDEBLUR_DATA=${VDEBLUR_DATA:-$scratch/data} PYTHONDONTWRITEBYTECODE=1 COLUMNS=150
export PYTHONUNBUFFERED=1
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

device=${DEVICE:-cuda:0}
precision=fp16
sees_gpu='import sys, torch; sys.exit(not torch.cuda.is_available())'
case $device in cuda*) ;; *) precision=auto TESTS='' sees_gpu='import torch' ;; esac
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

keep() { # all there is, in one file, whole at any moment
    tar -C "$(dirname "$folder")" -czf "$pack.new" "$(basename "$folder")" && mv -f "$pack.new" "$pack"
}

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
    case $code in
        0) echo "$name: done after $((SECONDS - begin)) s" ;;
        124 | 137) echo "$name: CUT OFF after $((SECONDS - begin)) s, what it had said is kept" ;;
        *) echo "$name: FAILED, exit code $code, after $((SECONDS - begin)) s" ;;
    esac
    if [ $code != 0 ]; then
        failed=1
        tail -n 5 "$folder/$name.txt" | sed 's/^/    /'
    fi
    keep
}

{
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm,power.limit --format=csv
    "$python" -c 'import sys, torch; print(sys.version); print("torch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())'
    nproc
} >"$folder/machine.txt" 2>&1
cat "$folder/machine.txt"
keep
has av || echo "PyAV is missing: nothing from file to file is measured (WHEELS=FOLDER brings it along)"
has triton || echo "Triton is missing: the fused kernels are not measured"

tests="tests/engine/test_device.py tests/engine/test_cuda.py tests/engine/test_fused.py tests/data/test_synthesis_torch.py"
has av && tests="$tests tests/engine/test_deblurrer.py tests/video/test_hwaccel.py"
tests=${TESTS-$tests}
has pytest || echo "pytest is missing: no tests on the device"
has hypothesis || echo "hypothesis is missing: most files of tests cannot be read (WHEELS=FOLDER brings it along)"
if [ -n "$tests" ] && has pytest; then
    timed=$(has pytest_timeout && echo "--timeout=120" || echo "-o timeout=0")
    alone=$(has xdist && echo "-n 1") # a test that ends its process does not take the others along
    # shellcheck disable=SC2086
    run tests 60 180 "$python" -m pytest -m cuda -ra -p no:cacheprovider --continue-on-collection-errors $timed $alone \
        $tests
fi
has rich || echo "rich is missing: vdeblur bench cannot print, no benchmarks"
for model in $models; do
    if has rich; then
        run "bench-$model" 45 200 "$python" -m vdeblur bench --model "$model" --size "${SIZE:-1280x720}" \
            --device "$device" --precision "$precision" --json "$folder/$model.json"
    fi
    case $device-$model in cuda*-mimo-unet | cuda*-deepdeblur)
        run "kernels-$model" 30 90 "$python" scripts/gpu_kernels.py --model "$model" --size "${SIZE:-1280x720}"
        ;;
    esac
done

shopt -s nullglob
results=("$folder"/*.json)
[ ${#results[@]} = 0 ] || "$python" scripts/bench_table.py "${results[@]}" | tee "$folder/table.txt"
keep
echo "all in $folder and $pack, $((SECONDS)) s"
exit $failed
