#!/bin/bash
# The README's two commands in a bare Debian 12, where nothing was installed by hand: a minimal root, a fresh clone.
# stage: nightly
# limit: 7200 s
#
# The root uses the package sources, the proxy and the name servers that this machine is configured with.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source=$PWD

not_run() { echo "NOT RUN minimal_root: $*"; exit 0; }
[ "$(id -u)" = 0 ] || not_run "making a root file system needs root"
for tool in mmdebstrap git unshare pivot_root; do
  command -v "$tool" >/dev/null || not_run "$tool is missing (tools/dev/setup test)"
done
[ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = bookworm ] || not_run "this machine is no Debian 12"
git rev-parse -q --verify HEAD >/dev/null || not_run "the checkout has no history to clone"
mkdir -p build
free_kib=$(df --output=avail build | tail -n 1)
[ "$free_kib" -gt $((12 << 20)) ] || not_run "12 GiB of disk needed, $((free_kib >> 20)) GiB are free"

root=$(mktemp -d "${TMPDIR:-$source/build}/root.XXXXXX")
trap 'rm -rf --one-file-system "$root" "$root".*' EXIT
trap 'exit 130' INT TERM

# shellcheck disable=SC2016  # the $(...) are apt's
apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | sort -u |
  awk '$2 ~ /^bookworm(-updates|-security)?$/ { print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $0 }' \
    >"$root.sources"
[ -s "$root.sources" ] || not_run "apt has no package lists here (apt-get update)"
apt-config dump | grep -i -E '^Acquire::(https?|ftp)::.*(proxy|cainfo|verify|timeout)' >"$root.conf" || true
options=()
while read -r line; do options+=(--aptopt "$line"); done <"$root.conf"

began=$SECONDS
if ! mmdebstrap --quiet --variant=minbase "${options[@]}" bookworm "$root" - <"$root.sources" >"$root.log" 2>&1; then
  tail -n 5 "$root.log"
  not_run "mmdebstrap could not make a root (no network?)"
fi
echo "a minimal root: $(chroot "$root" dpkg-query -W | wc -l) packages, $((SECONDS - began)) s"
cp "$root.conf" "$root/etc/apt/apt.conf.d/90local"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
cp /etc/hosts "$root/etc/hosts"
mkdir -p "$root/usr/local/share/ca-certificates"
cp -r /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
if grep -q 'https:' "$root.sources"; then  # a bare root has no certificates to check its package host with
  install -D /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
fi
git clone -q --no-local --depth 1 "file://$source" "$root/srv/walraft"

# Own process ids and mounts: when it ends, all of it ends.
in_root() { # SECONDS COMMAND...
  local limit=$1
  shift
  # The root becomes the mount namespace's own (pivot_root, not chroot), so that tests can make namespaces in it.
  # shellcheck disable=SC2016  # for the inner shell
  timeout --kill-after=10 "$limit" unshare --mount --pid --fork --kill-child bash -c '
    set -e
    root=$1; shift
    mount --bind "$root" "$root"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/run"
    cd "$root"
    mkdir -p .host
    pivot_root . .host
    umount -l .host
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
      ${http_proxy:+http_proxy=$http_proxy} ${https_proxy:+https_proxy=$https_proxy} \
      bash -c "cd /srv/walraft && exec \"\$@\"" bash "$@"' bash "$root" "$@"
}

failed=0
run() { # NAME SECONDS COMMAND...
  local name=$1 limit=$2 code=0 began=$SECONDS
  shift 2
  in_root "$limit" "$@" >"$root.log" 2>&1 </dev/null || code=$?
  tail -n 25 "$root.log" | sed 's/^/| /'
  if [ $code = 0 ]; then
    echo "ok minimal_root.$name ($((SECONDS - began)) s)"
  else
    failed=1
    echo "FAIL minimal_root.$name: '$*' in a bare Debian 12: exit code $code after $((SECONDS - began)) s of $limit"
  fi
}
run demo 480 tools/dev/demo --yes
run tests 3600 tests/run --yes
run setup_again 60 tools/dev/setup test
exit $failed
