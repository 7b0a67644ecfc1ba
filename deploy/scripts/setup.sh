#!/bin/sh
# Make the virtual environment from the lock files.
#
#   setup.sh VENV run    what the relay needs
#   setup.sh VENV dev    what tests and checks need on top, and the benchmarks' peers where they can be built
#
# TORCH_INDEX names one more package index, for torch alone: with that of PyTorch's CPU builds
# (https://download.pytorch.org/whl/cpu) a few hundred megabytes are fetched instead of several gigabytes.
set -eu

venv=$1
kind=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

say() { printf '%s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

# Run a command with its output kept for the case that it fails, and a dot every few seconds.
quietly() {
    label=$1
    shift
    printf '%s ' "$label" >&2
    "$@" >"$log" 2>&1 &
    pid=$!
    seconds=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        [ $((seconds % 5)) -ne 0 ] || printf '.' >&2
    done
    if wait "$pid"; then
        say " done (${seconds} s)"
        return 0
    fi
    say " failed"
    return 1
}

explain_and_stop() {
    tail -n 30 "$log" >&2
    fail "$1"
}

find_python() {
    for candidate in ${PYTHON:-} python3 python3.11 python3.12 python3.13; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

make_venv() {
    python=$(find_python) || fail "Breakwater needs Python 3.11 or newer, and none was found." \
        "On Debian 12 and later: apt-get install python3 python3-venv. Elsewhere: make PYTHON=/path/to/python3.12 …"
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1 ||
            fail "This Python cannot make virtual environments. Ask an administrator to run:" \
                "apt-get install python3-venv"
        quietly "Installing python3-venv" sh -c \
            "apt-get update -q && { apt-get install -qy python$version-venv || apt-get install -qy python3-venv; }" ||
            explain_and_stop "python3-venv could not be installed. Install it by hand and try again."
    fi
    say "Making the virtual environment in $venv with $("$python" --version 2>&1)."
    mkdir -p "$(dirname "$venv")"
    "$python" -m venv "$venv" || fail "The virtual environment could not be made. Remove $venv and try again."
}

install() { "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@"; }

# The relay is run from this directory; nothing of it is copied.
link_project() {
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n' "$root" >"$site/breakwater.pth"
    printf '#!%s/bin/python\nimport sys\n\nfrom relay.cli import main\n\nsys.exit(main())\n' \
        "$(cd "$venv" && pwd)" >"$venv/bin/breakwater"
    chmod +x "$venv/bin/breakwater"
}

case $venv in
    /*) ;;
    *) venv=$root/$venv ;;
esac
"$venv/bin/python" -c '' 2>/dev/null || make_venv

if [ "$kind" = run ]; then
    torch=$(grep '^torch==' "$root/deploy/requirements.lock")
    # Before everything else, so that nothing else asks for another build of it.
    quietly "[1/2] Installing $torch; this takes a few minutes the first time" \
        install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "$torch" ||
        explain_and_stop "torch could not be installed. Check the network and the space on the disk, then try again."
    quietly "[2/2] Installing $(grep -c == "$root/deploy/requirements.lock") packages at their locked versions" \
        install -r "$root/deploy/requirements.lock" ||
        explain_and_stop "The packages could not be installed. Check the network, then try again."
    link_project
else
    # The lock is whole. Some packages' own requirements would put older versions in the place of the relay's.
    quietly "Installing what the tests need" install --no-deps -r "$root/deploy/requirements-dev.lock" ||
        explain_and_stop "The packages for the tests could not be installed. Check the network, then try again."
    quietly "Installing what the benchmarks compare with" install -r "$root/deploy/requirements-peers.lock" ||
        say "Left out: they need a C++ compiler (apt-get install g++). Benchmarks say what they could not compare."
fi
