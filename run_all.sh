#!/usr/bin/env bash
# GreenBits, from nothing to a finished report. Needs bash 3.2, Python 3.11 with pip, a package index.
set -eu

usage() {
    cat <<'TEXT'
./run_all.sh                  set up, run the quick study (minutes, no network), render its report
./run_all.sh full [NN]        the full study, from NN on (a number or name); says its cost first
./run_all.sh study PATH.yaml  your own study: a file of parameters (see README, "Your own study")
./run_all.sh report           render report and chapters from the committed rows, in a few minutes
./run_all.sh compare [NAME]   my rows against the committed ones; status 1 if they did not come back
./run_all.sh publish          put the full study's rows where they are committed
./run_all.sh test [ARG …]     the tests (ARGs go to pytest); test --drill: the long fault drills
./run_all.sh lab              JupyterLab, with copies of the notebooks in data/lab/notebooks
./run_all.sh status           what is there
./run_all.sh clean [--all]    delete caches and runs; with --all .venv as well

Nothing that is unchanged runs again, and whatever was interrupted goes on where it was.
Status: 0 done, 1 something failed, 2 a wrong command or parameter, 130 interrupted.
TEXT
}

called_from=$PWD
unset CDPATH                        # with it, cd goes elsewhere and says where
ROOT=$(cd -- "$(dirname -- "$0")" && pwd)
export PYTHONUTF8=1                 # paths and files are UTF-8, whatever LC_ALL says
export OMP_WAIT_POLICY=PASSIVE      # two spinning OpenMP threads on two busy cores stop each other
# glibc: keep large tensors' memory for the next ones; mapping it anew takes half of an evaluation.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
# The state of a finished .venv: this folder and these pins.
state="$ROOT $(cksum <"$ROOT/pyproject.toml")"

say() { printf '%s\n' "$*" >&2; }
die() { say "$1"; exit "${2:-1}"; }
driver() { "$python" -m lib.study.commands "$@"; }

# Does interpreter $1 hold what pyproject.toml pins, and import lib from this folder?
fits() {
    env -u PYTHONPATH "$1" -P -s - "$ROOT" 2>/dev/null <<'PY'
import importlib.metadata, importlib.util, pathlib, re, sys, tomllib
root = pathlib.Path(sys.argv[1]).resolve()
lib = importlib.util.find_spec("lib")
assert lib and root in pathlib.Path(lib.origin).resolve().parents
for line in tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]:
    name, pin = re.fullmatch(r"([\w.-]+)(?:==(\S+))?.*", line).groups()
    found = importlib.metadata.version(name)
    assert pin is None or found.split("+")[0] == pin
PY
}

# The environment to use, as it is: an active one that fits, or .venv. Sets $python; may leave it empty.
find_environment() {
    python=
    if [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ "${VIRTUAL_ENV:-}" != "$ROOT/.venv" ]; then
        active=$(command -v python || true)
        if [ -n "$active" ] && fits "$active"; then python=$active; return; fi
    fi
    if "$ROOT/.venv/bin/python" -c '' 2>/dev/null; then python=$ROOT/.venv/bin/python; fi
}

# Python 3.11 or newer of this machine, for making .venv.
find_python() {
    for base in python3.11 python3.12 python3.13 python3.14 python3 python; do
        if "$base" -c 'import sys; assert (3, 11) <= sys.version_info < (3, 15)' 2>/dev/null; then
            return
        fi
    done
    die "No Python 3.11 to 3.14 was found; install one (python.org, your package manager) and try again."
}

# .venv complete and up to date. A second start costs nothing: its stamp says that it fits. Of two
# first starts one waits; nothing that is complete is ever deleted.
set_up() {
    find_environment
    [ -z "$python" ] || [ "$python" = "$ROOT/.venv/bin/python" ] || return 0
    stamp=$ROOT/.venv/greenbits.stamp
    unfinished=$ROOT/.venv/greenbits.unfinished
    ! is_ready || return 0
    lock
    find_environment                                    # another start may have finished it
    is_ready || is_mended || install
    exec 9>&-
}

is_ready() { [ -n "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$state" ]; }

# Everything is there, but .venv was moved with its folder, or another hand made it.
is_mended() {
    if [ -z "$python" ] || [ -e "$unfinished" ]; then return 1; fi
    fits "$python" || relink
    if fits "$python" && imports; then echo "$state" >"$stamp"; else return 1; fi
}

relink() {
    "$python" -P - "$ROOT" <<'PY'
import pathlib, sys, sysconfig
for link in pathlib.Path(sysconfig.get_path("purelib")).glob("__editable__.greenbits-*.pth"):
    link.write_text(sys.argv[1] + "\n", encoding="utf-8")
PY
}

