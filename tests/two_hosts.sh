#!/bin/bash
# Two hosts on one machine:  unshare --mount --net --uts bash tests/two_hosts.sh FOLDER command ...
# This process becomes node1; node2 is a process with a network and a host name of its own, at the other end of a virtual
# cable.  FOLDER/agent stands in for ssh.  The command runs on node1.  All of it ends with this process.
set -euo pipefail
folder=$1
shift
mount --make-rprivate /
printf '127.0.0.1 localhost\n10.77.0.1 node1\n10.77.0.2 node2\n' > "$folder/hosts"
mount --bind "$folder/hosts" /etc/hosts  # in this mount namespace only
echo node1 > /proc/sys/kernel/hostname
unshare --net --uts sleep 600 &
other=$!
trap 'kill $other' EXIT
# The child has namespaces of its own once unshare has become sleep.
for _ in $(seq 100); do
    [ "$(readlink "/proc/$other/ns/net")" != "$(readlink /proc/self/ns/net)" ] && break
    sleep 0.05
done
there=(nsenter --target "$other" --net --uts)
ip link set lo up
ip link add cable1 type veth peer name cable2 netns "$other"
ip addr add 10.77.0.1/24 dev cable1
ip link set cable1 up
"${there[@]}" bash -c 'echo node2 > /proc/sys/kernel/hostname; ip link set lo up
    ip addr add 10.77.0.2/24 dev cable2; ip link set cable2 up'
cat > "$folder/agent" <<AGENT
#!/bin/sh
# As ssh: [options] host command
while [ \$# -gt 0 ]; do
    host=\$1
    shift
    case \$host in
        node1) exec sh -c "\$*" ;;
        node2) exec ${there[@]} sh -c "\$*" ;;
    esac
done
exit 255
AGENT
chmod +x "$folder/agent"
"$@"
