# Shared by the scripts beside it; sourced, never run.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

die() {
    say "${0##*/}: $*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# As root, or through sudo where there is one.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo: $*"
    fi
}

# Installs Debian packages without letting any of them start a service: a system broker that
# comes up by itself would listen on every interface.
apt_install() {
    have apt-get || die "cannot install $*: there is no apt-get here; install them by hand and try again"
    local guard=/usr/sbin/policy-rc.d ours=no status=0
    if [ ! -e "$guard" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$guard" >/dev/null
        as_root chmod 755 "$guard"
        ours=yes
    fi
    say "installing $*"
    apt_get_install "$@" || status=$?
    if [ "$ours" = yes ]; then
        as_root rm -f "$guard"
    fi
    [ "$status" -eq 0 ] || die "apt-get could not install: $* (run it by hand to see why)"
}

apt_get_install() {
    local options=(-qq -y --no-install-recommends -o DPkg::Lock::Timeout=300)
    # The package lists may be missing or old, so a first failure means: fetch them, try again.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@" >/dev/null 2>&1 && return
    as_root apt-get update -qq -o DPkg::Lock::Timeout=300 >&2 || return
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@" >&2
}

# Fetches a package's file into the current folder.
apt_download() {
    # Its sandbox user may not write here.
    local options=(-qq -o APT::Sandbox::User=root)
    apt-get "${options[@]}" download "$1" 2>/dev/null && return
    as_root apt-get update -qq -o DPkg::Lock::Timeout=300 >&2
    apt-get "${options[@]}" download "$1"
}