# Hold .venv.lock until descriptor 9 is closed; the system drops the lock of a dead process.
lock() {
    find_python
    { exec 9>>"$ROOT/.venv.lock"; } 2>/dev/null ||
        die "$ROOT cannot be written to; give yourself the right, or copy the project."
    "$base" - <<'PY'
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("Waiting for another start that sets up .venv", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
PY
}

install() {
    if [ -n "$python" ] && [ ! -e "$unfinished" ] && "$python" -m pip --version >/dev/null 2>&1; then
        say "Bringing .venv up to what pyproject.toml asks for"
        rm -f "$stamp"
    else
        make_venv
    fi
    torch=$(sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' "$ROOT/pyproject.toml")
    if [ "$(uname -s)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1 && ! has_torch; then
        pip "$torch+cpu" --extra-index-url https://download.pytorch.org/whl/cpu --retries 0 \
            >/dev/null 2>&1 || true                     # the plain pin below will do as well
    fi
    pip --editable . || die "The installation failed; pip says above why. The same command tries again."
    rm -f "$unfinished"
    echo "$state" >"$stamp"
}

# A new .venv; a half made one goes, another that does not start here is kept beside it.
make_venv() {
    if [ -e "$unfinished" ]; then
        rm -rf "$ROOT/.venv"
    elif [ -e "$ROOT/.venv" ] || [ -L "$ROOT/.venv" ]; then
        kept=.venv.$(date +%Y%m%d-%H%M%S)
        mv "$ROOT/.venv" "$ROOT/$kept"
        say "The .venv here does not start; it is kept as $kept."
    fi
    say "Setting up .venv (once; a few minutes, 1–2 GB)"
    mkdir -p "$ROOT/.venv"
    echo "run_all.sh is making this" >"$unfinished"
    "$base" -m venv "$ROOT/.venv" >/dev/null 2>&1 || {  # Debian's Python may lack ensurepip
        "$base" -m venv --without-pip "$ROOT/.venv" &&
        "$base" -m pip --python "$ROOT/.venv/bin/python" install --quiet pip
    } || die "Python could not make a virtual environment; install its venv module (Debian: python3-venv)."
    python=$ROOT/.venv/bin/python
}

pip() { (cd "$ROOT" && "$python" -m pip --disable-pip-version-check install --quiet "$@"); }
imports() { (cd / && "$python" -c 'import torch, papermill, nbconvert, seaborn, sklearn') 2>/dev/null; }
has_torch() {
    [ "torch==$("$python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null |
        sed 's/+.*//')" = "$torch" ]
}

# Wrong parameters are told before the environment is touched, with any Python that reads YAML.
check() {
    find_environment
    borrowed=
    if [ -z "$python" ]; then
        find_python
        python=$base
        if ! "$python" -c 'import yaml' 2>/dev/null; then
            borrowed=$(mktemp -d)
            "$python" -m pip install --quiet --target "$borrowed" pyyaml >/dev/null 2>&1 || true
        fi
    fi
    status=0
    if PYTHONPATH="$PYTHONPATH:$borrowed" "$python" -c 'import yaml' 2>/dev/null; then
        PYTHONPATH="$PYTHONPATH:$borrowed" "$python" -m lib.study.commands "$@" --check || status=$?
    fi
    if [ -n "$borrowed" ]; then rm -rf "$borrowed"; fi
    [ "$status" -eq 0 ] || exit "$status"
}

# Commands that only look or delete make no environment.
look() {
    find_environment
    if [ -z "$python" ]; then find_python; python=$base; fi
    driver "$@"
}

study() {
    check "$@"
    set_up
    exec "$python" -m lib.study.commands "$@"
}

command=${1:-quick}
[ $# -eq 0 ] || shift
most=0
case $command in full|study|compare|clean) most=1 ;; test|lab) most=99 ;; esac
[ $# -le $most ] || die "./run_all.sh $command takes no more than $most argument(s); see --help" 2

cd "$ROOT"
case $command in
quick|full)
    study "$command" "$@" ;;
study)
    [ $# -eq 1 ] || die "./run_all.sh study needs the path of a parameter file; see --help" 2
    case $1 in /*) file=$1 ;; *) file=$called_from/$1 ;; esac
    study study "$file" ;;
report|compare|publish)
    set_up
    exec "$python" -m lib.study.commands "$command" "$@" ;;
test)
    set_up
    "$python" -c 'import pytest, pytest_timeout, hypothesis, axe_playwright_python, html5lib, openvino' 2>/dev/null || pip --editable ".[test]"
    exec "$python" -m pytest "$@" ;;
lab)
    set_up
    driver lab
    exec "$python" -m jupyterlab --notebook-dir="$ROOT" \
        --LabApp.default_url=/lab/tree/data/lab/notebooks "$@" ;;
status)
    look status ;;
clean)
    case ${1:---some} in --some|--all) ;; *) die "clean knows --all and nothing else; see --help" 2 ;; esac
    look clean
    if [ "${1:-}" = --all ] && [ -d .venv ]; then echo "delete .venv"; rm -rf .venv; fi ;;
-h|--help|help)
    usage ;;
*)
    say "There is no command $command:"
    usage >&2
    exit 2 ;;
esac
