#!/usr/bin/env bash
# Checks, in less than a second and before anything is compiled, that this
# machine has all that the named steps need; on Debian and Ubuntu root installs
# what is missing.
#
#   check.sh STEP...   build, unit, integration, cluster, e2e, demo or all
#   check.sh --list    print the list: command or file, package, steps, purpose
#
#   INSTALL=no         install nothing: print the command line and fail
#   ROOM=no            do not check free disk space and memory
#   CLUSTER=local      the cluster of e2e and demo: local, kind or current
#   TARGETS=...        what make was asked for, to tell a user who is not root
#
# This list is the only one: the Makefile and .ci/run call this script, and
# hack/devcluster tests that its own check asks for nothing beyond it.
set -euo pipefail

# list is what the steps need: a command, or an absolute path; its Debian
# package ("-": in none); the steps; the purpose. Commands of Debian's essential
# packages (coreutils, sed, grep, util-linux and so on) are not listed.
list() {
  cat <<'END'
git                                 git                         build,unit,integration,cluster,demo  the sources; git repositories in tests and in the toolchain image
make                                make                        build,unit,integration,cluster,demo  the steps themselves
/etc/ssl/certs/ca-certificates.crt  ca-certificates             build,unit,integration,cluster,demo  module downloads; the images' certificates
gcc                                 gcc                         unit,integration                     the race detector (unless RACE=0)
/usr/include/stdlib.h               libc6-dev                   unit,integration                     the race detector (unless RACE=0)
haproxy                             haproxy                     unit,demo                            tests of the router; the HAProxy image
mkfs.ext4                           e2fsprogs                   unit                                 a test of a failing disk
/usr/share/bash-completion/bash_completion bash-completion      unit                                 a test of the plugin's completion, in each shell that Debian has
zsh                                 zsh                         unit                                 the same
fish                                fish                        unit                                 the same
mount                               mount                       unit,cluster,demo                    the kubelet's mounts; a test of a failing disk
runc                                runc                        cluster,demo                         containers
/usr/lib/cni/bridge                 containernetworking-plugins cluster,demo                         the network of pods
/usr/lib/cni/host-local             containernetworking-plugins cluster,demo                         the addresses of pods
/usr/lib/cni/portmap                containernetworking-plugins cluster,demo                         host ports
iptables                            iptables                    cluster,demo                         the CNI plugins' masquerading
nft                                 nftables                    cluster,demo                         the rules of kube-proxy
conntrack                           conntrack                   cluster,demo                         connections of pods, when a cluster is examined
mkfs.xfs                            xfsprogs                    cluster,demo                         the file system of volumes
xfs_growfs                          xfsprogs                    cluster,demo                         volume expansion
ip                                  iproute2                    cluster,demo                         links and routes, when a cluster is examined
ps                                  procps                      cluster,demo                         processes, when a cluster is examined
busybox                             busybox-static              cluster,demo                         the shell in the toolchain image and the debugging image
kubectl                             -                           kind,current                         the cluster that it is configured for
kind                                -                           kind                                 loading the image into the cluster
docker                              -                           kind                                 building the image
END
}

# What the first build of the cluster and a running cluster take. The memory of
# the build is measured on 2 cores (2.4 GiB, see hack/devcluster/README.md); the
# others are chosen.
readonly build_disk=8192 build_memory=3072 run_disk=4096 run_memory=1536 # MiB

# Tests check another tree than the machine's.
root=${PREREQUISITES_ROOT:-}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

say() { printf 'prerequisites: %s\n' "$*" >&2; }

problems=()
problem() { problems+=("$*"); }

# give_up prints all problems at once, and ends.
give_up() {
  local p
  for p in "${problems[@]}"; do say "$p"; done
  exit 1
}

# steps_of expands what the caller names to steps of the list.
steps_of() {
  local step
  for step in "$@"; do
    case $step in
    build | unit | integration | cluster) echo "$step" ;;
    e2e | demo)
      case ${CLUSTER:-local} in
      local) echo demo ;;
      kind | current) echo build "$CLUSTER" ;;
      *) return 1 ;;
      esac ;;
    all) echo build unit integration && steps_of demo ;;
    *) return 1 ;;
    esac
  done
}

needs() {
  local step
  for step in "$@"; do
    case " $steps " in *" $step "*) return 0 ;; esac
  done
  return 1
}

