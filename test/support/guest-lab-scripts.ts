/**
 * Runs the arguments behind the first four in a network namespace with a /sys of its own, as ip-netns(8) does, but with the host's
 * control groups, which are below /sys, still there. The images are the host's; all else of data is the namespace's own.
 */
export const ENTER = `set -e
groups=$1 namespace=$2; images=$3; ours=$4; shift 4
mount --bind "$images" "$ours"
mount --rbind /sys/fs/cgroup "$groups"
exec nsenter --net="/run/netns/$namespace" sh -ec '
  groups=$1; shift
  mount -t sysfs sysfs /sys
  mount --rbind "$groups" /sys/fs/cgroup
  umount -l "$groups"
  exec "$@"
' sh "$groups" "$@"`;

/** Says what came of connections to a port of some addresses at once, each within so many seconds. */
export const GET = `
port=$0
get() {
  said=$(LC_ALL=C timeout $2 bash -c 'exec 3<>/dev/tcp/$0/$1 && printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3 &&
    while read -r line; do case $line in hello*) echo "$line"; break; esac; done <&3' $1 $port 2>&1)
  case $?:$said in 0:*) echo "$said";; 124:*) echo silence;; *refused*) echo refused;; *) echo "\${said//$'\\n'/ }";; esac
}
for from in "$@"; do exec {fd}< <(get \${from/,/ }); fds+=($fd); done
for fd in \${fds[@]}; do cat <&$fd; done`;
