#!/usr/bin/env bash
# Runs a command with its own Slurm cluster on this machine; the cluster ends with the command.
#
# Usage: tests/slurm.sh <command> [args...]
#  e.g.: tests/slurm.sh sinfo
#  e.g.: tests/slurm.sh egs/asvspoof2019/la/run.sh --mini-size tiny --cmd utils/slurm.sh
#
# Two nodes, both on this machine: fsd1 in the partition main, the default; in the partition both, fsd2 before fsd1. It
# has no accounting and no munge: meanwhile everyone with an account on this machine can submit as you. $SLURM_CONF
# names the configuration; the daemons' logs and pid files stand beside it. Needs Slurm's daemons (Debian: slurm-wlm).
# Exit status: the command's; 77 with a reason if no such cluster can run.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 1; }
cannot() { echo "tests/slurm.sh: no Slurm of its own: $*" >&2; exit 77; }

PATH=$PATH:/usr/sbin # where the daemons are, which not every user has on PATH
for program in slurmctld slurmd sbatch squeue scancel; do
  command -v $program >/dev/null || cannot "there is no $program (Debian's package slurm-wlm has it)"
done
machine=$(slurmd -C | grep -o -w -e 'CPUs=[0-9]*' -e 'RealMemory=[0-9]*' | xargs)
read -r -a ports < <("${FSD_PYTHON:-python3}" -c 'if True:
  import socket
  held = [socket.create_server(("localhost", 0)) for _ in range(3)]
  print(*[one.getsockname()[1] for one in held])')

dir=$(mktemp -d)
daemons=()
# shellcheck disable=SC2329 # called by the trap
finish() {
  trap '' INT TERM HUP
  if ((${#daemons[@]})); then
    scancel --quiet --user="$(id -un)" 2>/dev/null || true
    for ((i = 0; i < 50; i++)); do [ -n "$(squeue --noheader 2>/dev/null || true)" ] || break; sleep 0.2; done
    kill "${daemons[@]}" 2>/dev/null || true
    wait "${daemons[@]}" 2>/dev/null || true
  fi
  rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Time limits and lost nodes are seen as soon as Slurm can; by default it takes minutes.
cat >"$dir/slurm.conf" <<EOF
ClusterName=fsd
SlurmctldHost=localhost
SlurmctldPort=${ports[0]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/%n.log
ReturnToService=2
SchedulerParameters=batch_sched_delay=1,sched_interval=1,sched_min_interval=1
SlurmdTimeout=5
KillWait=3
NodeName=fsd1 NodeHostname=localhost NodeAddr=localhost Port=${ports[1]} $machine Weight=2
NodeName=fsd2 NodeHostname=localhost NodeAddr=localhost Port=${ports[2]} $machine Weight=1
PartitionName=main Nodes=fsd1 Default=YES MaxTime=INFINITE State=UP
PartitionName=both Nodes=fsd[1-2] MaxTime=INFINITE State=UP
EOF
mkdir "$dir/state"
export SLURM_CONF=$dir/slurm.conf
setsid slurmctld -D >/dev/null 2>"$dir/slurmctld.err" &
daemons+=($!)
for node in fsd1 fsd2; do
  mkdir "$dir/spool.$node"
  setsid slurmd -D -N $node >/dev/null 2>"$dir/$node.err" &
  daemons+=($!)
done
for ((i = 0; i < 100; i++)); do
  [ "$(sinfo --noheader --Node --partition=both --states=idle --format=%N 2>/dev/null | wc -l)" -ne 2 ] || break
  if ((i == 99)); then
    tail -n 5 "$dir"/*.err "$dir"/*.log >&2
    cannot "its nodes do not come up"
  fi
  sleep 0.2
done

status=0
"$@" || status=$?
exit "$status"
