#!/usr/bin/env bash
# Starts a Ceph of one node with an S3 gateway in a folder, for tests; needs Debian's ceph-mon ceph-mgr ceph-osd radosgw
# ceph-common uuid-runtime. Everything listens on the loopback, on free ports. Prints the address of a store:
# http://KEY:SECRET@127.0.0.1:PORT/cairn. The folder holds the daemons' *.pid; `scripts/ceph-one-node.sh stop FOLDER` ends them.
set -euo pipefail

if [ "${1:-}" = stop ]; then
    for file in "$2"/*.pid; do
        [ -e "$file" ] && kill "$(cat "$file")" 2>/dev/null || true
    done
    # They flush on their way out.
    for _ in $(seq 60); do
        running=
        for file in "$2"/*.pid; do
            [ -e "$file" ] && kill -0 "$(cat "$file")" 2>/dev/null && running=1
        done
        [ -n "$running" ] || break
        sleep 0.5
    done
    rm -rf "$2"
    exit 0
fi

folder=$1
mkdir -p "$folder"
cd "$folder"
exec 3>&1 >setup.log 2>&1
read -r mon1 mon2 gateway < <(python3 - <<'P'
import socket
sockets = [socket.socket() for _ in range(3)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
P
)
fsid=$(uuidgen)
export CEPH_CONF=$folder/ceph.conf
# One copy of everything on a sparse file; names of objects short enough for the file systems below.
cat >ceph.conf <<C
[global]
keyring=$folder/k
fsid=$fsid
mon host=[v2:127.0.0.1:$mon1,v1:127.0.0.1:$mon2]
auth cluster required=cephx
auth service required=cephx
auth client required=cephx
public addr=127.0.0.1
cluster addr=127.0.0.1
ms bind ipv6=false
osd pool default pg num=8
osd pool default size=1
osd pool default min size=1
osd crush chooseleaf type=0
osd objectstore=bluestore
bluestore block size=4294967296
bluestore block create=true
mon allow pool size one=true
mon data avail warn=1
mon warn on pool no redundancy=false
run dir=$folder
log file=$folder/\$name.log
pid file=$folder/\$name.pid
admin socket=$folder/\$name.asok
[mon.a]
mon data=$folder/mon
[mgr.x]
mgr data=$folder/mgr
keyring=$folder/mgr/keyring
[osd.0]
osd data=$folder/osd
keyring=$folder/osd/keyring
[client.rgw]
rgw frontends=beast endpoint=127.0.0.1:$gateway
rgw data=$folder/rgw
C
mkdir mon mgr osd rgw
monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon1,v1:127.0.0.1:$mon2]" monmap
ceph-authtool --create-keyring k --gen-key -n mon. --cap mon 'allow *'
ceph-authtool k --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
ceph-authtool k --gen-key -n client.rgw --cap mon 'allow rwx' --cap osd 'allow rwx' --cap mgr 'allow rw'
ceph-mon --mkfs -i a --monmap monmap --keyring k
ceph-mon -i a 3>&-
timeout 120 ceph auth get-or-create mgr.x mon 'allow profile mgr' osd 'allow *' mds 'allow *' -o mgr/keyring
ceph-mgr -i x 3>&-
secret=$(ceph-authtool --gen-print-key)
osd=$(uuidgen)
echo "{\"cephx_secret\":\"$secret\"}" | timeout 120 ceph osd new "$osd" -i -
ceph-authtool --create-keyring osd/keyring --name osd.0 --add-key "$secret"
ceph-osd -i 0 --mkfs --osd-uuid "$osd"
ceph-osd -i 0 3>&-
radosgw -n client.rgw 3>&-
for _ in $(seq 180); do
    (exec 4<>"/dev/tcp/127.0.0.1/$gateway") 2>/dev/null && break
    sleep 1
done
radosgw-admin -n client.rgw user create --uid=t --display-name=t --access-key=AK --secret-key=SK
echo "http://AK:SK@127.0.0.1:$gateway/cairn" >&3
