#!/usr/bin/env bash
# Debian 12 roots by debootstrap, for scripts that must try a machine which is not this one. Sourced, not run:
# `open_roots NAME` once, then `make_root DIRECTORY`, `inside DIRECTORY COMMAND...`. Whatever was made is removed on exit.
# The roots use this machine's own apt settings. Needs root.

# refuse SENTENCE
refuse() {
    printf '%s: %s\n' "$roots_name" "$1" >&2
    exit 1
}

close_roots() {
    local place
    for place in "${roots_mounted[@]}"; do umount -R -l "$place"; done
    rm -rf --one-file-system "$top"
}

# Sets $top, a directory of our own below /var/tmp.
open_roots() {
    roots_name=$1 roots_mounted=()
    ((EUID == 0)) || refuse "not root; run it with sudo."
    command -v debootstrap >/dev/null || refuse "debootstrap is missing; run apt-get install debootstrap."
    top=$(mktemp -d "/var/tmp/xs-$1.XXXXXX")
    trap close_roots EXIT
    trap 'exit 130' INT TERM
}

make_root() {
    local root=$1 mirror
    # shellcheck disable=SC2016 # the format is apt's, not the shell's
    mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk '$1 == "bookworm" { print $2; exit }')
    printf '%s: a Debian 12 root in %s\n' "$roots_name" "$root"
    debootstrap --variant=minbase bookworm "$root" "$mirror" >"$top/debootstrap.log" 2>&1 || {
        tail -n 5 "$top/debootstrap.log" >&2
        refuse "debootstrap failed."
    }
    cp -a /etc/apt/. "$root/etc/apt/"
    cp -aL /etc/resolv.conf "$root/etc/"
    [[ ! -d /etc/ssl/certs ]] || { mkdir -p "$root/etc/ssl" && cp -a /etc/ssl/certs "$root/etc/ssl/"; }
    [[ ! -d /usr/local/share/ca-certificates ]] || cp -a /usr/local/share/ca-certificates "$root/usr/local/share/"
    # A mount of its own: `ip netns exec` changes how "/" propagates, which only a mount point can.
    mount --bind "$root" "$root"
    mount --make-private "$root"
    roots_mounted=("$root" "${roots_mounted[@]}")
    local place
    for place in proc sys dev; do
        mount --rbind "/$place" "$root/$place"
        mount --make-rslave "$root/$place"
        roots_mounted=("$root/$place" "${roots_mounted[@]}")
    done
}

inside() {
    local root=$1
    shift
    chroot "$root" /usr/bin/env -i "PATH=/opt/xdpsec/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        DEBIAN_FRONTEND=noninteractive LC_ALL=C HOME=/root "$@"
}