# have looks for a file, or for a command in PATH and where administrators'
# commands are, which su and cron often leave out of PATH.
have() {
  case $1 in
  /*) [ -e "$root$1" ] ;;
  *) command -v "$1" >/dev/null || [ -x "$root/usr/sbin/$1" ] || [ -x "$root/sbin/$1" ] ;;
  esac
}

# missing prints the lines of the list that this machine lacks.
missing() {
  local name package of purpose step
  while read -r name package of purpose; do
    for step in $steps; do
      case ",$of," in
      *",$step,"*)
        have "$name" || printf '%s %s %s\n' "$name" "$package" "$purpose"
        break ;;
      esac
    done
  done < <(list)
}

at_least() { # VERSION MINIMUM
  [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# go_is_new_enough asks the go command itself: one that is older than go.mod
# demands may download the right one.
go_is_new_enough() {
  local dir=$top minimum version reason
  if ! command -v go >/dev/null; then
    if [ -x "$root/usr/local/go/bin/go" ]; then
      problem "go is in /usr/local/go/bin, which PATH does not contain: export PATH=\$PATH:/usr/local/go/bin"
    else
      problem "go is missing: install Go $(go_minimum "$top") or newer, see https://go.dev/doc/install"
    fi
    return
  fi
  if needs integration cluster demo; then dir=$top/hack/devcluster/binaries; fi
  minimum=$(go_minimum "$dir")
  version=$(cd / && GOTOOLCHAIN=local go env GOVERSION) || version=unknown
  version=${version#go} version=${version%% *}
  if at_least "$version" "$minimum"; then return; fi
  if reason=$(cd "$dir" && GOWORK=off GOFLAGS='' go list -m 2>&1 >/dev/null); then return; fi
  problem "go is $version, and $dir/go.mod needs $minimum: install it, see https://go.dev/doc/install (${reason##*$'\n'})"
}

go_minimum() { sed -n 's/^go \([0-9.]*\)$/\1/p' "$1/go.mod"; }

# as_root prints the command line that makes the caller's targets as root, with
# the caller's Go.
as_root() {
  # shellcheck disable=SC2016 # PATH is for the reader's shell
  if command -v sudo >/dev/null; then
    printf 'sudo -E env "PATH=$PATH" make %s' "${TARGETS:-...}"
  else
    printf 'su -c "PATH=$PATH make %s"' "${TARGETS:-...}"
  fi
}

# cluster_can_run checks what no package brings: privileges and the kernel.
cluster_can_run() {
  if [ "$(id -u)" -ne 0 ]; then
    problem "a local cluster needs root, for namespaces and mounts; run:"$'\n'"  $(as_root)"
    return
  fi
  local name reason
  if ! reason=$(unshare --mount --net --pid --ipc --uts --fork true 2>&1); then
    problem "a local cluster needs namespaces of its own, and this root must not make any (in a container: run it privileged; in a chroot: make its root a mount point): ${reason##*$'\n'}"
  fi
  for name in xfs overlay; do
    grep -qw "$name" "$root/proc/filesystems" || modprobe -q "$name" 2>/dev/null ||
      problem "a local cluster needs the file system $name, which this kernel does not have"
  done
  [ -e "$root/dev/loop-control" ] || modprobe -q loop 2>/dev/null ||
    problem "a local cluster needs loop devices: /dev/loop-control does not exist"
  [ -n "$(ls "$root/sys/fs/cgroup" 2>/dev/null)" ] ||
    problem "a local cluster needs cgroups: nothing is mounted at /sys/fs/cgroup"
}

# nft_works is asked after installation: only nft knows what its kernel has.
nft_works() {
  local nft reason
  nft=$(PATH=$PATH:$root/usr/sbin:$root/sbin command -v nft) || return 0
  reason=$("$nft" list tables 2>&1 >/dev/null) ||
    problem "a local cluster needs nftables in the kernel: ${reason##*$'\n'}"
}

# existing is the nearest directory above a path that may not be made yet.
existing() {
  local dir=$1
  while [ ! -d "$dir" ]; do dir=$(dirname "$dir"); done
  echo "$dir"
}

# room_is_left checks disk space and memory. What is built, or runs, has taken
# its share already.
room_is_left() {
  [ "${ROOM:-}" != no ] || return 0
  # An API server that is there already is not built.
  if [ -n "${KUBEBUILDER_ASSETS:-}" ] && ! needs cluster demo; then return; fi
  local cache state disk memory free dir what
  cache=${DEVCLUSTER_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/gocache-operator/devcluster}
  state=$root/var/tmp/gocache-devcluster
  disk=$build_disk memory=$build_memory what="the first build of the cluster"
  if compgen -G "$cache/*/bin/k8s" >/dev/null; then
    needs cluster demo || return 0
    disk=$run_disk memory=$run_memory what="a running cluster"
    if compgen -G "$state/*/" >/dev/null; then return 0; fi
  fi
  for dir in "$(cd / && go env GOCACHE)" "$cache" "$state"; do
    dir=$(existing "$dir")
    free=$(df -Pm "$dir" | awk 'END { print $4 }')
    if [ "$free" -lt "$disk" ]; then
      problem "$what needs $disk MiB of disk, and $dir has $free MiB: free some, or go on with ROOM=no"
      break
    fi
  done
  free=$(awk '/^(MemAvailable|SwapFree):/ { kib += $2 } END { print int(kib / 1024) }' "$root/proc/meminfo")
  if [ "$free" -lt "$memory" ]; then
    problem "$what needs $memory MiB of memory, and $free MiB are available: free some, or go on with ROOM=no"
  fi
}

# command_line prints what installs packages, for a person to run.
command_line() {
  local line="apt-get update && apt-get install -y --no-install-recommends $*"
  if [ "$(id -u)" -eq 0 ]; then
    echo "$line"
  elif command -v sudo >/dev/null; then
    echo "sudo sh -c '$line'"
  else
    echo "su -c '$line'"
  fi
}

packages_of() { awk '$2 != "-" { print $2 }' <<<"$1" | sort -u | tr '\n' ' ' | sed 's/ $//'; }

readonly policy_mark='# Until hack/prerequisites/check.sh has installed its packages.'

# forbid_services keeps packages from starting services: Debian would run an
# HAProxy of its own. A policy of the administrator's stays as it is.
forbid_services() {
  policy=$root/usr/sbin/policy-rc.d
  if [ -e "$policy" ] && ! grep -qxF "$policy_mark" "$policy"; then return; fi
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" >"$policy"
  chmod 0755 "$policy"
}

# install_missing installs the packages of all that is missing, one run at a time.
install_missing() {
  local packages log began=$SECONDS
  trap 'exit 130' INT
  trap 'exit 143' TERM
  exec 9>"$root/run/gocache-prerequisites.lock"
  flock 9
  packages=$(packages_of "$(missing)") # another run may have installed them
  [ -n "$packages" ] || return 0
  say "installing with apt-get: $packages (INSTALL=no prints the command line instead)"
  forbid_services
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  # Package lists that are old may do: whether the installation works decides.
  # shellcheck disable=SC2086 # one word per package
  if ! { apt-get -q update || true; apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $packages; } >"$log" 2>&1 9>&-; then
    cat "$log" >&2
    rm -f "$log"
    problem "apt-get failed, see above; the command line was: $(command_line $packages)"
    give_up
  fi
  rm -f "$log"
  say "installed in $((SECONDS - began)) s"
}

describe() {
  local name package purpose
  while read -r name package purpose; do printf '  %-36s %s\n' "$name" "$purpose"; done <<<"$1"
}

main() {
  if [ "${1:-}" = --list ]; then
    list
    return
  fi
  [ $# -gt 0 ] && steps=$(steps_of "$@" | tr '\n' ' ') || {
    say "usage: check.sh build|unit|integration|cluster|e2e|demo|all... (CLUSTER=${CLUSTER:-local}: local, kind or current)"
    exit 2
  }
  if [ "$(uname -s)" != Linux ]; then
    problem "this needs Linux (namespaces, cgroups, loop devices); this is $(uname -s)"
    give_up
  fi

  local lacking
  lacking=$(missing)
  go_is_new_enough
  if needs cluster demo; then cluster_can_run; fi
  if command -v go >/dev/null && needs integration cluster demo; then room_is_left; fi

  if [ -n "$lacking" ]; then
    local packages by_hand
    packages=$(packages_of "$lacking")
    by_hand=$(awk '$2 == "-" { print $1 }' <<<"$lacking" | tr '\n' ' ')
    if ! command -v apt-get >/dev/null; then
      problem "missing; install with this system's package manager:"$'\n'"$(describe "$lacking")"
    else
      [ -z "$by_hand" ] || problem "missing, and not in Debian: $by_hand"
      if [ -n "$packages" ] && { [ "$(id -u)" -ne 0 ] || [ "${INSTALL:-yes}" = no ]; }; then
        problem "missing:"$'\n'"$(describe "$lacking")"$'\n'"install with:"$'\n'"  $(command_line "$packages")"
      fi
    fi
  fi
  [ ${#problems[@]} -eq 0 ] || give_up

  if [ -n "$lacking" ]; then
    install_missing
    lacking=$(missing)
    if [ -n "$lacking" ]; then
      problem "the packages are installed, and these are still missing:"$'\n'"$(describe "$lacking")"
    fi
  fi
  if needs cluster demo; then nft_works; fi
  [ ${#problems[@]} -eq 0 ] || give_up
}

main "$@"
